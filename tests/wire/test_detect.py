"""Bodies at the wrong path: recognised by their structure, never by what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire import detect as module
from oneapi_mw.wire.detect import covered_format, detect, redirect_path

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
ALL = (CHAT, RESPONSES, MESSAGES, GEMINI)
VERSION = [(b"anthropic-version", b"2023-06-01")]
HI = [{"role": "user", "content": "hi"}]


def said(**message: Any) -> dict[str, Any]:
    return {"messages": [*HI, message]}


def block(kind: str, **members: Any) -> dict[str, Any]:
    return said(role="user", content=[{"type": "text", "text": "look"}, {"type": kind, **members}])


def item(kind: str, **members: Any) -> dict[str, Any]:
    return {"input": [{"type": kind, **members}]}


# 8.1: one proof is enough, at any path.

PROOFS: Mapping[str, list[dict[str, Any]]] = {
    GEMINI: [
        {"contents": [{"parts": [{"text": "hi"}]}]},
        *({"contents": [], "messages": HI, key: {}} for key in ("generationConfig", "generation_config")),
        *({"contents": [], "messages": HI, key: {}} for key in ("systemInstruction", "system_instruction")),
    ],
    RESPONSES: [
        {"input": "hi"},
        {"input": []},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"messages": HI, **item("function_call", call_id="c", name="f", arguments="{}")},
        {"messages": HI, **item("function_call_output", call_id="c", output="1")},
        {"messages": HI, **item("reasoning", summary=[])},
        {"messages": HI, **item("item_reference", id="msg_1")},
        {"messages": HI, **item("message", role="user", content=[{"type": "input_text", "text": "hi"}])},
    ],
    MESSAGES: [
        block("tool_use", id="t", name="f", input={}),
        block("tool_result", tool_use_id="t", content="1"),
        block("thinking", thinking="hm", signature="s"),
        block("redacted_thinking", data="x"),
        block("document", source={"type": "text", "data": "x"}),
        block("server_tool_use", id="s", name="web_search", input={}),
        block("image", source={"type": "base64", "media_type": "image/png", "data": ""}),
        {"messages": HI, "tools": [{"name": "f", "input_schema": {}}]},
        {"messages": HI, "tools": [{"type": "web_search_20260318", "name": "web_search"}]},
        {"messages": HI, "tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"messages": HI, "tools": [{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}]},
        {"messages": HI, "tools": [{"type": "computer_20251124", "name": "computer"}]},
        {"messages": HI, "tool_choice": {"type": "any"}},
        {"messages": HI, "tool_choice": {"type": "tool", "name": "f"}},
        {"messages": HI, "stop_sequences": ["END"]},
    ],
    CHAT: [
        said(role="tool", tool_call_id="c", content="1"),
        said(role="developer", content="S"),
        said(role="function", name="f", content="1"),
        said(role="assistant", tool_calls=[{"id": "c", "type": "function", "function": {"name": "f"}}]),
        said(role="user", tool_call_id="c", content="1"),
        block("image_url", image_url={"url": "https://example.com/a.png"}),
        block("input_audio", input_audio={}),
        {"messages": HI, "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": HI, "response_format": {"type": "json_object"}},
        {"messages": HI, "stream_options": {"include_usage": True}},
        {"messages": HI, "max_completion_tokens": 9},
        {"messages": HI, "frequency_penalty": 0},
        {"messages": HI, "n": 2},
        {"messages": HI, "logit_bias": {}},
        {"messages": HI, "functions": []},
    ],
}
EVERY_PROOF = [(name, proof) for name, proofs in PROOFS.items() for proof in proofs]


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize(("proven", "body"), EVERY_PROOF, ids=str)
def test_one_proof_is_enough_at_any_path(path: str, proven: str, body: dict[str, Any]) -> None:
    assert detect(path, {"model": "m", **body}, []) == proven


@pytest.mark.parametrize("key", sorted({key for _, body in EVERY_PROOF for key in body} - {"messages"}), ids=str)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_null_proves_nothing(path: str, key: str) -> None:
    assert detect(path, {"messages": HI, key: None}, VERSION) == path


# 8.2.

HINTED = {"messages": HI, "system": "S", "max_tokens": 9}


@pytest.mark.parametrize(
    ("body", "headers", "chat", "responses", "messages", "gemini"),
    [
        (HINTED, VERSION, MESSAGES, MESSAGES, MESSAGES, MESSAGES),
        (HINTED, [], CHAT, MESSAGES, MESSAGES, MESSAGES),
        ({**HINTED, "system": [{"type": "text", "text": "S"}]}, VERSION, MESSAGES, MESSAGES, MESSAGES, MESSAGES),
        ({**HINTED, "system": {"odd": 1}}, VERSION, CHAT, CHAT, MESSAGES, CHAT),
        ({**HINTED, "max_tokens": None}, VERSION, CHAT, CHAT, MESSAGES, CHAT),
        ({**HINTED, "messages": [{"role": "system", "content": "S"}, *HI]}, VERSION, CHAT, CHAT, MESSAGES, CHAT),
        ({"messages": HI}, VERSION, CHAT, CHAT, MESSAGES, CHAT),
        ({"messages": HI, "input": "hi"}, [], CHAT, RESPONSES, MESSAGES, GEMINI),
        ({"messages": HI, "instructions": "S"}, [], CHAT, RESPONSES, MESSAGES, CHAT),
        ({"messages": HI, "max_output_tokens": 9}, [], CHAT, RESPONSES, MESSAGES, CHAT),
        ({"messages": HI, "reasoning": {"effort": "low"}}, [], CHAT, RESPONSES, MESSAGES, CHAT),
        ({"messages": HI, "text": {"format": {"type": "text"}}}, [], CHAT, RESPONSES, MESSAGES, CHAT),
        ({"messages": HI, "tools": [{"type": "function", "name": "f"}]}, [], CHAT, RESPONSES, MESSAGES, CHAT),
        ({}, VERSION, CHAT, RESPONSES, MESSAGES, GEMINI),
        ({"messages": "hi"}, VERSION, CHAT, RESPONSES, MESSAGES, GEMINI),
        ({"system": "S", "max_tokens": 9}, VERSION, CHAT, RESPONSES, MESSAGES, GEMINI),
    ],
)
def test_hints_decide_when_nothing_is_proven(
    body: dict[str, Any], headers: list[tuple[bytes, bytes]], chat: str, responses: str, messages: str, gemini: str
) -> None:
    found = [detect(path, {"model": "m", **body}, headers) for path in ALL]
    assert found == [chat, responses, messages, gemini]


OTHERS = [(CHAT, RESPONSES), (CHAT, MESSAGES), (RESPONSES, MESSAGES)]
MIXED = {
    (CHAT, RESPONSES): {**PROOFS[CHAT][0], **item("reasoning")},
    (CHAT, MESSAGES): {**PROOFS[CHAT][0], "stop_sequences": ["END"]},
    (RESPONSES, MESSAGES): {"input": "hi", "stop_sequences": ["END"]},
}


@pytest.mark.parametrize("pair", OTHERS)
@pytest.mark.parametrize("path", ALL)
def test_cv_86_mixed_bodies_stay_or_are_refused_with_both_names(path: str, pair: tuple[str, str]) -> None:
    if path in pair:
        assert detect(path, MIXED[pair], []) == path
        return
    with pytest.raises(InvalidRequest) as caught:
        detect(path, MIXED[pair], [])
    assert caught.value.status == 400
    assert f"The body mixes {pair[0].upper()} and {pair[1].upper()} fields" in caught.value.message


# 8.3.


@pytest.mark.parametrize(
    ("path", "body", "headers", "result"),
    [
        (CHAT, {"input": "hi"}, [], RESPONSES),
        (
            CHAT,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}
                ],
                "max_tokens": 9,
            },
            [],
            MESSAGES,
        ),
        (CHAT, HINTED, VERSION, MESSAGES),
        (CHAT, HINTED, [], CHAT),
        (CHAT, {"contents": [{"parts": [{"text": "hi"}]}]}, [], GEMINI),
        (
            MESSAGES,
            {"messages": [{"role": "system", "content": "S"}, *HI], "max_completion_tokens": 9},
            [],
            CHAT,
        ),
        (MESSAGES, {"messages": HI, "max_tokens": 9}, [], MESSAGES),
        (RESPONSES, {"messages": HI}, [], CHAT),
        (RESPONSES, {"instructions": "S"}, [], RESPONSES),
        (CHAT, {"prompt": "hi"}, [], CHAT),
        (
            CHAT,
            {"messages": HI, "tools": [{"type": "function", "function": {"name": "f", "input_schema": {}}}]},
            [],
            CHAT,
        ),
        (CHAT, {"messages": HI, "thinking": {"type": "enabled", "budget_tokens": 2000}}, [], CHAT),
        (MESSAGES, {"messages": HI, "tools": [{"type": "web_search_20260318", "name": "web_search"}]}, [], MESSAGES),
    ],
)
def test_examples(path: str, body: dict[str, Any], headers: list[tuple[bytes, bytes]], result: str) -> None:
    assert detect(path, {"model": "m", **body}, headers) == result


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
@pytest.mark.parametrize("body", PROOFS[CHAT])
def test_cv_83_a_chat_at_another_path_is_a_chat(path: str, body: dict[str, Any]) -> None:
    assert detect(path, {"model": "m", **body}, VERSION) == CHAT


QUOTE = '{"type":"tool_use","id":"t"} {"type":"function_call"} "input_schema" contents'


@pytest.mark.parametrize("path", ALL)
def test_cv_85_quoted_types_never_decide(path: str) -> None:
    content = [{"type": "text", "text": QUOTE}, {"type": "text", "text": {"type": "tool_use"}}]
    plain = {"messages": [{"role": "user", "content": content}]}
    quoted = {"messages": [{"role": "user", "content": content}, {"role": "user", "content": QUOTE}]}
    assert detect(path, quoted, []) == detect(path, plain, []) == (MESSAGES if path == MESSAGES else CHAT)


# What looks alike and is not.


@pytest.mark.parametrize(
    ("path", "body", "result"),
    [
        (CHAT, {"input": "hi", "tools": [{"type": "web_search_2025_08_26"}]}, RESPONSES),
        (CHAT, {"input": "hi", "stream_options": {"include_obfuscation": False}}, RESPONSES),
        (CHAT, {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": []}]}]}, CHAT),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image", "url": "https://e/a"}]}]}, CHAT),
        (CHAT, {"messages": HI, "tool_choice": {"type": "function", "function": {"name": "f"}}}, CHAT),
        (CHAT, {"messages": HI, "tool_choice": "any"}, CHAT),
        (RESPONSES, {"generationConfig": {}}, RESPONSES),
    ],
)
def test_lookalikes(path: str, body: dict[str, Any], result: str) -> None:
    assert detect(path, body, []) == result


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "x"]), inner),
    max_leaves=6,
)
KEYS = sorted({key for proofs in PROOFS.values() for proof in proofs for key in proof} | {"system", "max_tokens"})
CONTENTS = st.sampled_from([body["messages"] for proofs in PROOFS.values() for body in proofs if "messages" in body])
BODIES = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5)


@given(st.sampled_from(ALL), BODIES)
def test_any_shape_is_answered_or_refused(path: str, body: dict[str, Any]) -> None:
    try:
        found = detect(path, body, VERSION)
    except InvalidRequest:
        assert path not in module._proven(body)
    else:
        assert found in ALL


@given(BODIES, CONTENTS)
def test_the_short_way_for_chats_gives_the_long_ways_answer(body: dict[str, Any], messages: list[Any]) -> None:
    body = {**body, "messages": messages}
    if module._plain_chat(body):
        proven = module._proven(body)
        assert CHAT in proven or (not proven and module._by_hints(CHAT, body, VERSION) == CHAT)


# How much is looked at.


class Counted(list[Any]):
    """A list that tells how many entries were taken out."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.taken += len(found) if isinstance(key, slice) else 1
        return found

    def __iter__(self) -> Any:
        raise AssertionError("all of it was read")


