"""Errors in Anthropic's envelope, read and written.

Source: https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.errors import GatewayError, UpstreamAuthFailed, UpstreamError
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.errors import read_upstream_error

TOO_LONG = "prompt is too long"
"""How the message begins when the context window is exceeded: clients look for it."""

_STATUS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_OURS: Mapping[str, tuple[str, str | None]] = {
    "invalid_request_error": ("invalid_request_error", None),
    "not_found_error": ("invalid_request_error", "model_not_found"),
    "conflict_error": ("conflict", None),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "api_error": ("server_error", None),
    "timeout_error": ("timeout", "upstream_timeout"),
    "overloaded_error": ("server_error", "overloaded"),
}
"""Anthropic's type -> type and code in the words every stage of ours speaks."""
_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def read_error(status: int, body: bytes) -> UpstreamError | None:
    """See `WireFormat.read_error`."""
    if 200 <= status < 300 and b'"error"' not in body and (b'"content"' in body or b'"input_tokens"' in body):
        return None
    error = read_upstream_error(status, body)
    return None if error is None else _in_our_words(error)


def error_in_event(document: Mapping[str, Any]) -> UpstreamError | None:
    """The error an event of a stream is, with the status its type stands for."""
    error = document.get("error")
    if document.get("type") != "error" and not error:
        return None
    kind = error.get("type") if isinstance(error, dict) else None
    status = _STATUS.get(kind, 500) if isinstance(kind, str) else 500
    found = read_upstream_error(status, dumps(document))
    return None if found is None else _in_our_words(found)


def _in_our_words(error: UpstreamError) -> UpstreamError:
    if isinstance(error, UpstreamAuthFailed) or error.type not in _OURS:
        return error
    error.type, code = _OURS[error.type]
    if code is not None and error.code == "upstream_error":
        error.code = code
    if error.message.lower().startswith(TOO_LONG):
        error.code = "context_length_exceeded"
    return error


def encode_error(error: GatewayError, *, request_id: str) -> JsonObject:
    """`error` in Anthropic's envelope. Code and parameter are ours to add: official clients ignore them."""
    if error.type == "insufficient_quota":
        kind = "billing_error"
    else:
        kind = _TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    message = error.message
    if error.code == "context_length_exceeded" and not message.lower().startswith(TOO_LONG):
        message = f"{TOO_LONG}: {message}"
    body: JsonObject = {
        "type": "error",
        "error": {
            "type": kind,
            "message": f"{message} (request id: {request_id})" if request_id else message,
            "param": error.param,
            "code": error.code,
        },
    }
    if request_id:
        body["request_id"] = request_id
    return body
