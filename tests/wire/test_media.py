"""`data:` URLs, as loosely as clients write them."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import CloudUri, FileRef, Inline, Nested, PlainText, Source, Text, Url
from oneapi_mw.wire.media import decode_url, encode_url, sniff, standard_base64

PNG = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://a.example/x.png", Url("https://a.example/x.png")),
        ("gs://bucket/x", CloudUri("gs://bucket/x")),
        (f"data:image/png;base64,{PNG}", Inline("image/png", PNG)),
        (f"DATA:Image/PNG;charset=x;BASE64,{PNG}", Inline("image/png", PNG)),
        (f"data:;base64,{PNG}", Inline("image/png", PNG)),
        (f"data:base64,{PNG}", Inline("base64", base64.b64encode(PNG.encode()).decode())),
        ("data:image/png;base64,iVBO\r\nRw0K Ggo", Inline("image/png", PNG)),
        ("data:image/png;base64,iVBORw0KGgo%3D", Inline("image/png", PNG)),
        ("data:x/y;base64,-_-_", Inline("x/y", "+/+/")),
        ("data:text/plain,a%20b", Inline("text/plain", "YSBi")),
        ("data:,abc", Inline("application/octet-stream", "YWJj")),
    ],
)
def test_decoded(url: str, source: Source) -> None:
    assert decode_url(url) == source


def test_a_data_url_needs_a_comma() -> None:
    with pytest.raises(ValueError, match="comma"):
        decode_url("data:image/png;base64")


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        ("/9j/4AAQ", "image/jpeg"),
        ("R0lGODlh", "image/gif"),
        (base64.b64encode(b"RIFF\0\0\0\0WEBPVP8 ").decode(), "image/webp"),
        (base64.b64encode(b"RIFF\0\0\0\0WAVEfmt ").decode(), "audio/wav"),
        ("UklGR", "image/webp"),
        ("JVBERi0xLjQ=", "application/pdf"),
        ("SUQzBAA=", "audio/mpeg"),
        ("", "application/octet-stream"),
    ],
)
def test_sniffed(data: str, media_type: str) -> None:
    assert sniff(data) == media_type


@given(st.binary(max_size=20))
def test_any_bytes_come_back(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for url in (
        f"data:image/png;base64,{text}",
        f"data:image/png;base64,{text.rstrip('=')}",
        f"data:image/png;base64,{base64.urlsafe_b64encode(data).decode()}",
        f"data:image/png,{quote(data)}",
    ):
        source = decode_url(url)
        assert source == Inline("image/png", text)
        assert encode_url(source) == f"data:image/png;base64,{text}"
    assert standard_base64(text) == text


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (Url("https://a.example/x"), "https://a.example/x"),
        (CloudUri("gs://b/x"), "gs://b/x"),
        (PlainText("abc"), "data:text/plain;base64,YWJj"),
        (PlainText("a\ud83d"), "data:text/plain;base64,Ye+/vQ=="),
        (FileRef("openai", "f"), None),
        (Nested((Text("x"),)), None),
    ],
)
def test_encoded(source: Source, url: str | None) -> None:
    assert encode_url(source) == url