def test_cv_82_what_is_looked_at_is_bounded_and_read_once() -> None:
    messages, tools, given = Counted(HI * 5000), Counted([{"name": "f"}] * 5000), Counted([{"type": "message"}] * 5000)
    assert detect(RESPONSES, {"messages": messages, "tools": tools, "input": given}, []) == RESPONSES
    assert messages.taken == given.taken == 2 * module.MAX_MESSAGES
    assert tools.taken <= 2 * module.MAX_TOOLS


@pytest.mark.parametrize(
    ("place", "seen"), [(0, True), (63, True), (64, False), (135, False), (136, True), (199, True)]
)
def test_the_ends_of_a_long_conversation_are_looked_at(place: int, seen: bool) -> None:
    messages = [*HI] * 200
    messages[place] = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}  # type: ignore[dict-item]
    assert detect(CHAT, {"messages": messages}, []) == (MESSAGES if seen else CHAT)


@pytest.mark.parametrize(("place", "seen"), [(0, True), (63, True), (64, False)])
def test_the_first_blocks_of_a_message_are_looked_at(place: int, seen: bool) -> None:
    blocks: list[Any] = [{"type": "text", "text": "x"}] * 65
    blocks[place] = {"type": "tool_result", "tool_use_id": "t"}
    assert detect(CHAT, {"messages": [{"role": "user", "content": blocks}]}, []) == (MESSAGES if seen else CHAT)


