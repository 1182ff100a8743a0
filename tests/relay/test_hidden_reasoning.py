"""A client whose own body wants no reasoning sees none of a model that cannot be kept from it."""

from __future__ import annotations

import base64
from typing import Any, cast

import orjson
import pytest

from oneapi_mw.canonical.blocks import Reasoning, ReasoningText, Text
from oneapi_mw.providers.catalogue import get_provider
from oneapi_mw.relay.conversion import outgoing_call
from oneapi_mw.routing.plan import Candidate
from oneapi_mw.wire.envelope import Courier, Envelopes
from oneapi_mw.wire.registry import get_format
from tests.relay.stack import HEADERS, SSE_TYPE, Reply, ScriptedUpstream, WatchedLedger, chunk, gateway
from tests.relay.test_losses import CHAT, GEMINI, HI, MESSAGES, RESPONSES, to
from tests.support.harness import Exchanged, call

GEMINI_STREAM = "/v1beta/models/small:streamGenerateContent"
OFF: dict[str, dict[str, Any]] = {
    CHAT: {"reasoning_effort": "none"},
    RESPONSES: {"reasoning": {"effort": "none"}},
    MESSAGES: {"thinking": {"type": "disabled"}},
    GEMINI: {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": True}}},
}
THOUGHT, SAID = "Be still.", "Four."

CHAT_THINKS = {
    "id": "1",
    "choices": [
        {"index": 0, "message": {"content": SAID, "reasoning_content": THOUGHT}, "finish_reason": "stop"},
    ],
}
MESSAGE_THINKS = {
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": THOUGHT, "signature": "EqQB"},
        {"type": "text", "text": SAID},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 9},
}
GEMINI_THINKS = {
    "candidates": [
        {"content": {"parts": [{"text": THOUGHT, "thought": True}, {"text": SAID}]}, "finishReason": "STOP"},
    ],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 7},
}
ALWAYS = {
    50: ("deepseek-reasoner", CHAT_THINKS),
    14: ("claude-fable-5", MESSAGE_THINKS),
    24: ("gemini-2.5-pro", GEMINI_THINKS),
}
"""Models that cannot be kept from reasoning, by type of their channel."""


async def ask(path: str, type: int, reply: Reply, **more: Any) -> Exchanged:
    model, _ = ALWAYS[type]
    app = gateway(ScriptedUpstream(reply), WatchedLedger(), channels=[to(type, model)])
    place = GEMINI if path == GEMINI_STREAM else path
    query = b"alt=sse" if path == GEMINI_STREAM else b""
    return await call(app, "POST", path, json={**HI[place], **more}, headers=HEADERS, query=query)


CONVERTED = [
    pytest.param(path, type, id=f"{path.rpartition('/')[2]} from {type}")
    for path, own in ((CHAT, 50), (RESPONSES, 0), (MESSAGES, 14), (GEMINI, 24))
    for type in ALWAYS
    if type != own
]


@pytest.mark.parametrize(("path", "type"), CONVERTED)
async def test_answers(path: str, type: int) -> None:
    reply = orjson.dumps(ALWAYS[type][1])
    told = await ask(path, type, Reply([reply]), **OFF[path])
    assert told.status == 200
    assert SAID.encode() in told.body
    assert THOUGHT.encode() not in told.body
    assert told.headers["x-oneapi-dropped"].split(", ")[0] in (
        "reasoning_effort",
        "reasoning.effort",
        "thinking",
        "generationConfig.thinkingConfig.thinkingBudget",
    )


@pytest.mark.parametrize(("path", "type"), CONVERTED)
async def test_the_same_is_shown_to_who_did_not_refuse_it(path: str, type: int) -> None:
    more = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}} if path == GEMINI else {}
    told = await ask(path, type, Reply([orjson.dumps(ALWAYS[type][1])]), **more)
    assert THOUGHT.encode() in told.body


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES, GEMINI_STREAM])
async def test_streams(path: str) -> None:
    events = [chunk({"reasoning_content": "Be st"}), chunk({"reasoning_content": "ill."}), chunk({"content": SAID})]
    reply = Reply([*events, chunk({}, "stop"), b"data: [DONE]\n\n"], headers=SSE_TYPE)
    more = OFF[GEMINI] if path == GEMINI_STREAM else {**OFF[path], "stream": True}
    told = await ask(path, 50, reply, **more)
    assert SAID.encode() in told.body
    assert b"Be st" not in told.body  # no id has a space
    assert b"sh." not in told.body


