"""Wordings of upstreams that mean lost reasoning, and what a repair makes of a body."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.base import Outgoing
from oneapi_mw.wire.recovery import Remedy, recognised, repaired
from oneapi_mw.wire.recovery.signs import REMEDIES
from oneapi_mw.wire.target import ConversionOptions, Target

Json = dict[str, Any]

CLAUDE, GEMINI, RESPONSES, CHAT = "anthropic_messages", "gemini", "openai_responses", "openai_chat"


@pytest.mark.parametrize(
    ("wire", "text", "remedy"),
    [
        (CLAUDE, "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When",
         "stop_thinking"),
        (CLAUDE, "Expected 'thinking' or 'redacted_thinking', but found 'text'.", "stop_thinking"),
        (CLAUDE, "messages.1.content.0: Invalid `signature` in `thinking` block", "forget_thinking"),
        (CLAUDE, "messages.1.content.0: Invalid `data` in `redacted_thinking` block", "forget_thinking"),
        (CLAUDE, "Invalid `signature` in `thinking` block. The block is bound to a different conversation: tools",
         "drop_mismatched"),
        (CLAUDE, "messages.3.content.0.thinking.signature: Field required", "forget_thinking"),
        (CLAUDE, "messages.1.content.0.thinking: each thinking block must contain thinking", "forget_thinking"),
        (CLAUDE, "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
         "forget_thinking"),
        (CLAUDE, "When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`.",
         "forget_last_thinking"),
        (CLAUDE, "messages.1.content.0.text: Field required", None),
        (CLAUDE, '"thinking.type.enabled" is not supported for this model.', None),
        (CLAUDE, "Thinking may not be enabled when tool_choice forces tool use.", None),
        (GEMINI, "Function call is missing a thought_signature in functionCall parts.", "sign_calls"),
        (GEMINI, "function call `f` in the 2. content block is missing a `thought_signature`", "sign_calls"),
        (GEMINI, "The model refused the history: a thought signature is missing. Send", "sign_calls"),
        (GEMINI, "Thought signature is not valid.", "forget_signatures"),
        (GEMINI, "Invalid thought signature.", "forget_signatures"),
        (GEMINI, "Corrupted thought signature.", "forget_signatures"),
        (GEMINI, "Thinking level MINIMAL is not supported for this model.", None),
        (RESPONSES, '{"error":{"code":"invalid_encrypted_content","message":"x"}}', "forget_items"),
        (RESPONSES, "The encrypted content gAAA...Zw== could not be verified.", "forget_items"),
        (RESPONSES, "Item 'msg_1' of type 'message' was provided without its required 'reasoning' item: 'rs_1'.",
         "forget_items"),
        (RESPONSES, "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
         "forget_items"),
        (RESPONSES, "Item with id 'rs_0123' not found. Items are not persisted when", "forget_ids"),
        (RESPONSES, "Item with id '***' not found.", "forget_ids"),
        (RESPONSES, "Previous response with id 'resp_1' not found.", None),
        (RESPONSES, "Encrypted content is not supported with this model.", None),
        (CHAT, "The `reasoning_content` in the thinking mode must be passed back to the API.", "fill_reasoning"),
        (CHAT, "Missing `reasoning_content` field in the assistant message at message index 2.", "fill_reasoning"),
        (CHAT, "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
         "fill_reasoning"),
        (CHAT, "Unknown parameter: 'messages[1].reasoning_content'.", "strip_reasoning"),
        (CHAT, "property 'reasoning_content' is unsupported, did you mean 'reasoning'?", "strip_reasoning"),
        (CHAT, '{"detail":[{"type":"extra_forbidden","loc":["body","messages",1,"assistant","reasoning_content"]}]}',
         "strip_reasoning"),
        (CHAT, "Unsupported parameter: 'reasoning_effort' is not supported with this model.", None),
        (CHAT, "Invalid `signature` in `thinking` block", None),
    ],
)  # fmt: skip
def test_what_upstreams_say(wire: str, text: str, remedy: Remedy | None) -> None:
    assert recognised(wire, text) == remedy
    assert recognised(wire, text.upper()) == remedy


@settings(deadline=None)
@given(wire=st.sampled_from([CLAUDE, GEMINI, RESPONSES, CHAT, "none"]), text=st.text(max_size=300))
def test_any_text_is_read(wire: str, text: str) -> None:
    recognised(wire, text)
    assert recognised(wire, "x" * 20_000 + "invalid_encrypted_content") is None, "only so much is looked at"


def mended(remedy: Remedy, body: Json, model: str = "", **options: Any) -> Json | None:
    """What `remedy` makes of `body`. It does nothing a second time, and changes no object of its caller's."""
    target = Target(model, rules_of(model), options=ConversionOptions(**options))
    outgoing = Outgoing(orjson.dumps(body))
    found = repaired(outgoing, remedy, target)
    if found is None:
        return None
    again = repaired(found, remedy, target)
    assert again is None or remedy == "fill_reasoning", "that one goes further when it was not enough"
    made: Json = orjson.loads(found.body)
    return made


