"""Errors in Google's form, read from upstreams and written to clients."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from oneapi_mw.errors import GatewayError, UpstreamAuthFailed, UpstreamError, UpstreamInvalidResponse
from oneapi_mw.jsontext import loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.errors import AUTH_FAILED, error_in, read_upstream_error

_WORDS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_NO_MONEY = "insufficient_quota"
_KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "SERVICE_DISABLED", "BILLING_DISABLED"})
"""The channel's own account, which Google tells as a bad request."""
_OURS: Mapping[str, tuple[str, str | None]] = {
    "INVALID_ARGUMENT": ("invalid_request_error", None),
    "FAILED_PRECONDITION": ("invalid_request_error", None),
    "OUT_OF_RANGE": ("invalid_request_error", None),
    "NOT_FOUND": ("invalid_request_error", "model_not_found"),
    "ABORTED": ("conflict", None),
    "ALREADY_EXISTS": ("conflict", None),
    "INTERNAL": ("server_error", None),
    "UNKNOWN": ("server_error", None),
    "UNAVAILABLE": ("server_error", "overloaded"),
    "DEADLINE_EXCEEDED": ("timeout", "upstream_timeout"),
}
"""Google's status -> type and code in the words every stage of ours speaks."""
_TOO_LONG = re.compile(r"input token count .{0,40}exceeds the maximum number of tokens", re.IGNORECASE)
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


def read_error(status: int, body: bytes) -> UpstreamError | None:
    """The error in an upstream's answer; `None` when the status is 2xx and the body is an answer."""
    if 200 <= status < 300 and b'"error"' not in body:
        return None
    try:
        document = loads(body)
    except ValueError:
        return read_upstream_error(status, body)
    if isinstance(document, list) and document:  # an error in an array of one
        document = document[0]
    error = read_upstream_error(status, body)
    return error if error is None or not isinstance(document, dict) else _refined(error, document)


def error_of(chunk: Mapping[str, Any]) -> UpstreamError | None:
    """The error a chunk of a stream brings."""
    if "error" not in chunk:
        return None
    error = error_in(chunk)
    return None if error is None else _refined(error, chunk)


def _refined(error: UpstreamError, document: Mapping[str, Any]) -> UpstreamError:
    """What Google says in the details of an error."""
    for detail in _details(document):
        if detail.get("reason") in _KEY_REASONS:
            return UpstreamAuthFailed(AUTH_FAILED, upstream_status=error.upstream_status)
        delay = detail.get("retryDelay")
        found = _SECONDS.fullmatch(delay) if isinstance(delay, str) else None
        if found is not None:
            error.retry_after = float(found[1])
    _name(error, document)
    return error


def _name(error: UpstreamError, document: Mapping[str, Any]) -> None:
    """Put Google's status into our words, where the error has none yet."""
    inner = document.get("error")
    word = inner.get("status") if isinstance(inner, dict) else None
    if not isinstance(word, str) or word not in _OURS or error.type != "upstream_error":
        return
    if isinstance(error, UpstreamAuthFailed | UpstreamInvalidResponse):
        return
    error.type, code = _OURS[word]
    if _TOO_LONG.search(error.message):
        code = "context_length_exceeded"
    if code is not None and error.code == "upstream_error":
        error.code = code


def _details(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inner = document.get("error")
    details = inner.get("details") if isinstance(inner, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail


def encode_error(error: GatewayError, *, request_id: str, streaming: bool = False) -> JsonObject:
    """`error` in Google's envelope: the first key is `error` and `code` is a number, or its SDK trips."""
    message = f"{error.message} (request id: {request_id})" if request_id else error.message
    status = 503 if streaming and error.status == 529 else error.status
    word = "RESOURCE_EXHAUSTED" if error.type == _NO_MONEY else _WORDS.get(error.status)
    if word is None:
        word = "INVALID_ARGUMENT" if error.status < 500 else "INTERNAL"
    body: JsonObject = {"code": status, "message": message, "status": word}
    if error.retry_after is not None:
        body["details"] = [{"@type": RETRY_INFO, "retryDelay": f"{error.retry_after:g}s"}]
    return {"error": body}
