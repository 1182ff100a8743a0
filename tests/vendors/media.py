"""Media in requests: what their first bytes say they are."""

from __future__ import annotations

import base64
from binascii import Error

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""One transparent dot."""


def decoded(data: str) -> bytes | None:
    """The bytes; `None` when `data` is not base64."""
    try:
        return base64.b64decode(data, validate=True) or None
    except (Error, ValueError):
        return None


def sniffed(raw: bytes) -> str:
    """Media type by the first bytes; empty when they say nothing."""
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES if raw.startswith(start)), "")


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 text of a data URL; `None` when it is none."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        return None
    return head[5:-7], data
