"""Identifiers: request ids, row uuids, API keys."""

from __future__ import annotations

import base64
import os
import secrets
import string
import time
import uuid

_ALPHANUMERIC = string.ascii_letters + string.digits
_last_second = (0, "")


def request_id() -> str:
    """A new request id: 32 lower-case letters and digits, UTC second first, then 96 random bits.

    Sorts by time and cannot be guessed, which is what makes cost look-up by request id safe without a login.
    """
    global _last_second  # noqa: PLW0603 -- the formatted second is the same for thousands of ids
    now = int(time.time())
    second, text = _last_second
    if second != now:
        text = time.strftime("%y%m%d%H%M%S", time.gmtime(now))
        _last_second = (now, text)
    return text + base64.b32encode(os.urandom(12))[:20].decode().lower()


def uuid7() -> str:
    """A new UUID version 7 in its 36 character form: 48 bits of Unix milliseconds, then random bits. RFC 9562."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def token_key() -> str:
    """Key material of a new API token without its prefix: 48 characters from `A-Za-z0-9`, 285 random bits."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(48))


def access_token() -> str:
    """A new management access token: 32 hexadecimal digits."""
    return secrets.token_hex(16)
