"""Whole answers, to and from the canonical model: read and written by the machines of streams, so that both agree."""

from __future__ import annotations

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamInvalidResponse
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.openai_responses.event import MalformedEventError
from oneapi_mw.wire.openai_responses.finish import failure
from oneapi_mw.wire.openai_responses.reader import EventReader
from oneapi_mw.wire.openai_responses.writer import ResponseWriter

_ANSWERED = (None, "completed", "incomplete")


def decode_response(body: JsonObject) -> Response:
    """Raises `UpstreamError` for one that failed, `UpstreamInvalidResponse` for one that is no answer yet."""
    status = body.get("status")
    if status == "failed":
        raise failure(body)
    if status not in _ANSWERED or not isinstance(body.get("output"), list):
        raise UpstreamInvalidResponse(f"The upstream's answer has no output; its status is {status!r}")
    reader = EventReader()
    kind = "response.incomplete" if status == "incomplete" else "response.completed"
    try:
        events: list[Event] = reader.read({"type": kind, "response": body})
    except MalformedEventError as exc:
        raise UpstreamInvalidResponse(f"The upstream sent a malformed answer: {exc}") from None
    return fold(events)


def encode_response(response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
    """The response that a stream of the answer would end with."""
    writer = ResponseWriter(call, request_id=request_id, created=created)
    events = writer.feed(unfold(_first(response)))
    answer: JsonObject = events[-1]["response"]
    return answer


def encode_count(response: Response) -> JsonObject:
    """The answer to a request to count its input."""
    tokens = response.usage.input_tokens if response.usage is not None else 0
    return {"object": "response.input_tokens", "input_tokens": tokens}


def _first(response: Response) -> Response:
    """The one candidate this format can tell."""
    found = response.candidates[:1] or ((Candidate(finish="content_filter"),) if response.prompt_block else ())
    if not found or (len(response.candidates) == 1 and found[0].index == 0):
        return response
    first = found[0]
    return Response(
        response.id,
        response.model,
        response.created,
        (Candidate(first.blocks, first.finish, 0, first.stop_sequence, first.finish_detail, first.explanation),),
        response.usage,
        response.usage_extras,
        response.completed,
        response.status,
        response.tier,
        response.fingerprint,
        response.prompt_block,
        response.container,
        response.extras,
    )
