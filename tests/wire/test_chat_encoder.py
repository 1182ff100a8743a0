"""How reasoning reaches clients of Chat Completions in streams. The worked examples are in `tests.golden`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletionChunk

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.fold import fold
from oneapi_mw.wire import anthropic_messages
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat.encoder import ChatStreamEncoder
from oneapi_mw.wire.wish import ReasoningWish
from tests.wire.anthropic_messages import notation, streams
from tests.wire.gemini.wires import events_of

Json = dict[str, Any]
CALL = Call("chat", "openai_chat", "m", True, {}, None)


def from_messages(text: str) -> list[Event]:
    return events_of(anthropic_messages.FORMAT, notation.stream(text))


def said(events: list[Event], **names: str) -> list[Json]:
    """The deltas a client is told."""
    encoder = ChatStreamEncoder(CALL, created=1, **names)
    data = b"".join([encoder.feed([event]) for event in events]) + encoder.close()
    chunks = [orjson.loads(block.removeprefix(b"data: ")) for block in data.split(b"\n\n")[:-2]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_has_the_name_the_client_gave_it(field: str) -> None:
    events = from_messages(streams.REASONING)
    assert said(events, reasoning=field)[1] == {field: "Need weather."}


def test_cv_32_reasoning_of_another_format_is_called_reasoning() -> None:
    """No delta of it has content, too, and none is empty."""
    encoder = FORMAT.stream_encoder(CALL)
    data = encoder.feed(from_messages(streams.REASONING))
    deltas = [orjson.loads(line[6:])["choices"] for line in data.split(b"\n\n")[:-2]]
    found = [choices[0]["delta"] for choices in deltas if choices and "reasoning" in choices[0]["delta"]]
    assert found == [{"reasoning": "Need weather."}]


def test_cv_50_redacted_and_empty_signed_blocks_reach_the_client() -> None:
    text = """
M u(1,0,0,1)
B0 {"type":"redacted_thinking","data":"RED"}
E0
B1 {"type":"thinking","thinking":"","signature":""}
d1 {"type":"signature_delta","signature":"EqQB"}
E1
X {"stop_reason":"end_turn","stop_sequence":null} u(1,0,0,1)
S
"""
    claude = {"format": "anthropic-claude-v1"}
    entries = [
        {"type": "reasoning.encrypted", "data": "RED", **claude, "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "EqQB", **claude, "index": 1},
    ]
    assert said(from_messages(text))[1:3] == [{"reasoning_details": [entry]} for entry in entries]


@pytest.mark.parametrize(
    ("wish", "field"),
    [(ReasoningWish(format="thinking"), "thinking"), (ReasoningWish(fallback="reasoning_content"), "reasoning_content"),
     (ReasoningWish(format="raw"), "reasoning"), (None, "reasoning")],
)  # fmt: skip
def test_a_wish_names_the_field_in_streams_and_answers(wish: ReasoningWish | None, field: str) -> None:
    call, events = replace(CALL, wish=wish), from_messages(streams.REASONING)
    assert b'"delta":{"%s":"Need weather."}' % field.encode() in FORMAT.stream_encoder(call).feed(events)
    assert FORMAT.encode_response(fold(events), call)["choices"][0]["message"][field] == "Need weather."
