"""Sizes of images read from their headers, and what vendors count for them."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Image, Inline, Url
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.tokens.images import HEADER_CHARS, size_of, tokens_of


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\0\0\0"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\xf7\0\0"


def jpeg(width: int, height: int, *, frame: int = 0xC0, before: bytes = b"") -> bytes:
    exif = b"\xff\xe1" + struct.pack(">H", 2 + 12) + b"Exif\0\0" + b"\xff\xc0\0\0\0\0"
    sof = bytes([0xFF, frame]) + struct.pack(">HBHH", 17, 8, height, width) + b"\x03" + bytes(9)
    return b"\xff\xd8" + exif + before + b"\xff" + sof + b"\xff\xda"


def webp(kind: bytes, payload: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (png(640, 480), (640, 480)),
        (gif(640, 480), (640, 480)),
        (gif(640, 480).replace(b"89a", b"87a"), (640, 480)),
        (jpeg(640, 480), (640, 480)),
        (jpeg(640, 480, frame=0xC2), (640, 480)),
        (jpeg(640, 480, before=b"\xff\xc4\x00\x04\0\0"), (640, 480)),
        (webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640 | 0x4000, 480)), (640, 480)),
        (webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14) + bytes(8)), (640, 480)),
        (webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")), (640, 480)),
        (webp(b"ALPH", bytes(20)), None),
        (png(640, 480)[:20], None),
        (gif(640, 480)[:9], None),
        (jpeg(640, 480)[:25], None),
        (b"\xff\xd8\xff\xda\0\0", None),
        (png(0, 480), None),
        (png(2**31, 480), None),
        (b"", None),
        (b"%PDF-1.7", None),
    ],
)
def test_size(raw: bytes, size: tuple[int, int] | None) -> None:
    assert size_of(encoded(raw)) == size


@pytest.mark.parametrize("data", ["!", "A", "\xe9" * 8, "=" * 8])
def test_no_base64_has_no_size(data: str) -> None:
    assert size_of(data) is None


def test_only_the_beginning_is_decoded() -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 60_000) + bytes(59_998)
    assert size_of(encoded(jpeg(640, 480, before=segment))) is None
    assert size_of(encoded(jpeg(640, 480)) + "!" * HEADER_CHARS) is not None


@given(st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8\xff", b"RIFF....WEBPVP8 ", b"GIF89a", png(1, 1)[:16]]))
def test_any_bytes_have_a_size_or_none(raw: bytes, start: bytes) -> None:
    size = size_of(encoded(start + raw))
    assert size is None or min(size) > 0


def of(model: str, size: tuple[int, int] | None, detail: str | None = None, resolution: str | None = None) -> int:
    source = Url("https://example.com/a.png") if size is None else Inline("image/png", encoded(png(*size)))
    return tokens_of(Image(source, detail=detail, resolution=resolution), model, rules_of(model))


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # the worked examples of OpenAI's guide
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4o", (100, 100), "auto", 255),
        ("gpt-4o-mini", (1024, 1024), None, 25_501),
        ("gpt-5", (1024, 1024), None, 630),
        ("o1", (1024, 1024), None, 675),
        ("gpt-4.1-mini", (1024, 1024), None, 1659),
        ("gpt-4.1-nano", (4000, 4000), None, 3779),
        ("gpt-5.6", (1024, 1024), None, 1024),
        ("gpt-5.6", (9000, 9000), "high", 2500),
        ("gpt-5.6", (9000, 9000), "original", 10_000),
        ("gpt-5.6", (9000, 9000), "low", 256),
        ("gpt-5.6", None, None, 1600),
        ("gpt-5.6", None, "low", 100),
        ("gpt-4o", None, None, 765),
        ("o4-mini", None, None, 2642),
        ("a-name-nobody-knows", (1024, 1024), None, 765),
        # Anthropic
        ("claude-sonnet-4-5", (200, 200), None, 64),
        ("claude-sonnet-4-5", (1092, 1092), None, 1521),
        ("claude-sonnet-4-5", (3000, 2000), None, 1568),
        ("claude-opus-4-7", (3000, 2000), None, 4784),
        ("claude-opus-4-7", (1000, 100), None, 144),
        ("claude-opus-4-7", None, None, 1600),
        # Google
        ("gemini-2.5-flash", (384, 384), None, 258),
        ("gemini-2.5-flash", (1000, 700), None, 516),
        ("gemini-2.5-flash", None, None, 258),
        ("gemini-3-pro", (384, 384), None, 1120),
        ("gemini-3-pro", None, None, 1120),
    ],
)
def test_tokens(model: str, size: tuple[int, int] | None, detail: str | None, tokens: int) -> None:
    assert of(model, size, detail) == tokens


@pytest.mark.parametrize(
    ("model", "level", "tokens"),
    [
        ("gemini-3-pro", "LOW", 280),
        ("gemini-3-pro", "ULTRA_HIGH", 2240),
        ("gemini-3-pro", "ODD", 1120),
        ("gemini-2.5-pro", "LOW", 64),
        ("gemini-2.5-pro", "HIGH", 1032),
    ],
)
def test_gemini_resolution(model: str, level: str, tokens: int) -> None:
    assert of(model, (1024, 1024), resolution="MEDIA_RESOLUTION_" + level) == tokens


@given(
    st.sampled_from(["gpt-4o", "gpt-5-nano", "gpt-6", "claude-opus-4-7", "claude-3-haiku", "gemini-2.5-pro"]),
    st.integers(1, 100_000),
    st.integers(1, 100_000),
)
def test_every_size_counts_something(model: str, width: int, height: int) -> None:
    assert 0 < of(model, (width, height)) <= 5_000_000
