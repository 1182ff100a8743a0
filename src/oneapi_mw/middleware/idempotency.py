"""Requests that are answered once, however often they are repeated with the same `Idempotency-Key`."""

from __future__ import annotations

from starlette.types import Scope

from oneapi_mw.errors import InvalidRequest

HEADER = b"idempotency-key"
MAX_KEY_LENGTH = 255


def presented_idempotency_key(scope: Scope) -> str | None:
    """The key of the request in `scope`, if it has one.

    Raises: `InvalidRequest` for a key that is sent twice, too long, or not visible ASCII.
    """
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == HEADER:
            if found is not None:
                raise InvalidRequest("Header Idempotency-Key is sent twice: send it once", code="duplicate_header")
            found = value
    if found is None:
        return None
    if not 0 < len(found) <= MAX_KEY_LENGTH or not all(0x21 <= byte <= 0x7E for byte in found):
        raise InvalidRequest(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} visible ASCII characters without spaces: "
            "a random UUID will do"
        )
    return found.decode()