@pytest.mark.parametrize(("place", "seen"), [(0, True), (31, True), (32, False)])
def test_the_first_tools_are_looked_at(place: int, seen: bool) -> None:
    tools: list[Any] = [{"type": "odd"}] * 33
    tools[place] = {"name": "f", "input_schema": {}}
    assert detect(CHAT, {"messages": HI, "tools": tools}, []) == (MESSAGES if seen else CHAT)


# Paths.


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/v1/responses", RESPONSES),
        ("/v1/responses/", RESPONSES),
        ("/v1/messages", MESSAGES),
        ("/v1/messages/", MESSAGES),
        ("/v1beta/models/gemini-3-pro:generateContent", GEMINI),
        ("/v1/models/org/m:streamGenerateContent", GEMINI),
        ("/v1beta/tunedModels/t:generateContent", GEMINI),
    ],
)
def test_covered_paths(path: str, name: str) -> None:
    assert covered_format(path) == name


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/v1/responses/compact",
        "/v1/responses/resp_1",
        "/v1/responses/input_tokens",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/messagesx",
        "/v1beta/models/gemini-3-pro:countTokens",
        "/v1beta/models/gemini-3-pro",
        "/v1/embeddings",
        "/v1/models",
    ],
)
def test_cv_84_other_paths_have_bodies_of_their_own(path: str) -> None:
    assert covered_format(path) is None


