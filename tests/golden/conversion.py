"""An answer from one wire to another as the relay and the convert stage take it, without sockets; and what is left of
it once names that differ from run to run are set to those of the examples."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any

from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.canonical.response import Response
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.envelope import Courier, Envelopes
from oneapi_mw.wire.envelope_text import is_envelope
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.wish import ReasoningWish
from tests.golden.notation import Line, parsed
from tests.wire.openai_responses.support import plain

TENANT = "user 1"
ENVELOPES = Envelopes([b"k" * 32])
PLACEHOLDERS = {"EqQB": "X", "Q2k9": "Y"}
"""What stands for an envelope of which vendor's value."""
BODIES: dict[str, JsonObject] = {
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
    "openai_responses": {"model": "m", "input": "Hi", "stream": True},
    "anthropic_messages": {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    },
}
MINTED = {
    "openai_chat": ("chatcmpl-1", re.compile(r"chatcmpl-[A-Za-z0-9]{29}")),
    "openai_responses": ("resp_1", re.compile(r"resp_[0-9a-f]{48}")),
    "anthropic_messages": ("msg_1", re.compile(r"msg_[A-Za-z0-9]{24}")),
    "gemini": ("r1", re.compile(r"[A-Za-z0-9_-]{22}")),
}
"""The id of an answer in the examples, and as it is made."""


def client(wire: str, *, estimate: int = 1) -> Call:
    """A client that sees reasoning and asked for usage.

    Args:
        estimate: tokens of the request, of which Messages tells before anybody knows.
    """
    wish = ReasoningWish(format="reasoning_content") if wire == "openai_chat" else None
    path = "/v1beta/models/m:streamGenerateContent" if wire == "gemini" else ""
    return Call(
        "chat",
        wire,
        "m",
        True,
        BODIES[wire],
        None,
        input_estimate=estimate,
        outside=Outside(path, b"alt=sse"),
        wish=wish,
    )


def courier(source: str, target: str) -> Courier | None:
    """Nothing is wrapped where both sides speak one wire."""
    if source == target:
        return None
    return Courier(ENVELOPES, tenant=TENANT, served=lambda: ("m", "1"), client=target)


def frames_of(source: str, pieces: Iterable[bytes]) -> list[Frame]:
    decoder = get_format(source).stream_decoder(full=True, model=None, hide_usage=False)
    return [*(frame for piece in pieces for frame in decoder.feed(piece)), *decoder.close()]


def events_of(source: str, pieces: Iterable[bytes]) -> list[Event]:
    return [event for frame in frames_of(source, pieces) for event in frame.events]


def streamed(source: str, target: str, pieces: Iterable[bytes], *, estimate: int = 1) -> bytes:
    """The stream a client of `target` gets of what an upstream of `source` sends."""
    encoder = get_format(target).stream_encoder(client(target, estimate=estimate), request_id="req_1", created=1)
    carrier, out = courier(source, target), b""
    for frame in frames_of(source, pieces):
        events: Sequence[Event] = frame.events if carrier is None else carrier.seal_events(frame.events)
        out += encoder.feed(events)
    return out + encoder.close()


def relayed(wire: str, pieces: Iterable[bytes]) -> bytes:
    """The same where both speak one wire: original bytes, and what the gateway has to say itself."""
    encoder = get_format(wire).stream_encoder(client(wire), request_id="req_1", created=1)
    out = b""
    for frame in frames_of(wire, pieces):
        if frame.raw is None:
            out += encoder.feed(frame.events)
        else:
            out += frame.raw
            encoder.observe(frame.events)
    return out + encoder.close()


def answered(source: str, target: str, response: Response) -> JsonObject:
    """The buffered answer a client of `target` gets."""
    carrier = courier(source, target)
    sealed = response if carrier is None else carrier.seal_response(response)
    return get_format(target).encode_response(sealed, client(target), request_id="req_1", created=1)


# As the examples have it.


def comparable(wire: str, data: bytes) -> list[Line]:
    """The events of a stream with ids and envelopes as the examples name them."""
    events = [named(wire, event) for event in parsed(wire, data)]
    if wire == "openai_responses":
        numbered = plain([event for event in events if not isinstance(event, str)])
        return [{**event, "sequence_number": number} for number, event in enumerate(numbered)]
    return events


def named(wire: str, value: Any) -> Any:
    literal, pattern = MINTED[wire]

    def renamed(item: Any, key: str = "") -> Any:
        if isinstance(item, dict):
            return {name: renamed(inner, name) for name, inner in item.items()}
        if isinstance(item, list):
            return [renamed(inner) for inner in item]
        if not isinstance(item, str):
            return item
        if key in ("id", "responseId") and pattern.fullmatch(item):
            return literal
        return unsealed(item)

    return renamed(value)


def unsealed(text: str) -> str:
    """An envelope as the examples name it, once it has shown what is in it."""
    if is_envelope(text) and text.split(".")[2] not in PLACEHOLDERS.values():
        opened = ENVELOPES.unpack(text, tenant=TENANT)
        assert opened is not None, text
        if opened.opaque is None:
            return "oa1.text.provenance"
        return f"oa1.{text.split('.')[1]}.{PLACEHOLDERS[opened.opaque.data]}"
    if text.startswith("b2Ex"):
        return base64.b64encode(unsealed(base64.b64decode(text).decode()).encode()).decode()
    return text
