"""Google's Gemini generateContent.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.canonical.frames import Answer
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import ToolUsage, Usage
from oneapi_mw.wire.base import Encoded, Outgoing, StreamDecoder, StreamEncoder, WireFormat, outgoing
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.gemini import call as calls
from oneapi_mw.wire.gemini import errors
from oneapi_mw.wire.gemini import request as requests
from oneapi_mw.wire.gemini import response as responses
from oneapi_mw.wire.gemini.call import with_limit
from oneapi_mw.wire.gemini.content import NAME, VENDOR
from oneapi_mw.wire.gemini.encoder import GeminiStreamEncoder
from oneapi_mw.wire.gemini.produced import answer_texts
from oneapi_mw.wire.gemini.reader import in_camel_case
from oneapi_mw.wire.gemini.stream import GeminiStreamDecoder
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.target import Target

__all__ = ["FORMAT", "GenerateContent"]

_ARRAY_TYPE = "application/json"


class GenerateContent(WireFormat):
    name = NAME
    vendor = VENDOR
    paths = MappingProxyType[str, str]({})

    def operation_at(self, path: str) -> str | None:
        return calls.operation_at(path)

    def upstream_path(self, operation: str, *, model: str, stream: bool) -> str:
        return calls.upstream_path(operation, model=model, stream=stream)

    def stream_type(self, call: Call) -> str:
        """Content type of the stream that answers `call`: an array of JSON unless it asked for events."""
        return self.stream_content_type if calls.wants_sse(call) else _ARRAY_TYPE

    def passes_frames(self, call: Call) -> bool:
        """Whether the upstream's bytes are of use to the client as they are: only where both have events."""
        return calls.wants_sse(call)

    def decode_call(
        self, raw: bytes, *, operation: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
    ) -> Call:
        return calls.decode_call(raw, operation=operation, format=self.name, outside=outside, body=body)

    def decode_request(self, call: Call) -> Request:
        return requests.decode_request(call)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        return requests.encode_request(request, target)

    def encode_call(self, request: Request, call: Call, *, target: Target) -> Outgoing:
        encoded = self.encode_request(replace(request, model=target.model), target)
        body = encoded.body
        if call.operation == "count_tokens":
            body = calls.counted(body, model=target.model, platform=target.platform)
        return outgoing(encoded, body)

    def most_candidates(self, target: Target) -> int:
        return 1 if "n" in target.rules.refuses else calls.MAX_CANDIDATES

    def split(self, call: Call, *, candidates: bool) -> Sequence[Call]:
        return calls.split_candidates(call) if candidates else (call,)

    def decode_response(self, body: JsonObject) -> Response:
        response = responses.decode_response(body)
        return response if response.usage is not None else replace(response, usage=self.read_usage(body))

    def encode_response(self, response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
        return responses.encode_response(response, call, request_id=request_id)

    def read_usage(self, body: JsonObject) -> Usage | None:
        if "totalTokens" in body:
            return responses.counted(body)
        return responses.read_usage(in_camel_case(body))

    def read_tools(self, body: JsonObject) -> ToolUsage:
        return responses.read_tools(in_camel_case(body))

    def with_limit(self, body: JsonObject, tokens: int) -> JsonObject | None:
        return with_limit(body, tokens)

    def answer_said(self, body: JsonObject) -> Said:
        return Said(answer_texts(body))

    def prepare_upstream(self, call: Call, *, target: Target, include_usage: bool) -> Outgoing:
        return Outgoing(calls.prepare_upstream(calls.with_signed_calls(call, target), model=target.model))

    def restore_model(self, answer: Answer, model: str) -> Answer:
        named = next((name for name in ("modelVersion", "model_version") if name in answer.body), None)
        if named is None or answer.body[named] == model:
            return answer
        body = {**answer.body, named: model}
        return Answer(answer.format, dumps(body), body)

    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        return GeminiStreamDecoder(full=full, model=model)

    def stream_encoder(self, call: Call, *, request_id: str = "", created: int = 0) -> StreamEncoder:
        return GeminiStreamEncoder(call, request_id=request_id)

    def read_error(self, status: int, body: bytes) -> UpstreamError | None:
        return errors.read_error(status, body)

    def encode_error(self, error: GatewayError, *, request_id: str) -> JsonObject:
        return errors.encode_error(error, request_id=request_id)

    def encode_stream_error(self, error: GatewayError, *, request_id: str) -> bytes:
        return encode_sse(dumps(errors.encode_error(error, request_id=request_id, streaming=True)))


FORMAT = GenerateContent()
