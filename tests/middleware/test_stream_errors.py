"""What inner stages raise in the middle of a stream ends it in the client's own format and framing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from oneapi_mw.canonical.events import BlockStarted, Event, Started, TextDelta
from oneapi_mw.canonical.frames import EVENTS, Frame
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.middleware.convert import ConvertMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.wire.framing.sse import parse_block
from tests.relay.stack import chunk
from tests.support.harness import Exchanged, call

ARRAY = "/v1beta/models/m:streamGenerateContent"
HI: Any = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "m", "stream": True, "messages": HI},
    "/v1/responses": {"model": "m", "stream": True, "input": "Hi"},
    "/v1/messages": {"model": "m", "stream": True, "max_tokens": 9, "messages": HI},
    ARRAY: {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}
SAID: Sequence[Event] = (Started("r1"), BlockStarted(0, 0, "text"), TextDelta(0, 0, "Half"))
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def message(*frames: Frame) -> Message:
    return {"type": EVENTS, "frames": list(frames), "more_body": True}


async def broken(path: str, *messages: Message, query: bytes = b"", error: Exception | None = None) -> Exchanged:
    """The answer of a pipeline that fails after `messages`."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for sent in messages:
            await send(sent)
        raise error or StoreUnavailable("The store is away")

    app = ExchangeMiddleware(ErrorsMiddleware(ConvertMiddleware(inner)), new_id=lambda: "req-1")
    return await call(app, "POST", path, json=BODIES[path], query=query)


@pytest.mark.parametrize("said", [[message(Frame(SAID))], [message(Frame(SAID[:1]))], [message()]])
@pytest.mark.parametrize("error", [StoreUnavailable("The store is away"), RuntimeError("secret")])
async def test_an_array_is_well_formed_to_its_end(said: list[Message], error: Exception) -> None:
    exchanged = await broken(ARRAY, *said, error=error)
    assert exchanged.headers["content-type"] == "application/json"
    assert exchanged.ended
    elements = orjson.loads(exchanged.body)
    *chunks, last = elements
    assert [part["text"] for c in chunks for part in c["candidates"][0]["content"]["parts"]] == (
        ["Half"] if said == [message(Frame(SAID))] else []
    )
    assert list(last) == ["error"]
    assert last["error"]["message"].endswith("(request id: req-1)")
    assert b"secret" not in exchanged.body


@pytest.mark.parametrize("path", [*BODIES])
async def test_events_end_in_one_error(path: str) -> None:
    query = b"alt=sse" if path == ARRAY else b""
    exchanged = await broken(path, message(Frame(SAID)), query=query)
    assert exchanged.ended
    *_, last = [orjson.loads(event.data) for event in parse_block(exchanged.body)]
    assert b"Half" in exchanged.body
    assert exchanged.body.count(b"The store is away") == 1
    assert b"[DONE]" not in exchanged.body
    assert b"message_stop" not in exchanged.body
    match path:
        case "/v1/responses":
            assert (last["type"], last["response"]["error"]["message"][:17]) == ("response.failed", "The store is away")
        case "/v1/messages":
            assert (last["type"], last["error"]["message"][:17]) == ("error", "The store is away")
        case _:
            assert last["error"]["message"].startswith("The store is away")


async def test_events_of_responses_are_numbered_to_the_end() -> None:
    exchanged = await broken("/v1/responses", message(Frame(SAID)))
    numbers = [orjson.loads(event.data)["sequence_number"] for event in parse_block(exchanged.body)]
    assert numbers == [*range(len(numbers))]


async def test_behind_bytes_that_passed_as_they_were() -> None:
    raw = chunk({"content": "Half"})
    exchanged = await broken("/v1/chat/completions", message(Frame((), raw, "openai_chat")))
    assert exchanged.body.startswith(raw)
    tail = exchanged.body.removeprefix(raw)
    assert orjson.loads(tail.removeprefix(b"data: "))["error"]["code"] == "store_unavailable"
