"""Anthropic Messages, the wire format of Claude and of the tools made for it.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import NOTHING, ToolUsage, Usage
from oneapi_mw.wire.anthropic_messages import call as calls
from oneapi_mw.wire.anthropic_messages import errors
from oneapi_mw.wire.anthropic_messages import request as requests
from oneapi_mw.wire.anthropic_messages import response as responses
from oneapi_mw.wire.anthropic_messages.betas import accepted
from oneapi_mw.wire.anthropic_messages.content import NAME, VENDOR
from oneapi_mw.wire.anthropic_messages.encoder import MessagesStreamEncoder, stream_error
from oneapi_mw.wire.anthropic_messages.produced import content_said
from oneapi_mw.wire.anthropic_messages.stream import MessagesStreamDecoder
from oneapi_mw.wire.anthropic_messages.tool_usage import tool_usage
from oneapi_mw.wire.anthropic_messages.usage import decode_usage, says_zero
from oneapi_mw.wire.base import Encoded, Outgoing, StreamDecoder, StreamEncoder, WireFormat, outgoing
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.zero import holds_nothing

__all__ = ["FORMAT", "AnthropicMessages"]


_ALIAS = re.compile(r"/(?:v1/v1|openai/v1|openai/v1/v1|api/v1/v1)/messages(?=/count_tokens|$)")
"""Where Claude Code asks when its base URL already ends in a path of its own."""


class AnthropicMessages(WireFormat):
    name = NAME
    vendor = VENDOR
    paths = MappingProxyType({"/v1/messages": "chat", "/v1/messages/count_tokens": "count_tokens"})

    def operation_at(self, path: str) -> str | None:
        return self.paths.get(_ALIAS.sub("/v1/messages", path, count=1))

    def decode_call(
        self, raw: bytes, *, operation: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
    ) -> Call:
        return calls.decode_call(raw, operation=operation, format=self.name, outside=outside, body=body)

    def decode_request(self, call: Call) -> Request:
        return requests.decode_request(call)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        return requests.encode_request(request, target)

    def encode_call(self, request: Request, call: Call, *, target: Target) -> Outgoing:
        counting = call.operation == "count_tokens"
        encoded = requests.encode_request(replace(request, model=target.model), target, counting=counting)
        return outgoing(encoded, encoded.body)

    def decode_response(self, body: JsonObject) -> Response:
        response = responses.decode_response(body)
        return response if response.usage is not None else replace(response, usage=self.read_usage(body))

    def encode_response(self, response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
        return responses.encode_response(response, call, request_id=request_id)

    def read_usage(self, body: JsonObject) -> Usage | None:
        report = body.get("usage")
        if not isinstance(report, dict):
            return None
        usage = decode_usage(report)
        return NOTHING if usage is None and says_zero(report) and holds_nothing(body.get("content")) else usage

    def read_tools(self, body: JsonObject) -> ToolUsage:
        return tool_usage(body)

    def with_limit(self, body: JsonObject, tokens: int) -> JsonObject | None:
        thinking = body.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if type(budget) is int and budget >= tokens:  # thinking has to leave room for an answer
            return None
        return super().with_limit(body, tokens)

    def answer_said(self, body: JsonObject) -> Said:
        return content_said(body.get("content"))

    def prepare_upstream(self, call: Call, *, target: Target, include_usage: bool) -> Outgoing:
        betas, refused = accepted(calls.client_betas(call.outside.headers), target)
        dropped = tuple(f"betas.{beta}" for beta in refused)
        sent = calls.without_refused_thinking(call, target)
        if sent is not call:
            call, dropped = sent, (*dropped, "thinking")
        if target.platform in ("bedrock", "vertex"):
            body, headers = requests.placed(call.body, betas, target)
            return Outgoing(dumps(body), headers, dropped)
        _, headers = requests.placed({}, betas, target)
        return Outgoing(calls.prepare_upstream(call, model=target.model), headers, dropped)

    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        return MessagesStreamDecoder(full=full, model=model)

    def stream_encoder(self, call: Call, *, request_id: str = "", created: int = 0) -> StreamEncoder:
        return MessagesStreamEncoder(call, request_id=request_id)

    def read_error(self, status: int, body: bytes) -> UpstreamError | None:
        return errors.read_error(status, body)

    def encode_error(self, error: GatewayError, *, request_id: str) -> JsonObject:
        return errors.encode_error(error, request_id=request_id)

    def encode_stream_error(self, error: GatewayError, *, request_id: str) -> bytes:
        return stream_error(error, request_id=request_id)


FORMAT = AnthropicMessages()
