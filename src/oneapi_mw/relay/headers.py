"""Which header fields may cross the gateway, in either direction: what is not listed stays behind."""

from __future__ import annotations

import re
from collections.abc import Collection

from oneapi_mw.types import RawHeaders

MAX_RETRY_AFTER = 3600
"""Seconds; a longer wait asked for by an upstream is shortened to this."""

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
)

FORBIDDEN_REQUEST_HEADERS = HOP_BY_HOP | {
    # the client's credentials are for the gateway
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"x-goog-api-key",
    b"cookie",
    # who the client is, and by which way it came
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    # the message that goes upstream has its own address and framing
    b"host",
    b"content-length",
    b"content-encoding",
    b"expect",
    b"accept-encoding",
}
"""Request fields that never go upstream, whatever a channel's allow-list says; see `is_forbidden_request_header`."""

_FORBIDDEN_PREFIXES = (b"proxy-", b"x-forwarded-")

_RESPONSE_NAMES = {
    b"content-type": b"content-type",
    b"retry-after": b"retry-after",
    b"openai-version": b"openai-version",
    b"openai-processing-ms": b"openai-processing-ms",
    # The gateway has an id of its own: the provider's goes under another name, so that both can be quoted.
    b"request-id": b"x-upstream-request-id",
    b"x-request-id": b"x-upstream-request-id",
    b"apim-request-id": b"x-upstream-request-id",
    b"x-amzn-requestid": b"x-upstream-request-id",
}
"""Response fields that reach the client, and the names they have there."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def is_forbidden_request_header(name: bytes) -> bool:
    """Whether a client's header field `name` (lower case) must never go upstream."""
    return name in FORBIDDEN_REQUEST_HEADERS or name.startswith(_FORBIDDEN_PREFIXES)


def forwardable_request_headers(scope_headers: RawHeaders, allow: Collection[bytes]) -> list[tuple[str, str]]:
    """Those of a client's header fields that go upstream, ready for `Upstream.send`.

    Args:
        allow: lower-case names. The forbidden ones, and those the client's `Connection` field names, are left
            out all the same; so are values that are not printable ASCII.
    """
    if not allow:
        return []
    per_hop = _named_by_connection(scope_headers)
    return [
        (name.decode("ascii"), value.decode("ascii"))
        for name, value in scope_headers
        if name in allow
        and name not in per_hop
        and not is_forbidden_request_header(name)
        and value.isascii()
        and _CONTROL.search(value) is None
    ]


def forwardable_response_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Those of an upstream's header fields that reach the client: each at most once, the first one counts."""
    forwarded: dict[bytes, bytes] = {}
    per_hop = _named_by_connection(headers)
    for name, value in headers:
        target = _RESPONSE_NAMES.get(name)
        if target is None or target in forwarded or name in per_hop:
            continue
        if target == b"retry-after":
            value = _capped_seconds(value)
        elif target == b"x-upstream-request-id" and _REQUEST_ID.fullmatch(value) is None:
            continue
        if value and _CONTROL.search(value) is None:
            forwarded[target] = value
    return list(forwarded.items())


def _capped_seconds(value: bytes) -> bytes:
    """A `Retry-After` in seconds, at most `MAX_RETRY_AFTER`; empty for dates and anything else."""
    digits = value.strip()
    if not digits.isdigit() or len(digits) > 12:
        return b""
    return b"%d" % min(int(digits), MAX_RETRY_AFTER)


def _named_by_connection(headers: RawHeaders) -> Collection[bytes]:
    """Fields that are for this hop alone because `Connection` lists them (RFC 9110, 7.6.1)."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    return named
