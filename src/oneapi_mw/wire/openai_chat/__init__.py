"""OpenAI Chat Completions, the wire format most clients and most providers speak.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import NOTHING, ToolUsage, Usage, service_variant
from oneapi_mw.wire.base import Encoded, Outgoing, StreamDecoder, StreamEncoder, WireFormat
from oneapi_mw.wire.errors import openai_error, read_upstream_error
from oneapi_mw.wire.framing.sse import encode_sse
from oneapi_mw.wire.openai_chat import call as calls
from oneapi_mw.wire.openai_chat import request as requests
from oneapi_mw.wire.openai_chat import response as responses
from oneapi_mw.wire.openai_chat.content import NAME
from oneapi_mw.wire.openai_chat.encoder import ChatStreamEncoder
from oneapi_mw.wire.openai_chat.hosts import host_of
from oneapi_mw.wire.openai_chat.produced import answer_said, delivers_nothing
from oneapi_mw.wire.openai_chat.stream import ChatStreamDecoder
from oneapi_mw.wire.openai_chat.tool_usage import tool_usage
from oneapi_mw.wire.openai_chat.usage import decode_usage, find_usage, says_zero
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.target import Target

__all__ = ["FORMAT", "ChatCompletions"]


class ChatCompletions(WireFormat):
    name = NAME
    limit_fields = ("max_tokens", "max_completion_tokens")
    paths = MappingProxyType({"/v1/chat/completions": "chat"})

    def decode_call(
        self, raw: bytes, *, operation: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
    ) -> Call:
        return calls.decode_call(raw, operation=operation, format=self.name, outside=outside, body=body)

    def decode_request(self, call: Call) -> Request:
        return requests.decode_request(call.body, model=call.model)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        return requests.encode_request(request, target)

    def most_candidates(self, target: Target) -> int:
        refused = "n" in target.rules.refuses or "n" in host_of(target).refuses
        return 1 if refused else calls.MAX_CANDIDATES

    def split(self, call: Call, *, candidates: bool) -> Sequence[Call]:
        return calls.split_candidates(call) if candidates else (call,)

    def decode_response(self, body: JsonObject) -> Response:
        response = responses.decode_response(body)
        return response if response.usage is not None else replace(response, usage=self.read_usage(body))

    def encode_response(self, response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
        return responses.encode_response(
            response, model=call.model, request_id=request_id, created=created, reasoning=_reasoning_field(call)
        )

    def read_usage(self, body: JsonObject) -> Usage | None:
        report = find_usage(body)
        usage = None if report is None else decode_usage(report)
        if usage is None and report is not None and says_zero(report) and delivers_nothing(body):
            return NOTHING
        variant = service_variant(body.get("service_tier"))
        return replace(usage, variant=variant) if usage is not None and variant else usage

    def read_tools(self, body: JsonObject) -> ToolUsage:
        return tool_usage(body, find_usage(body) or {})

    def answer_said(self, body: JsonObject) -> Said:
        return answer_said(body)

    def prepare_upstream(self, call: Call, *, target: Target, include_usage: bool) -> Outgoing:
        call, dropped = calls.with_functions_alone(call, target)
        return Outgoing(calls.prepare_upstream(call, target=target, include_usage=include_usage), (), dropped)

    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        return ChatStreamDecoder(full=full, model=model, hide_usage=hide_usage)

    def stream_encoder(self, call: Call, *, request_id: str = "", created: int = 0) -> StreamEncoder:
        return ChatStreamEncoder(call, request_id=request_id, created=created, reasoning=_reasoning_field(call))

    def read_error(self, status: int, body: bytes) -> UpstreamError | None:
        return read_upstream_error(status, body)

    def encode_error(self, error: GatewayError, *, request_id: str) -> JsonObject:
        return openai_error(error, request_id=request_id)

    def encode_stream_error(self, error: GatewayError, *, request_id: str) -> bytes:
        return encode_sse(dumps(openai_error(error, request_id=request_id)))


def _reasoning_field(call: Call) -> str:
    """What the client calls the member with the text of the reasoning."""
    return (call.wish.field if call.wish is not None else None) or responses.REASONING


FORMAT = ChatCompletions()
