"""`data:` URLs and the sources they stand for. RFC 2397, as loosely as clients write it."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from oneapi_mw.canonical.blocks import CloudUri, Inline, PlainText, Source, Url
from oneapi_mw.jsontext import well_formed

_SIGNATURES = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
    ("SUQz", "audio/mpeg"),
)
"""Beginnings of base64 text, by what they announce."""
_URL_SAFE = str.maketrans("-_", "+/")


def decode_url(url: str) -> Source:
    """The source behind a URL: inline data, an object in a vendor's store, or something to fetch.

    Base64 is not decoded, only brought into the standard alphabet with padding. Raises `ValueError` when a
    `data:` URL has no comma.
    """
    scheme = url[:5].lower()
    if scheme == "data:":
        return _decode_data(url)
    if scheme == "gs://":
        return CloudUri(url)
    return Url(url)


def _decode_data(url: str) -> Inline:
    header, comma, data = url[5:].partition(",")
    if not comma:
        raise ValueError("a data: URL needs a comma before its data")
    media_type, *parameters = (piece.strip() for piece in header.split(";"))
    if "base64" in (parameter.lower() for parameter in parameters):
        data = standard_base64(unquote_to_bytes(data).decode("latin-1") if "%" in data else data)
    else:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Inline(media_type.lower() or sniff(data), data)


def standard_base64(data: str) -> str:
    """Base64 without white space, in the standard alphabet, padded."""
    if not data.isalnum():
        data = "".join(data.split()).translate(_URL_SAFE)
    missing = -len(data) % 4
    return data + "=" * missing if missing else data


def sniff(data: str) -> str:
    """Media type by the first bytes of base64 `data`."""
    for beginning, media_type in _SIGNATURES:
        if data.startswith(beginning):
            if beginning == "UklGR" and _fourcc(data) == b"WAVE":
                return "audio/wav"
            return media_type
    return "application/octet-stream"


def _fourcc(data: str) -> bytes:
    try:
        return base64.b64decode(data[:16])[8:12]
    except binascii.Error:
        return b""


def encode_url(source: Source) -> str | None:
    """`source` as a URL; `None` for files at a vendor and nested blocks, which have none."""
    match source:
        case Inline(media_type, data):
            return f"data:{media_type};base64,{data}"
        case Url(url=url) | CloudUri(uri=url):
            return url
        case PlainText(text, media_type):
            return f"data:{media_type};base64,{base64.b64encode(well_formed(text).encode()).decode()}"
        case _:
            return None
