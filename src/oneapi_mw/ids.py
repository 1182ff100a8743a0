"""Identifiers: request ids, row uuids, API keys."""

from __future__ import annotations

import os
import secrets
import string
import time
import uuid

_ALPHANUMERIC = string.ascii_letters + string.digits
_BASE32 = "0123456789abcdefghijklmnopqrstuv"  # in ASCII order
_MS_PER_DAY = 86_400_000
_48_BITS = (1 << 48) - 1
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # a random digit to one that starts with bits 10
_DIGITS = (_BASE32 * 8).encode()  # a byte to the digit of its lowest five bits
_last_ms = (0, "")


def request_id() -> str:
    """A new request id: 32 lower-case letters and digits, UTC date and millisecond first, then 100 random bits.

    Sorts by time, so that new rows go to the end of every index they are in. Cannot be guessed, which is what
    makes cost look-up by request id safe without a login.
    """
    global _last_ms  # noqa: PLW0603 -- under load many ids share the formatted millisecond
    now = time.time_ns() // 1_000_000
    millisecond, text = _last_ms
    if millisecond != now:
        in_day = now % _MS_PER_DAY
        date = time.strftime("%y%m%d", time.gmtime(now // 1000))
        text = date + "".join([_BASE32[in_day >> shift & 31] for shift in (25, 20, 15, 10, 5, 0)])
        _last_ms = (now, text)
    return text + _random_digits()


class _Pool:
    """Random digits fetched from the system many at a time: a call into it costs more than the rest of an id."""

    digits = ""
    taken = 0


def _random_digits() -> str:
    """20 of them, 100 bits. Never the same ones twice, in forked processes neither."""
    start = _Pool.taken
    if start >= len(_Pool.digits):
        _Pool.digits, start = os.urandom(20 * 64).translate(_DIGITS).decode(), 0
    _Pool.taken = start + 20
    return _Pool.digits[start : start + 20]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: setattr(_Pool, "digits", ""))


def uuid7() -> str:
    """A new UUID version 7 in its 36 character form: 48 bits of Unix milliseconds, then random bits. RFC 9562."""
    return uuid7s(1)[0]


def uuid7s(count: int) -> list[str]:
    """`count` new UUIDs of the same millisecond, in no particular order: one call for the rows of a batch."""
    milliseconds = f"{time.time_ns() // 1_000_000 & _48_BITS:012x}"
    head = f"{milliseconds[:8]}-{milliseconds[8:]}-7"
    digits = os.urandom(10 * count).hex()
    return [
        f"{head}{digits[at : at + 3]}-{_VARIANT[digits[at + 3]]}{digits[at + 4 : at + 7]}-{digits[at + 7 : at + 19]}"
        for at in range(0, 20 * count, 20)
    ]


def uuid_of(name: str) -> str:
    """The UUID of something that has a name already: the same for the same name. Version 5, RFC 9562."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def token_key() -> str:
    """Key material of a new API token without its prefix: 48 characters from `A-Za-z0-9`, 285 random bits."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(48))


def access_token() -> str:
    """A new management access token: 32 hexadecimal digits."""
    return secrets.token_hex(16)
