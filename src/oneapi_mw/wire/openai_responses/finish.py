"""Why an answer ended, and what it failed with, in this format's words and in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.events import Finished, FinishReason
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.errors import read_upstream_error

_INCOMPLETE: Mapping[object, FinishReason] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
    "steered": "pause",
}
_ENCODED: Mapping[FinishReason, str] = {
    "length": "max_output_tokens",
    "context_window": "max_output_tokens",
    "pause": "max_output_tokens",
    "compaction": "max_output_tokens",
    "continuation": "max_output_tokens",
    "refusal": "content_filter",
    "content_filter": "content_filter",
}
"""Reasons an answer is incomplete for; every other one completes it."""


def decode_finish(response: Mapping[str, Any], *, refused: bool, any_call: bool) -> Finished:
    """How a response that is complete or incomplete ended, in the light of what it holds."""
    details = response.get("incomplete_details")
    word = details.get("reason") if isinstance(details, dict) else None
    if response.get("status") == "incomplete":
        reason = _INCOMPLETE.get(word, "length")  # whatever it was cut for, it is no whole answer
        detail = word if isinstance(word, str) and _ENCODED.get(reason) != word else None
        return Finished(0, reason, detail=detail)
    if refused:
        return Finished(0, "refusal")
    return Finished(0, "tool_calls" if any_call else "stop")


def encode_finish(reason: FinishReason, *, refused: bool, detail: str | None = None) -> str | None:
    """The reason for `incomplete_details`; `None` when the answer is complete. `refused`: it holds a refusal in
    words, which is an answer like any other."""
    if reason == "refusal" and refused:
        return None
    return detail if detail is not None and _INCOMPLETE.get(detail) == reason else _ENCODED.get(reason)


# Errors.


_STATUSES: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "vector_store_timeout": 500,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "overloaded_error": 503,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
}
_CODES = frozenset(
    {
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "misalignment_policy_violation",
        "vector_store_timeout",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
        "context_length_exceeded",
        "insufficient_quota",
        "usage_not_included",
    }
)
"""Codes of a failed response: the vendor's, and three more that coding agents read."""


def failure(event: Mapping[str, Any]) -> UpstreamError:
    """The error in a failed response or in an `error` event, flat or nested."""
    error = event.get("error")
    if isinstance(error, str):
        error = {"message": error}
    fields: Mapping[str, Any] = error if isinstance(error, dict) else event
    body = {name: value for name, value in fields.items() if name in ("code", "message", "param", "type")}
    if body.get("type") in ("error", "response.failed"):
        del body["type"]
    found = read_upstream_error(_status(body), dumps({"error": body}))
    assert found is not None, "the status is no success"
    return found


def _status(error: Mapping[str, Any]) -> int:
    for word in (error.get("code"), error.get("type")):
        if isinstance(word, str) and word.isdecimal():
            word = int(word)
        if type(word) is int and 400 <= word < 600:
            return word
        if isinstance(word, str) and word:
            if word in _STATUSES:
                return _STATUSES[word]
            if "timeout" in word:
                return 500
    return 400 if isinstance(error.get("code"), str) and error["code"] else 502


def encode_failure(error: GatewayError, *, request_id: str) -> JsonObject:
    """`error` of a failed response. The message ends in the request id where there is one."""
    message = f"{error.message} (request id: {request_id})" if request_id else error.message
    return {"code": _code(error), "message": message}


def _code(error: GatewayError) -> str:
    if error.code in _CODES:
        return error.code
    if error.type == "insufficient_quota":
        return "insufficient_quota"
    if error.status == 429:
        return "rate_limit_exceeded"
    return "server_error" if error.status >= 500 else "invalid_prompt"
