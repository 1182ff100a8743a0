"""Signatures over reasoning: any change of the text, its place or what came before shows.

A signature is base64 of a version byte, the place, a nonce, and two keyed digests: one over what is signed, one over
the prefix of the conversation. The nonce makes two signatures of equal text differ, as the vendors' do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from binascii import Error
from itertools import count
from typing import Any, Literal

VERSION = 0x12
_MAC = 16
_LENGTH = 1 + 2 + 4 + 2 * _MAC

Verdict = Literal["good", "undecodable", "altered", "misplaced", "other_prefix"]


def canonical(value: Any) -> str:
    """JSON of `value` that does not depend on key order or on how it was written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Signer:
    """Signs and checks for one vendor. What one vendor signed is worth nothing to another."""

    def __init__(self, vendor: str) -> None:
        self._key = hashlib.sha256(b"stand-in key of " + vendor.encode()).digest()
        self._nonces = count(1)

    def sign(self, signed: str, *, place: int = 0, prefix: str = "") -> str:
        """A signature for `signed` at `place` (reasoning block or call of its answer) after `prefix`."""
        nonce = next(self._nonces).to_bytes(4, "big")
        return self._encode(signed, place, nonce, prefix)

    def check(self, signature: str, signed: str, *, place: int = 0, prefix: str | None = None) -> Verdict:
        """What `signature` is worth; without `prefix` what came before does not matter."""
        try:
            raw = base64.b64decode(signature, validate=True)
        except (Error, ValueError):
            return "undecodable"
        if len(raw) != _LENGTH or raw[0] != VERSION:
            return "undecodable"
        signed_at, nonce, mac, bound = int.from_bytes(raw[1:3], "big"), raw[3:7], raw[7:-_MAC], raw[-_MAC:]
        if not hmac.compare_digest(mac, self._mac(signed, signed_at, nonce)):
            return "altered"
        if signed_at != place:
            return "misplaced"
        if prefix is not None and not hmac.compare_digest(bound, self._mac(prefix, 0, nonce)):
            return "other_prefix"
        return "good"

    def _encode(self, signed: str, place: int, nonce: bytes, prefix: str) -> str:
        head = bytes([VERSION]) + place.to_bytes(2, "big") + nonce
        raw = head + self._mac(signed, place, nonce) + self._mac(prefix, 0, nonce)
        return base64.b64encode(raw).decode()

    def _mac(self, text: str, place: int, nonce: bytes) -> bytes:
        message = nonce + place.to_bytes(2, "big") + text.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, "sha256")[:_MAC]