USER: Json = {"role": "user", "content": "hello"}
THOUGHT: Json = {"type": "thinking", "thinking": "Hm.", "signature": "S"}
REDACTED: Json = {"type": "redacted_thinking", "data": "D"}
CALL: Json = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT: Json = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}
MANUAL: Json = {"type": "enabled", "budget_tokens": 2000}
EDITS: Json = {"edits": [{"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}]}


def said(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("claude-haiku-4-5", MANUAL, None),
        ("some-claude", MANUAL, None),
        ("claude-opus-4-6", {**MANUAL, "display": "summarized"}, {"type": "adaptive", "display": "summarized"}),
        ("claude-opus-5-5", {"type": "adaptive"}, {"type": "adaptive"}),
        ("claude-opus-5-5", None, None),
    ],
)
def test_thinking_is_forgotten_by_the_rules_of_its_model(model: str, thinking: Json | None, expected: Any) -> None:
    body: Json = {"messages": [USER, said(THOUGHT, REDACTED, CALL), RESULT]}
    if thinking is not None:
        body["thinking"] = thinking
    made = mended("forget_thinking", body, model)
    assert made is not None
    assert made["messages"] == [USER, said(CALL), RESULT]
    assert made.get("thinking") == expected


def test_a_message_of_nothing_but_thinking_goes() -> None:
    made = mended("forget_thinking", {"messages": [USER, said(THOUGHT), USER, said(THOUGHT, CALL), RESULT]})
    assert made == {"messages": [USER, USER, said(CALL), RESULT]}


def test_thinking_that_is_told_stands_in_its_place() -> None:
    made = mended("forget_thinking", {"messages": [USER, said(REDACTED, THOUGHT, CALL), RESULT]}, reasoning_lost="text")
    assert made == {"messages": [USER, said({"type": "text", "text": "<think>Hm.</think>\n\n"}, CALL), RESULT]}


def test_thinking_that_is_no_longer_demanded_keeps_what_there_is() -> None:
    messages = [USER, said(THOUGHT, CALL), RESULT, said(CALL), RESULT]
    made = mended("stop_thinking", {"messages": messages, "thinking": MANUAL, "context_management": EDITS})
    assert made == {"messages": messages, "context_management": {"edits": EDITS["edits"][1:]}}
    others = {"edits": EDITS["edits"][1:]}
    made = mended("stop_thinking", {"messages": messages, "thinking": MANUAL, "context_management": others})
    assert made == {"messages": messages, "context_management": others}
    only = {"edits": EDITS["edits"][:1]}
    assert mended("stop_thinking", {"messages": messages, "thinking": MANUAL, "context_management": only}) == {
        "messages": messages
    }


def test_a_begun_answer_loses_its_thinking_and_earlier_ones_keep_it() -> None:
    earlier, begun = said(THOUGHT, {"type": "text", "text": "a"}), {"type": "text", "text": "b"}
    made = mended("forget_last_thinking", {"messages": [USER, earlier, USER, said(THOUGHT, begun)]})
    assert made == {"messages": [USER, earlier, USER, said(begun)]}
    assert mended("forget_last_thinking", {"messages": [USER, said(THOUGHT)]}) == {"messages": [USER]}


BINDING = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BETA = "thinking-binding-controls-2026-08-01"


@pytest.mark.parametrize("thinking", [None, {"type": "adaptive", "display": "omitted"}, MANUAL])
def test_the_vendor_is_told_to_drop_what_does_not_fit(thinking: Json | None) -> None:
    body: Json = {"messages": [USER, said(THOUGHT, CALL), RESULT]}
    if thinking is not None:
        body["thinking"] = thinking
    made = mended("drop_mismatched", body, "claude-opus-5-5")
    assert made is not None
    assert made["thinking"] == {**(thinking or {"type": "adaptive"}), **BINDING}
    assert made["messages"] == body["messages"]


def test_where_it_cannot_be_told_all_thinking_goes() -> None:
    body = {"messages": [USER, said(THOUGHT, CALL), RESULT], "thinking": {"type": "between_tools"}}
    made = mended("drop_mismatched", body, "claude-sonnet-5-5")
    assert made == {**body, "messages": [USER, said(CALL), RESULT]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (("anthropic-beta", BETA),)),
        ((("x", "y"), ("anthropic-beta", "a,b")), (("x", "y"), ("anthropic-beta", f"a,b,{BETA}"))),
        ((("anthropic-beta", BETA),), (("anthropic-beta", BETA),)),
    ],
)
def test_the_beta_is_named_once(before: Any, after: Any) -> None:
    outgoing = Outgoing(orjson.dumps({"messages": [said(THOUGHT)]}), before, ("top_k",))
    made = repaired(outgoing, "drop_mismatched", Target("claude-opus-5-5", rules_of("claude-opus-5-5")))
    assert made is not None
    assert (made.headers, made.dropped) == (after, ("top_k", "reasoning=lost"))


