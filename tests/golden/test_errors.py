"""Errors by their class: as upstreams of every wire tell them, and as clients of every wire are told."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import orjson
import pytest

from oneapi_mw.errors import UpstreamAuthFailed, UpstreamError
from oneapi_mw.wire.registry import get_format
from tests.golden.notation import WIRES

C, R, A, G = WIRES.values()
OPENAI = (C, R)


@dataclass(frozen=True)
class Kind:
    """A class of errors: what OpenAI, Anthropic and Google call it, and with which status they send it."""

    name: str
    status: int
    type: str
    code: str | None
    anthropic: str
    google: str
    anthropic_status: int | None = None
    google_status: int | None = None
    message: str = "No."
    unsaid: tuple[str, ...] = ()
    """Wires that do not tell the code."""

    def __str__(self) -> str:
        return self.name

    def sent(self, wire: str) -> tuple[int, bytes]:
        """By an upstream."""
        if wire in OPENAI:
            error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
            return self.status, orjson.dumps({"error": error})
        if wire == A:
            status = self.anthropic_status or self.status
            return status, orjson.dumps(
                {"type": "error", "error": {"type": self.anthropic, "message": self.message}, "request_id": "req_1"}
            )
        status = self.google_status or self.status
        return status, orjson.dumps({"error": {"code": status, "message": self.message, "status": self.google}})


BAD = "invalid_request_error"
LONG = "prompt is too long: 9 tokens > 8 maximum"
LONG_GOOGLE = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
SHOWN = [
    Kind("bad request", 400, BAD, None, BAD, "INVALID_ARGUMENT"),
    Kind("precondition", 400, BAD, None, BAD, "FAILED_PRECONDITION"),
    Kind("context", 400, BAD, "context_length_exceeded", BAD, "INVALID_ARGUMENT", message=LONG, unsaid=(G,)),
    Kind("context, Google's", 400, BAD, "context_length_exceeded", BAD, "INVALID_ARGUMENT", message=LONG_GOOGLE,
         unsaid=(A,)),
    Kind("filter", 400, BAD, "content_filter", BAD, "INVALID_ARGUMENT", unsaid=(A, G)),
    Kind("unknown model", 404, BAD, "model_not_found", "not_found_error", "NOT_FOUND"),
    Kind("conflict", 409, "conflict", None, "conflict_error", "ABORTED"),
    Kind("too large", 413, BAD, "request_too_large", "request_too_large", "INVALID_ARGUMENT", unsaid=(G,)),
    Kind("unprocessable", 422, BAD, None, BAD, "INVALID_ARGUMENT"),
    Kind("internal", 500, "server_error", None, "api_error", "INTERNAL"),
    Kind("overloaded", 503, "server_error", "overloaded", "overloaded_error", "UNAVAILABLE", anthropic_status=529),
    Kind("timeout", 504, "timeout", "upstream_timeout", "timeout_error", "DEADLINE_EXCEEDED"),
]  # fmt: skip
ACCOUNT = [
    Kind("key", 401, BAD, "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    Kind("money", 402, "insufficient_quota", "insufficient_quota", "billing_error", "RESOURCE_EXHAUSTED"),
    Kind("forbidden", 403, "permission_error", None, "permission_error", "PERMISSION_DENIED"),
]
LIMITED = Kind(
    "rate limit", 429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED",
    message="Try again in 7s.",
)  # fmt: skip


def read(kind: Kind, source: str) -> UpstreamError:
    status, body = kind.sent(source)
    error = get_format(source).read_error(status, body)
    assert error is not None
    return error


def told(error: UpstreamError, target: str) -> dict[str, Any]:
    envelope = get_format(target).encode_error(error, request_id="")
    if target == A:
        assert envelope["type"] == "error"
    found: dict[str, Any] = envelope["error"]
    return found


def pairs(kinds: list[Kind]) -> list[Any]:
    return list(product(kinds, WIRES.values(), WIRES.values()))


@pytest.mark.parametrize(("kind", "source", "target"), pairs(SHOWN), ids=str)
def test_faults_of_a_request_and_of_an_upstream(kind: Kind, source: str, target: str) -> None:
    error = read(kind, source)
    body = told(error, target)
    code = "upstream_error" if kind.code is None or source in kind.unsaid else kind.code
    status = kind.sent(source)[0]
    assert error.status == status
    if target in OPENAI:
        assert (body["type"], body["code"], body["param"]) == (kind.type, code, None)
    elif target == A:
        assert (body["type"], body["code"]) == (kind.anthropic, code)
        if code == "context_length_exceeded":
            assert body["message"].startswith("prompt is too long")
    else:
        word = "INVALID_ARGUMENT" if kind.google == "FAILED_PRECONDITION" else kind.google
        assert (body["code"], body["status"]) == (status, word)
    assert kind.message in body["message"]


@pytest.mark.parametrize(("kind", "source", "target"), pairs(ACCOUNT), ids=str)
def test_the_account_of_a_channel_is_none_of_the_clients_business(kind: Kind, source: str, target: str) -> None:
    error = read(kind, source)
    assert isinstance(error, UpstreamAuthFailed)
    assert error.status == 502
    body = told(error, target)
    assert kind.message not in body["message"]
    if target == G:
        assert (body["code"], body["status"]) == (502, "UNAVAILABLE")
    else:
        assert (body["type"], body["code"]) == (
            "api_error" if target == A else "upstream_error",
            "upstream_auth_failed",
        )


@pytest.mark.parametrize(("source", "target"), list(product(WIRES.values(), WIRES.values())))
def test_limits_say_when_to_come_back(source: str, target: str) -> None:
    error = read(LIMITED, source)
    assert (error.status, error.retry_after) == (429, 7.0)
    body = told(error, target)
    if target == G:
        assert (body["code"], body["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert body["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]
    else:
        assert (body["type"], body["code"]) == ("rate_limit_error", "rate_limit_exceeded")


@pytest.mark.parametrize("source", WIRES.values())
def test_surprises_are_the_upstreams(source: str) -> None:
    """Nothing that is no error of a request becomes one."""
    for status in (301, 501, 599):
        error = get_format(source).read_error(status, b"<html>")
        assert error is not None
        assert (error.status, error.type) == (502, "upstream_error")