def test_a_signature_stays_with_what_it_signs() -> None:
    """It has to come back, and the text that nobody was shown travels in it where nobody can read it."""
    wire, envelopes = get_format("openai_responses"), Envelopes([b"k" * 32])
    call = wire.decode_call(orjson.dumps({**HI[RESPONSES], **OFF[RESPONSES]}), operation="chat")
    courier = Courier(envelopes, tenant="u", served=lambda: ("claude-fable-5", "7"), client="openai_responses")
    served = to(14, "claude-fable-5")
    provider = get_provider(14)
    assert provider is not None
    route = Candidate.compiled(served, "claude-fable-5", cast(Any, None), provider).route(call)
    _, conversion = outgoing_call(call, route, provider="anthropic", include_usage=True, carriers=lambda _: courier)
    assert conversion is not None
    shown = conversion.response(get_format("anthropic_messages").decode_response(MESSAGE_THINKS))
    thought, said = shown.candidates[0].blocks
    assert isinstance(thought, Reasoning)
    assert (thought.text, said) == ("", Text(SAID))
    assert thought.opaque is not None
    sealed = base64.urlsafe_b64decode(thought.opaque.data.rpartition(".")[2] + "==")
    assert THOUGHT.encode() not in sealed
    opened = envelopes.unpack(thought.opaque.data, tenant="u")
    assert opened is not None
    assert opened.texts == (ReasoningText(THOUGHT),)


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES, GEMINI])
async def test_cv_41_what_was_said_as_reasoning_alone_is_the_answer(path: str) -> None:
    """A host that was told not to reason may put its whole answer there."""
    alone = {"index": 0, "message": {"content": None, "reasoning_content": SAID}, "finish_reason": "stop"}
    told = await ask(path, 50, Reply([orjson.dumps({"id": "1", "choices": [alone]})]), **OFF[path])
    document = told.json()
    match path:
        case "/v1/messages":
            assert document["content"] == [{"type": "text", "text": SAID}]
        case "/v1/responses":
            (message,) = document["output"]
            assert message["content"][0]["text"] == SAID
        case _:
            assert document["candidates"][0]["content"]["parts"] == [{"text": SAID}]


async def test_cv_45_what_is_hidden_is_reported() -> None:
    told = await ask(MESSAGES, 24, Reply([orjson.dumps(GEMINI_THINKS)]), **OFF[MESSAGES])
    assert told.json()["usage"]["output_tokens"] == 9


@pytest.mark.parametrize(
    ("query", "header", "shown"),
    [(b"", b"", False), (b"thinking=1", b"", True), (b"", b"on", True), (b"thinking=0", b"on", False)],
)
async def test_gemini_clients_see_thoughts_when_they_wish_to(query: bytes, header: bytes, shown: bool) -> None:
    """Their format has a field of its own for it; what was said beside the body counts as much and more."""
    app = gateway(ScriptedUpstream(Reply([orjson.dumps(CHAT_THINKS)])), WatchedLedger(), channels=[to(50, "qwen3-8b")])
    headers = {**HEADERS, **({"x-oneapi-thinking": header.decode()} if header else {})}
    told = await call(app, "POST", GEMINI, json=HI[GEMINI], headers=headers, query=query)
    assert (THOUGHT.encode() in told.body) == shown


@pytest.mark.parametrize(
    ("path", "type", "more"),
    [
        (CHAT, 14, {"reasoning": {"effort": "high", "exclude": True}}),
        (CHAT, 14, {"include_reasoning": False}),
        (MESSAGES, 50, {"thinking": {"type": "adaptive", "display": "omitted"}}),
    ],
)
async def test_text_that_was_excluded_is_not_shown(path: str, type: int, more: dict[str, Any]) -> None:
    """The model may reason, and only its text is unwanted."""
    told = await ask(path, type, Reply([orjson.dumps(ALWAYS[type][1])]), **more)
    assert SAID.encode() in told.body
    assert THOUGHT.encode() not in told.body


@pytest.mark.parametrize(
    "words",
    [
        {"reasoning": {"enabled": False}},
        {"enable_thinking": False},
        {"thinking": {"type": "disabled"}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}},
    ],
)
async def test_a_chat_may_refuse_in_any_hosts_words(words: dict[str, Any]) -> None:
    told = await ask(CHAT, 14, Reply([orjson.dumps(MESSAGE_THINKS)]), **words)
    assert SAID.encode() in told.body
    assert THOUGHT.encode() not in told.body