def test_bedrock_has_betas_in_the_body() -> None:
    body = {"anthropic_beta": ["a"], "messages": [said(THOUGHT)]}
    made = repaired(Outgoing(orjson.dumps(body)), "drop_mismatched", Target("claude-opus-5-5", platform="bedrock"))
    assert made is not None
    assert (orjson.loads(made.body)["anthropic_beta"], made.headers) == (["a", BETA], ())


def function_call(name: str = "f", **beside: Any) -> Json:
    return {"functionCall": {"name": name, "args": {}}, **beside}


PLACEHOLDER = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
SIGNED = {"thoughtSignature": "UzE="}


def contents(*parts: Json) -> Json:
    return {"contents": [{"role": "user", "parts": [{"text": "x"}]}, {"role": "model", "parts": list(parts)}]}


def test_cv_56_the_first_call_of_a_step_is_signed() -> None:
    made = mended("sign_calls", contents({"text": "a"}, function_call(), function_call("g")), "aurora")
    assert made == contents({"text": "a"}, function_call(thoughtSignature=PLACEHOLDER), function_call("g"))
    assert mended("sign_calls", contents(function_call(**SIGNED), function_call("g")), "aurora") is None


def test_cv_57_claude_gets_no_stand_in() -> None:
    assert mended("sign_calls", contents(function_call()), "claude-opus-5-5") is None


def test_signatures_go_with_the_thoughts_they_are_about() -> None:
    body = contents(
        {"text": "Hm.", "thought": True},
        {"text": "a", "thought_signature": "UzE="},
        {"text": "", **SIGNED},
        function_call(**SIGNED),
    )
    assert mended("forget_signatures", body, "gemini-2.5-flash") == contents({"text": "a"}, function_call())
    required = mended("forget_signatures", copy.deepcopy(body) | {"contents": body["contents"][1:]}, "aurora")
    assert required == {"contents": contents({"text": "a"}, function_call())["contents"][1:]}
    told = mended("forget_signatures", body, "gemini-2.5-flash", reasoning_lost="text")
    assert told == contents({"text": "<think>Hm.</think>\n\n"}, {"text": "a"}, function_call())


def test_a_model_that_demands_signatures_gets_stand_ins() -> None:
    target = Target("gemini-3-pro", rules_of("gemini-3-pro"))
    made = repaired(Outgoing(orjson.dumps(contents(function_call(**SIGNED)))), "forget_signatures", target)
    assert made is not None
    assert orjson.loads(made.body) == contents(function_call(thoughtSignature=PLACEHOLDER))


