"""OpenAI Responses, the wire format of coding agents and of OpenAI's own tools.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import NOTHING, ToolUsage, Usage
from oneapi_mw.wire.base import Encoded, Outgoing, StreamDecoder, StreamEncoder, WireFormat
from oneapi_mw.wire.errors import openai_error, read_upstream_error
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.openai_responses import call as calls
from oneapi_mw.wire.openai_responses import request as requests
from oneapi_mw.wire.openai_responses import response as responses
from oneapi_mw.wire.openai_responses.content import NAME, VENDOR, answer_id
from oneapi_mw.wire.openai_responses.encoder import ResponsesStreamEncoder
from oneapi_mw.wire.openai_responses.finish import encode_failure, failure
from oneapi_mw.wire.openai_responses.produced import answer_said, delivers_nothing
from oneapi_mw.wire.openai_responses.snapshot import skeleton
from oneapi_mw.wire.openai_responses.stream import ResponsesStreamDecoder
from oneapi_mw.wire.openai_responses.tool_usage import tool_usage
from oneapi_mw.wire.openai_responses.usage import decode_usage, says_zero
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.target import Target

__all__ = ["FORMAT", "Responses"]


class Responses(WireFormat):
    name = NAME
    limit_fields = ("max_output_tokens",)
    least_output = 16
    vendor = VENDOR
    paths = MappingProxyType({"/v1/responses": "chat", "/v1/responses/input_tokens": "count_tokens"})

    def decode_call(
        self, raw: bytes, *, operation: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
    ) -> Call:
        return calls.decode_call(raw, operation=operation, format=self.name, outside=outside, body=body)

    def decode_request(self, call: Call) -> Request:
        if call.operation == "count_tokens":
            calls.refuse_unknown_input(call.body)
        return requests.decode_request(call.body, model=call.model)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        return requests.encode_request(request, target)

    def decode_response(self, body: JsonObject) -> Response:
        response = responses.decode_response(body)
        return response if response.usage is not None else replace(response, usage=self.read_usage(body))

    def encode_response(self, response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
        if call.operation == "count_tokens":
            return responses.encode_count(response)
        return responses.encode_response(response, call, request_id=request_id, created=created)

    def read_usage(self, body: JsonObject) -> Usage | None:
        usage = decode_usage(body)
        return NOTHING if usage is None and says_zero(body) and delivers_nothing(body) else usage

    def goes_on(self, call: Call) -> bool:
        return call.body.get("background") is True

    def read_tools(self, body: JsonObject) -> ToolUsage:
        return tool_usage(body)

    def answer_said(self, body: JsonObject) -> Said:
        return answer_said(body)

    def prepare_upstream(self, call: Call, *, target: Target, include_usage: bool) -> Outgoing:
        return Outgoing(calls.prepare_upstream(call, model=target.model))  # usage is always told

    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        return ResponsesStreamDecoder(full=full, model=model)  # usage is part of an event nobody can do without

    def stream_encoder(self, call: Call, *, request_id: str = "", created: int = 0) -> StreamEncoder:
        return ResponsesStreamEncoder(call, request_id=request_id, created=created)

    def read_error(self, status: int, body: bytes) -> UpstreamError | None:
        """An answer that says `failed` under a status of success is one, too."""
        if not 200 <= status < 300:
            return read_upstream_error(status, body)
        if b'"failed"' in body and (document := _document(body)).get("status") == "failed":
            return failure(document)
        return None if b'"output"' in body and _all_null(body, b'"error"') else read_upstream_error(status, body)

    def encode_error(self, error: GatewayError, *, request_id: str) -> JsonObject:
        return openai_error(error, request_id=request_id)

    def encode_stream_error(self, error: GatewayError, *, request_id: str) -> bytes:
        """A failed response, as clients read no other error. What was said before it is not known here."""
        response = {
            **skeleton(answer_id(request_id), ""),
            "status": "failed",
            "error": encode_failure(error, request_id=request_id),
        }
        event = {"type": "response.failed", "sequence_number": 0, "response": response}
        return encode_sse(dumps(event), b"response.failed")


def _document(body: bytes) -> JsonObject:
    try:
        document = loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _all_null(body: bytes, key: bytes) -> bool:
    """Whether every member of that name is plainly null."""
    return body.count(key) == body.count(key + b":null") + body.count(key + b": null")


FORMAT = Responses()
