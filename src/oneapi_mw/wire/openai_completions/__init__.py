"""OpenAI's text completions, the format before Chat Completions: a prompt is continued.

Clients of it are served by any upstream. An upstream of it serves these clients alone, with their own bytes.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded, Outgoing, StreamDecoder, StreamEncoder
from oneapi_mw.wire.openai_chat import ChatCompletions
from oneapi_mw.wire.openai_chat.call import MAX_CANDIDATES
from oneapi_mw.wire.openai_completions import call as calls
from oneapi_mw.wire.openai_completions import request as requests
from oneapi_mw.wire.openai_completions import response as responses
from oneapi_mw.wire.openai_completions.encoder import CompletionStreamEncoder
from oneapi_mw.wire.openai_completions.stream import NAME, CompletionStreamDecoder
from oneapi_mw.wire.target import Target

__all__ = ["FORMAT", "Completions"]


class Completions(ChatCompletions):
    """Errors and usage are told as in Chat Completions."""

    name = NAME
    paths = MappingProxyType({"/v1/completions": "chat"})

    def decode_call(
        self, raw: bytes, *, operation: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
    ) -> Call:
        return calls.decode_call(raw, operation=operation, format=self.name, outside=outside, body=body)

    def decode_request(self, call: Call) -> Request:
        return requests.decode_request(call)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        raise InvalidRequest(
            f"Model {target.model!r} only continues texts: ask it at /v1/completions, or ask another model",
            param="model",
        )

    def most_candidates(self, target: Target) -> int:
        return MAX_CANDIDATES

    def split(self, call: Call, *, candidates: bool) -> Sequence[Call]:
        return calls.split(call, candidates=candidates)

    def answers_made(self, call: Call) -> int:
        """Drafts that nobody sees are generated, too."""
        return max(call.candidates, call.inputs * calls.drafts_of(call.body))

    def decode_response(self, body: JsonObject) -> Response:
        response = responses.decode_response(body)
        return response if response.usage is not None else replace(response, usage=self.read_usage(body))

    def encode_response(self, response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
        return responses.encode_response(response, call, request_id=request_id, created=created)

    def prepare_upstream(self, call: Call, *, target: Target, include_usage: bool) -> Outgoing:
        return Outgoing(calls.prepare_upstream(call, target=target, include_usage=include_usage))

    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        return CompletionStreamDecoder(full=full, model=model, hide_usage=hide_usage)

    def stream_encoder(self, call: Call, *, request_id: str = "", created: int = 0) -> StreamEncoder:
        return CompletionStreamEncoder(call, request_id=request_id, created=created)


FORMAT = Completions()