REASONING: Json = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
SEALED: Json = {**REASONING, "id": "rs_2", "encrypted_content": "C"}
FUNCTION: Json = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT: Json = {"type": "function_call_output", "call_id": "c", "output": "1"}
MESSAGE: Json = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "a", "annotations": []}, {"type": "output_text", "text": "b"}],
}
PLAIN: Json = {"type": "message", "role": "assistant", "content": "ab"}


def without_id(item: Json) -> Json:
    return {name: value for name, value in item.items() if name != "id"}


def test_cv_60_items_go_with_the_ids_that_lead_to_them() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    reference = {"type": "item_reference", "id": "rs_9"}
    body = {"input": [USER, REASONING, MESSAGE, reference, SEALED, FUNCTION, OUTPUT, search]}
    made = mended("forget_items", body)
    assert made == {"input": [USER, PLAIN, without_id(FUNCTION), OUTPUT, search]}


def test_ciphertexts_do_without_an_id() -> None:
    made = mended("forget_ids", {"input": [USER, REASONING, MESSAGE, SEALED, FUNCTION, OUTPUT]})
    assert made == {"input": [USER, PLAIN, without_id(SEALED), without_id(FUNCTION), OUTPUT]}


def test_a_refusal_stays_a_part() -> None:
    refusal = {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}
    assert mended("forget_items", {"input": [refusal]}) == {"input": [without_id(refusal)]}


def test_items_that_are_told_are_messages() -> None:
    made = mended("forget_items", {"input": [REASONING, FUNCTION]}, reasoning_lost="text")
    told = {"type": "message", "role": "assistant", "content": "<think>Hm.</think>\n\n"}
    assert made == {"input": [told, without_id(FUNCTION)]}


def test_a_text_is_no_list_of_items() -> None:
    assert mended("forget_items", {"input": "hello"}) is None
    assert mended("forget_ids", {"previous_response_id": "resp_1"}) is None


CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def test_cv_61_messages_that_called_get_what_there_is_or_the_least() -> None:
    answered = {"role": "assistant", "content": "a"}
    called = {"role": "assistant", "content": None, "tool_calls": CALLS}
    made = mended("fill_reasoning", {"messages": [USER, answered, called, {**called, "reasoning": "Hm."}]})
    assert made is not None
    assert [message.get("reasoning_content") for message in made["messages"]] == [None, None, " ", "Hm."]
    made = mended("fill_reasoning", {"messages": [USER, answered]})
    assert made == {"messages": [USER, {**answered, "reasoning_content": " "}]}


def test_text_that_is_refused_goes_under_all_its_names() -> None:
    spoken = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "Hm.",
        "reasoning_details": [],
        "signature": "S",
    }
    made = mended("strip_reasoning", {"messages": [USER, spoken]})
    assert made == {"messages": [USER, {"role": "assistant", "content": "a"}]}
    made = mended("strip_reasoning", {"messages": [USER, spoken]}, reasoning_lost="text")
    assert made == {"messages": [USER, {"role": "assistant", "content": "<think>Hm.</think>\n\na"}]}


@pytest.mark.parametrize("remedy", REMEDIES)
@pytest.mark.parametrize("name", ["messages", "contents", "input"])
@pytest.mark.parametrize("entries", [None, "text", [], [None, True, {}, {"role": "user", "content": "x"}]])
def test_what_nobody_thought_stays(remedy: Remedy, name: str, entries: Any) -> None:
    if remedy == "drop_mismatched":
        return  # which changes no message
    assert mended(remedy, {name: entries}) is None


@pytest.mark.parametrize(
    ("remedy", "note"), [("sign_calls", "reasoning=emulated"), ("forget_signatures", "reasoning=lost")]
)
def test_it_is_said_what_was_done(remedy: Remedy, note: str) -> None:
    body = orjson.dumps(contents(function_call(), {"text": "a", **SIGNED}))
    made = repaired(Outgoing(body, dropped=(note,)), remedy, Target("aurora"))
    assert made is not None
    assert made.dropped == (note,)