@pytest.mark.parametrize(
    ("name", "body", "path", "target"),
    [
        (CHAT, {}, "/v1/messages?strict=true", "/v1/chat/completions?strict=true"),
        (RESPONSES, {}, "/v1/chat/completions", "/v1/responses"),
        (MESSAGES, {}, "/v1/chat/completions?a=1&b=%20", "/v1/messages?a=1&b=%20"),
        (GEMINI, {"model": "g-3"}, "/v1/responses", "/v1beta/models/g-3:generateContent"),
        (GEMINI, {"model": "models/g-3"}, "/v1/responses?x", "/v1beta/models/g-3:generateContent?x"),
        (GEMINI, {"model": "o/g 3?"}, "/v1/responses", "/v1beta/models/o/g%203%3F:generateContent"),
        (GEMINI, {}, "/v1/responses?model=g-3", "/v1beta/models/g-3:generateContent?model=g-3"),
        (GEMINI, {"model": "g", "stream": True}, "/v1/x", "/v1beta/models/g:streamGenerateContent?alt=sse"),
        (GEMINI, {"model": "g", "stream": True}, "/v1/x?a=b", "/v1beta/models/g:streamGenerateContent?a=b&alt=sse"),
        (GEMINI, {"model": "g"}, "/v1/x?alt=sse", "/v1beta/models/g:streamGenerateContent?alt=sse"),
        (GEMINI, {"model": "g", "stream": True}, "/v1/x?alt=sse", "/v1beta/models/g:streamGenerateContent?alt=sse"),
    ],
)
def test_where_a_body_belongs(name: str, body: dict[str, Any], path: str, target: str) -> None:
    assert redirect_path(name, body, path) == target


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ["g"]}, {"model": "a\nb"}])
def test_a_gemini_body_needs_a_model(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="model") as caught:
        redirect_path(GEMINI, body, "/v1/chat/completions")
    assert caught.value.param == "model"


@pytest.mark.parametrize(("name", "body"), EVERY_PROOF, ids=str)
@pytest.mark.parametrize("path", ALL)
def test_cv_82_a_body_where_it_belongs_stays_there(path: str, name: str, body: dict[str, Any]) -> None:
    body = {"model": "m", **body}
    target = redirect_path(detect(path, body, []), body, "/v1/anywhere").partition("?")[0]
    found = covered_format(target)
    assert found == name
    assert detect(found, body, []) == found
