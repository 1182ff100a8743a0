"""Bodies that are too large, too slow, too dense or cut off."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from oneapi_mw.errors import GatewayError, InvalidRequest
from oneapi_mw.middleware.body import MAX_MESSAGES, BodyLimits, ClientDisconnected, check_json_type, read_body
from tests.support.harness import Client, http_scope

SMALL = BodyLimits(max_bytes=1000)


async def read(data: bytes, limits: BodyLimits = SMALL, *, pieces: int = 1, **headers: str) -> bytes:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await read_body(http_scope("POST", headers=fields), Client(data, pieces=pieces).receive, limits)


async def refused(data: bytes, limits: BodyLimits = SMALL, **headers: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await read(data, limits, **headers)
    return caught.value


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
async def test_a_body_in_pieces(pieces: int) -> None:
    data = bytes(range(250)) * 4
    assert await read(data, pieces=pieces, content_length="1000") == data


async def test_no_body() -> None:
    assert await read(b"") == b""


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content_length": "1001"}, 413, "request_too_large"),
        ({"content_length": "9" * 5000}, 413, "request_too_large"),
        ({"content_length": "-1"}, 400, "invalid_request"),
        ({"content_length": "+2"}, 400, "invalid_request"),
        ({"content_length": "2,2"}, 400, "invalid_request"),
        ({"content_length": ""}, 400, "invalid_request"),
        ({"content_length": "2", "transfer_encoding": "chunked"}, 400, "invalid_request"),
        ({"content_encoding": "br"}, 415, "unsupported_content_encoding"),
        ({"content_encoding": "gzip, gzip"}, 415, "unsupported_content_encoding"),
    ],
)
async def test_what_is_refused_before_a_byte_is_read(headers: dict[str, str], status: int, code: str) -> None:
    async def never() -> Message:
        raise AssertionError("nothing may be read")

    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(GatewayError) as caught:
        await read_body(http_scope("POST", headers=fields), never, SMALL)
    assert (caught.value.status, caught.value.code) == (status, code)


async def test_a_body_longer_than_announced() -> None:
    assert (await refused(b"x" * 1001, pieces=3, content_length="10")).status == 413


async def test_a_body_in_too_many_pieces() -> None:
    count = 0

    async def drip() -> Message:
        nonlocal count
        count += 1
        return {"type": "http.request", "body": b"", "more_body": True}

    with pytest.raises(GatewayError, match="too many pieces"):
        await read_body(http_scope("POST"), drip, SMALL)
    assert count == MAX_MESSAGES


async def test_a_body_that_does_not_come() -> None:
    async def silent() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(GatewayError) as caught:
        await read_body(http_scope("POST"), silent, BodyLimits(timeout=0.001))
    assert (caught.value.status, caught.value.code) == (408, "request_timeout")


async def test_a_client_that_leaves() -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnected):
        await read_body(http_scope("POST"), leave, SMALL)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
async def test_gzip(encoding: str) -> None:
    assert await read(gzip.compress(b"hello"), content_encoding=encoding) == b"hello"


async def test_large_gzip_is_taken_apart_elsewhere() -> None:
    data = zlib.compress(b"", 0) + bytes(i * 7919 % 251 for i in range(200_000))
    packed = gzip.compress(data, 0)
    assert await read(packed, BodyLimits(), content_encoding="gzip") == data


async def test_identity_is_no_encoding() -> None:
    assert await read(b"hello", content_encoding="identity") == b"hello"


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (gzip.compress(b"x" * 1001), 413, "grows too much"),
        (gzip.compress(bytes(50_000_000), 9), 413, "larger than|grows too much"),
        (gzip.compress(b"hello")[:-1], 400, "cut off"),
        (gzip.compress(b"hello")[:12], 400, "cut off"),
        (b"", 400, "cut off"),
        (b"hello", 400, "not valid gzip"),
        (zlib.compress(b"hello"), 400, "not valid gzip"),
        (gzip.compress(b"hello")[:-8] + b"\0" * 8, 400, "not valid gzip"),
        (gzip.compress(b"hello") + b"more", 400, "after its gzip"),
        (gzip.compress(b"hello") * 2, 400, "after its gzip"),
    ],
    ids=range(10),
)
async def test_bad_gzip(data: bytes, status: int, words: str) -> None:
    error = await refused(data, content_encoding="gzip")
    assert error.status == status
    with pytest.raises(GatewayError, match=words):
        raise error


async def test_a_bomb_within_the_size_limit_is_a_bomb() -> None:
    limits = BodyLimits(max_bytes=100_000_000)
    assert (await refused(gzip.compress(bytes(3_000_000)), limits, content_encoding="gzip")).status == 413
    assert await read(gzip.compress(bytes(1_000_000)), limits, content_encoding="gzip") == bytes(1_000_000)


async def test_gzip_can_be_switched_off() -> None:
    assert (await refused(b"", BodyLimits(allow_gzip=False), content_encoding="gzip")).status == 415


@given(st.binary(max_size=200))
async def test_no_bytes_are_an_accident(data: bytes) -> None:
    for encoding in ("gzip", "identity"):
        with suppress(InvalidRequest):
            await read(data, content_encoding=encoding)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (None, True),
        ("", True),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/jsonp", False),
    ],
)
def test_content_types(kind: str | None, good: bool) -> None:
    scope = http_scope("POST", headers={} if kind is None else {"content-type": kind})
    if good:
        check_json_type(scope)
    else:
        with pytest.raises(GatewayError) as caught:
            check_json_type(scope)
        assert (caught.value.status, caught.value.code) == (415, "unsupported_media_type")
