"""The response object around an answer: what official clients require, and the echo of the request."""

from __future__ import annotations

from typing import Any

from oneapi_mw.canonical.call import Call
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.openai_responses.content import NAME

_ECHOED: tuple[tuple[str, Any], ...] = (
    ("background", False),
    ("instructions", None),
    ("max_output_tokens", None),
    ("max_tool_calls", None),
    ("metadata", {}),
    ("parallel_tool_calls", True),
    ("previous_response_id", None),
    ("prompt_cache_key", None),
    ("reasoning", {"effort": None, "summary": None}),
    ("safety_identifier", None),
    ("store", True),
    ("temperature", None),
    ("text", {"format": {"type": "text"}}),
    ("tool_choice", "auto"),
    ("tools", []),
    ("top_logprobs", None),
    ("top_p", None),
    ("truncation", "disabled"),
    ("user", None),
)
"""Fields of a request that its answer repeats, with what they are where the request has none."""
_IF_PRESENT = ("conversation", "prompt", "prompt_cache_retention", "access_programs")


def skeleton(response_id: str, model: str, created: int = 0) -> JsonObject:
    """A response with nothing in it and no request behind it."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        **dict(_ECHOED),
        "usage": None,
    }


def snapshot(call: Call, response_id: str, created: int = 0) -> JsonObject:
    """A response that has just begun, as the answer to `call`."""
    response = skeleton(response_id, call.model, created)
    if call.format != NAME:
        return response
    body = call.body
    for name, _ in _ECHOED:
        if body.get(name) is not None:
            response[name] = body[name]
    for name in _IF_PRESENT:
        if body.get(name) is not None:
            response[name] = body[name]
    if isinstance(response.get("conversation"), str):
        response["conversation"] = {"id": response["conversation"]}
    if isinstance(body.get("text"), dict) and "format" not in body["text"]:
        response["text"] = {"format": {"type": "text"}, **body["text"]}
    return response
