"""Which header fields cross the gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.relay.headers import (
    FORBIDDEN_REQUEST_HEADERS,
    MAX_RETRY_AFTER,
    forwardable_request_headers,
    forwardable_response_headers,
    is_forbidden_request_header,
)
from oneapi_mw.relay.upstream import check_request


def test_only_listed_response_fields_reach_the_client() -> None:
    upstream = [
        (b"content-type", b"application/json"),
        (b"openai-version", b"2020-10-01"),
        (b"openai-processing-ms", b"120"),
        (b"retry-after", b"3"),
        (b"request-id", b"req_011CZ"),
        (b"openai-organization", b"org-secret"),
        (b"x-ratelimit-remaining-requests", b"3"),
        (b"set-cookie", b"a=b"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"12"),
        (b"transfer-encoding", b"chunked"),
        (b"access-control-allow-origin", b"*"),
        (b"strict-transport-security", b"max-age=1"),
        (b"alt-svc", b"h3"),
        (b"server", b"cloudflare"),
    ]
    assert forwardable_response_headers(upstream) == [
        (b"content-type", b"application/json"),
        (b"openai-version", b"2020-10-01"),
        (b"openai-processing-ms", b"120"),
        (b"retry-after", b"3"),
        (b"x-upstream-request-id", b"req_011CZ"),
    ]


def test_fields_named_by_connection_stay_behind() -> None:
    upstream = [(b"connection", b"close, OpenAI-Version"), (b"openai-version", b"1"), (b"content-type", b"a/b")]
    assert forwardable_response_headers(upstream) == [(b"content-type", b"a/b")]


def test_the_first_of_several_counts() -> None:
    upstream = [(b"x-request-id", b"one"), (b"request-id", b"two"), (b"content-type", b"a"), (b"content-type", b"b")]
    assert forwardable_response_headers(upstream) == [(b"x-upstream-request-id", b"one"), (b"content-type", b"a")]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"0", b"0"),
        (b" 7 ", b"7"),
        (b"86400", b"%d" % MAX_RETRY_AFTER),
        (b"9" * 5000, None),
        (b"-1", None),
        (b"1.5", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_capped(sent: bytes, kept: bytes | None) -> None:
    expected = [] if kept is None else [(b"retry-after", kept)]
    assert forwardable_response_headers([(b"retry-after", sent)]) == expected


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x=y", b"a\nb", b"a\0b", b"a\x7fb", b""])
def test_unsafe_response_values_are_dropped(value: bytes) -> None:
    assert forwardable_response_headers([(b"content-type", value), (b"x-request-id", value)]) == []


@given(st.lists(st.tuples(st.sampled_from([b"content-type", b"request-id", b"retry-after", b"x"]), st.binary())))
def test_whatever_an_upstream_sends_the_result_is_sendable(fields: list[tuple[bytes, bytes]]) -> None:
    for _, value in forwardable_response_headers(fields):
        assert not set(value) & {0, 10, 13}


def test_only_allowed_request_fields_go_upstream() -> None:
    client = [(b"anthropic-beta", b"tools"), (b"x-other", b"1"), (b"user-agent", b"curl")]
    assert forwardable_request_headers(client, {b"anthropic-beta"}) == [("anthropic-beta", "tools")]
    assert forwardable_request_headers(client, ()) == []


@pytest.mark.parametrize("name", [*sorted(FORBIDDEN_REQUEST_HEADERS), b"proxy-authorization", b"x-forwarded-for"])
def test_forbidden_request_fields_cannot_be_allowed(name: bytes) -> None:
    assert is_forbidden_request_header(name)
    assert forwardable_request_headers([(name, b"secret")], {name}) == []


def test_request_fields_named_by_connection_stay_behind() -> None:
    client = [(b"connection", b"keep-alive, X-Trace"), (b"x-trace", b"1")]
    assert forwardable_request_headers(client, {b"x-trace"}) == []


@given(st.lists(st.tuples(st.just(b"x-trace"), st.binary())))
def test_what_goes_upstream_can_be_sent(fields: list[tuple[bytes, bytes]]) -> None:
    check_request("http://provider.test/", forwardable_request_headers(fields, {b"x-trace"}))
