"""The text of an envelope, as far as it is read without a key. See `envelope`."""

from __future__ import annotations

import base64
import binascii

from oneapi_mw.jsontext import loads

__all__ = ["ENCRYPTED", "MAC_BYTES", "PREFIX", "SIGNED", "TEXT_ALONE", "is_envelope", "outer", "vendor_value"]

PREFIX = "oa1."
SIGNED, ENCRYPTED = 1, 2
"""The forms of content."""
MAC_BYTES = 16
TEXT_ALONE = "text"
"""Vendor of an envelope that holds no vendor's part and only says where the text beside it is from."""


def is_envelope(data: str) -> bool:
    return data.startswith(PREFIX)


def outer(data: str) -> tuple[str, bytes]:
    """The vendor's word and the bytes behind it; none of them for what is no envelope."""
    prefix, _, rest = data.partition(".")
    word, _, encoded = rest.partition(".")
    if f"{prefix}." != PREFIX:
        return "", b""
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return word, b""
    return word, raw


def vendor_value(data: str) -> str | None:
    """The vendor's own value in a signed envelope, unverified, for showing it to the client it was made for; `None`
    where it is encrypted. What is in no envelope is the value itself."""
    if not is_envelope(data):
        return data
    _, raw = outer(data)
    if len(raw) < 2 + MAC_BYTES or raw[1] != SIGNED:
        return None
    try:
        payload = loads(raw[2:-MAC_BYTES])
    except ValueError:
        return None
    value = payload.get("d") if isinstance(payload, dict) else None
    return value if isinstance(value, str) else None
