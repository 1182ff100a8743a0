"""Errors of upstreams read from any of the shapes they come in, and the OpenAI envelope they leave in.

Nothing an upstream writes reaches a client unread: messages are cut, escaped and searched for credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oneapi_mw.errors import (
    GatewayError,
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamInvalidResponse,
)
from oneapi_mw.jsontext import loads
from oneapi_mw.types import JsonObject

MAX_MESSAGE_CHARS = 512
_SCANNED_CHARS = 4096

AUTH_FAILED = "The provider refused the account of this channel; the API key of this request is fine"
SATURATED = "The current group load is saturated, please try again later"
STREAM_TRUNCATED = "The upstream ended its answer before it was complete"

_OF_THE_ACCOUNT = frozenset({401, 402, 403, 407})
"""About the channel's own credential or money, never the client's."""
_KEPT_5XX = frozenset({500, 502, 503, 504, 529})
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RETRY_IN = re.compile(r"(?:try again|retry) (?:in|after) (\d{1,6}(?:\.\d{1,6})?) ?(ms|s)", re.IGNORECASE)
# A prefix alone is no secret: "user_location", "sk-learn-based" and "asia-southeast1" are words. Random text of a
# key's length has digits; masked keys have stars.
_SECRET = re.compile(
    r"\boa1\.[\w-]+(?:\.[\w-]+)?"  # an envelope, also one that was cut
    r"|\b(?:sk|pk|rk|ak|gsk|xai|nvapi|csk|pplx|hf|r8|fw|tgp|ghp|gho|glpat|ya29)[-_.](?=[\w*.-]*[\d*])[\w*.-]{8,}"
    r"|\b(?-i:AIza|AKIA|ASIA)[\w*.-]{8,}"
    r"|\b(?:org|proj|acct|user|key)[-_](?=[A-Za-z0-9*]*[\d*])[A-Za-z0-9*]{8,}"
    r"|\beyJ[\w-]{8,}\.[\w.-]+"
    r"|\b(?:bearer|basic) +[^\s\"',;]{4,}"
    r"|\b[0-9a-fA-F]{32,}\b"
    r"|\b[\w+/-]{40,}={0,2}",
    re.IGNORECASE,
)
_SECRET_QUERY = re.compile(r"\b((?:api_?)?key|access_token|token|secret|signature|sig)=[^\s&\"']+", re.IGNORECASE)

_MESSAGE_PATHS = (
    ("error", "message"),
    ("error",),
    ("message",),
    ("msg",),
    ("err",),
    ("error_msg",),
    ("header", "message"),
    ("response", "error", "message"),
    ("detail",),
    ("Response", "Error", "Message"),
    ("errors", 0, "message"),
)
"""Where vendors put the text, in the order they are tried."""


def read_upstream_error(status: int, body: bytes) -> UpstreamError | None:
    """The error in an upstream's answer; `None` when the status is 2xx and the body is an answer.

    A 4xx that is the request's own fault keeps its status and its words. What concerns the channel's account is
    `UpstreamAuthFailed` with a fixed text. 429 stays 429. Redirects and other surprises are 502.
    """
    if 200 <= status < 300:
        if b'"choices"' in body and b'"error"' not in body:
            return None
        document = _document(body)
        return error_in(document) if document is not None else None
    return _error(status, _document(body) or {})


def error_in(document: Mapping[str, Any]) -> UpstreamError | None:
    """The error inside an answer whose status was a success, or inside an event of a stream."""
    error = document.get("error")
    failed = (
        bool(error)
        or document.get("type") == "error"
        or (document.get("success") is False and _message(document) is not None)
        or (document.get("code") not in (None, 0, "0", 200, "200", "") and "choices" not in document)
    )
    if not failed:
        return None
    code = error.get("code") if isinstance(error, dict) else document.get("code")
    if isinstance(code, str) and code.isdigit() and len(code) == 3:
        code = int(code)
    status = code if type(code) is int and 400 <= code < 600 else 502
    return _error(status, document)


def _document(body: bytes) -> JsonObject | None:
    try:
        document = loads(body)
    except ValueError:
        return None
    if isinstance(document, list) and document:  # Gemini's error in an array of one
        document = document[0]
    return document if isinstance(document, dict) else None


def _error(status: int, document: Mapping[str, Any]) -> UpstreamError:
    error = document.get("error")
    fields: Mapping[str, Any] = error if isinstance(error, dict) else document
    code, kind = _word(fields.get("code")), _word(fields.get("type"))
    message = _message(document)
    if status in _OF_THE_ACCOUNT or (status == 429 and "insufficient_quota" in (code, kind)):
        return UpstreamAuthFailed(AUTH_FAILED, upstream_status=status)
    if status == 429:
        return UpstreamError(
            SATURATED,
            status=429,
            code="rate_limit_exceeded",
            type="rate_limit_error",
            upstream_status=429,
            retry_after=_retry_after(message),
        )
    if not (400 <= status < 500 or status in _KEPT_5XX):
        return UpstreamInvalidResponse(f"The upstream answered with status {status}", upstream_status=status)
    if message is None:
        return UpstreamError(
            f"The upstream answered with status {status} and no message",
            status=status,
            code="bad_response_status_code",
            param=str(status),
            upstream_status=status,
        )
    param = fields.get("param")
    return UpstreamError(
        sanitise(message),
        status=status,
        code=code if code and not code.isdigit() else "upstream_error",
        type=kind or "upstream_error",
        param=sanitise(param)[:128] if isinstance(param, str) else None,
        upstream_status=status,
    )


def _message(document: Mapping[str, Any]) -> str | None:
    for path in _MESSAGE_PATHS:
        value: Any = document
        for step in path:
            if isinstance(step, str):
                value = value.get(step) if isinstance(value, dict) else None
            else:
                value = value[step] if isinstance(value, list) and len(value) > step else None
        if isinstance(value, str) and value.strip():
            return value
    return None


def _word(value: object) -> str | None:
    """A vendor's code or type, when it is a plain word."""
    text = str(value) if type(value) is int else value
    return text if isinstance(text, str) and _WORD.fullmatch(text) else None


def _retry_after(message: str | None) -> float | None:
    found = _RETRY_IN.search(message[:_SCANNED_CHARS]) if message else None
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2].lower() == "ms" else 1)


def sanitise(text: str) -> str:
    """`text` for a client's eyes: credentials starred, control characters escaped, at most 512 characters.

    Credentials are starred before the text is cut: half a key would not look like one.
    """
    text = _SECRET_QUERY.sub(r"\1=***", text[:_SCANNED_CHARS].strip())
    text = _SECRET.sub("***", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 3] + "..."


def truncated() -> UpstreamError:
    """What a stream fails with that ends without its end."""
    return UpstreamError(STREAM_TRUNCATED, code="upstream_stream_truncated")


def failed_midway() -> UpstreamError:
    """What an answer fails with that says only that it failed."""
    return UpstreamError("The upstream failed in the middle of its answer")


def openai_error(error: GatewayError, *, request_id: str) -> JsonObject:
    """`error` in the envelope of every OpenAI API. The message ends in the request id where there is one."""
    message = f"{error.message} (request id: {request_id})" if request_id else error.message
    return {"error": {"message": message, "type": error.type, "param": error.param, "code": error.code}}
