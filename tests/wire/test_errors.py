"""Errors of upstreams, from any of the shapes they come in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.errors import InvalidRequest, RateLimited, UpstreamAuthFailed, UpstreamError, UpstreamInvalidResponse
from oneapi_mw.wire.errors import (
    AUTH_FAILED,
    MAX_MESSAGE_CHARS,
    SATURATED,
    error_in,
    openai_error,
    read_upstream_error,
    sanitise,
    truncated,
)
from oneapi_mw.wire.openai_chat import FORMAT


def read(status: int, document: Any) -> UpstreamError:
    error = read_upstream_error(status, orjson.dumps(document))
    assert error is not None
    return error


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "No.", "type": "x", "code": "y"}},
        {"error": "No."},
        {"message": "No."},
        {"msg": "No."},
        {"err": "No."},
        {"error_msg": "No."},
        {"header": {"message": "No."}},
        {"response": {"error": {"message": "No."}}},
        {"detail": "No."},
        {"Response": {"Error": {"Message": "No."}}},
        {"errors": [{"message": "No."}]},
        {"type": "error", "error": {"type": "invalid_request_error", "message": "No."}},
        [{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}],
    ],
)
def test_the_message_is_found(document: Any) -> None:
    error = read(400, document)
    assert (error.status, error.upstream_status, error.message) == (400, 400, "No.")


def test_a_fault_of_the_request_keeps_its_words() -> None:
    words = {"message": "No model x", "type": "invalid_request_error", "code": "model_not_found", "param": "model"}
    error = read(404, {"error": words})
    assert (error.status, error.code, error.type, error.param) == (
        404,
        "model_not_found",
        "invalid_request_error",
        "model",
    )


@pytest.mark.parametrize("status", [401, 402, 403, 407])
def test_what_concerns_the_account_is_not_told(status: int) -> None:
    error = read(status, {"error": {"message": "Your key sk-1234567890abcdef is wrong"}})
    assert isinstance(error, UpstreamAuthFailed)
    assert (error.status, error.message, error.upstream_status) == (502, AUTH_FAILED, status)


@pytest.mark.parametrize("member", ["code", "type"])
def test_no_money_is_not_told_either(member: str) -> None:
    assert isinstance(read(429, {"error": {"message": "x", member: "insufficient_quota"}}), UpstreamAuthFailed)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 20s.", 20.0),
        ("Please try again in 11.5s", 11.5),
        ("try again in 250ms", 0.25),
        ("Retry after 3 s", 3.0),
        ("later", None),
        ("try again in 99999999999s", None),
    ],
)
def test_rate_limits_say_when_to_come_back(message: str, seconds: float | None) -> None:
    error = read(429, {"error": {"message": message}})
    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", SATURATED)
    assert error.retry_after == seconds


@pytest.mark.parametrize(("status", "shown"), [(500, 500), (503, 503), (529, 529), (301, 502), (418, 418), (599, 502)])
def test_statuses(status: int, shown: int) -> None:
    assert read(status, {"error": {"message": "x"}}).status == shown


@pytest.mark.parametrize("body", [b"", b"<html>nginx</html>", b"{}", b"5", b"[]", b"[5]", b'{"error":{}}', b"\xff"])
def test_an_error_without_words(body: bytes) -> None:
    error = read_upstream_error(500, body)
    assert error is not None
    assert (error.status, error.code, error.param) == (500, "bad_response_status_code", "500")


# Errors under a success status.

CHOICES = [{"index": 0}]


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"error": {"message": "x"}}, 502),
        ({"error": "x"}, 502),
        ({"error": {"message": "x", "code": 429}}, 429),
        ({"error": {"message": "x", "code": "503"}, "choices": CHOICES}, 503),
        ({"error": {"message": "x", "code": 200}}, 502),
        ({"type": "error", "message": "x"}, 502),
        ({"success": False, "message": "x"}, 502),
        ({"code": 1001, "msg": "x"}, 502),
        ({"code": "invalid", "message": "x"}, 502),
        ({"code": 400, "message": "x"}, 400),
    ],
)
def test_an_error_inside_a_success(document: dict[str, Any], status: int) -> None:
    for error in (error_in(document), read(200, document)):
        assert error is not None
        assert error.status == status


@pytest.mark.parametrize(
    "document",
    [
        {"choices": CHOICES},
        {"choices": CHOICES, "error": None},
        {"choices": CHOICES, "error": {}},
        {"choices": CHOICES, "code": 7},
        {"code": 0, "message": "ok"},
        {"code": "200"},
        {"success": False},
        {"success": True, "message": "x"},
    ],
)
def test_no_error_inside_a_success(document: dict[str, Any]) -> None:
    assert error_in(document) is None
    assert read_upstream_error(200, orjson.dumps(document)) is None


def test_a_success_that_is_not_json_is_not_for_here() -> None:
    assert read_upstream_error(200, b"<html>") is None


@given(
    st.sampled_from([200, 400, 429, 500]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "type", "param", "errors"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    ),
)
def test_any_document_is_an_error_or_none(status: int, document: Any) -> None:
    body = orjson.dumps(document, default=str) if not _has_big(document) else b"{}"
    error = read_upstream_error(status, body)
    assert error is None or 400 <= error.status < 600
    assert error is not None or status == 200


def _has_big(value: Any) -> bool:
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_big, children))


# What is shown.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-proj-abc123DEF456ghi789. Look", "Incorrect API key provided: *** Look"),
        ("key sk-abcd********wxyz is wrong", "key *** is wrong"),
        ("AIzaSyA1234567890abcdefghijklmn", "***"),
        ("gsk_AbCdEf1234567890, hf_AbCdEfGh12345", "***, ***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("organization org-AbC123dEf456", "organization ***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("https://x?key=abc&a=1 token=xyz", "https://x?key=***&a=1 token=***"),
        ("eyJhbGciOiJIUzI1.eyJzdWIi.abc", "***"),
        ("id 0123456789abcdef0123456789abcdef", "id ***"),
        ("blob " + "Ab1+" * 12, "blob ***"),
        ("content oa1.anthropic.AQFhYmMtZGVm-Zw is", "content *** is"),
        ("content oa1.openai-respo... is", "content ***... is"),
        ("a\nb\x00\u202e\ud83d", "a\\u000ab\\u0000\\u202e\\ud83d"),
        ("  x  ", "x"),
    ],
)
def test_secrets_and_control_characters(text: str, shown: str) -> None:
    assert sanitise(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Invalid value for tools[0].user_location",
        "user-supplied content is too long",
        "Model not available in asia-southeast1, try us-central1",
        "skipping the skeletonised hf-inference provider",
        "org-wide key-management is off",
        "gpt-4o-mini-2024-07-18 does not support this",
        "context_length_exceeded: 128000 tokens",
    ],
)
def test_words_are_not_secrets(text: str) -> None:
    assert sanitise(text) == text


@given(st.text(st.characters(codec=None), max_size=2000))
def test_what_is_shown_is_short_and_printable(text: str) -> None:
    shown = sanitise(text * 3)
    assert len(shown) <= MAX_MESSAGE_CHARS
    assert shown.isprintable()


def test_a_key_is_starred_before_the_text_is_cut() -> None:
    text = "x " * 253 + "sk-abcdefghijklmnop1234567890"
    assert "sk-" not in sanitise(text)


# What leaves.


def test_the_envelope() -> None:
    error = InvalidRequest("n must be 1", param="n", code="c")
    assert openai_error(error, request_id="r1") == {
        "error": {
            "message": "n must be 1 (request id: r1)",
            "type": "invalid_request_error",
            "param": "n",
            "code": "c",
        }
    }
    assert openai_error(error, request_id="")["error"]["message"] == "n must be 1"


def test_the_end_of_a_stream_is_an_error_event() -> None:
    tail = FORMAT.encode_stream_error(RateLimited("Slow down", retry_after=1), request_id="r1")
    assert tail == b"data: " + orjson.dumps(openai_error(RateLimited("Slow down"), request_id="r1")) + b"\n\n"
    assert b"[DONE]" not in tail


def test_truncation_has_its_own_code() -> None:
    assert (truncated().status, truncated().code) == (502, "upstream_stream_truncated")


def test_the_format_reads_errors_as_all_do() -> None:
    assert isinstance(FORMAT.read_error(302, b""), UpstreamInvalidResponse)
    assert FORMAT.encode_error(InvalidRequest("x"), request_id="") == openai_error(InvalidRequest("x"), request_id="")
