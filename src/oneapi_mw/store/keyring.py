"""The keys that protect secrets at rest, all derived from one secret of the operator.

    secret --HKDF--> one lookup key per purpose   keyed digests: a secret is found without being stored
           --HKDF--> one sealing key              AES-256-GCM: a secret that has to be shown or used again

A sealed value is version (1 byte), key id (4), nonce (12), ciphertext and tag. What it is sealed with names the
column and the row, so that a value moved elsewhere in a stolen and returned database does not open.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

log = logging.getLogger("oneapi_mw.store")

Purpose: TypeAlias = Literal["api_key", "access_token", "session", "redemption"]
"""What a digest is of: the digests of one text for two purposes have nothing in common."""

SETTING = "ONEAPI_SECRET_KEY"
SHORTEST_SECRET = 16
_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES = 4, 12
_HEAD = len(_VERSION) + _ID_BYTES


class WrongKey(ValueError):
    """A sealed value does not open: made with another secret, or changed since. The message says what to do."""


class KeyRing:
    """Digests and seals. With several secrets the first one makes new values, and all are tried on old ones.

    Args:
        secrets: raw secrets, the current one first. Raises `ValueError` without any.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ValueError("a key ring needs at least one secret")
        self._lookup: dict[Purpose, tuple[bytes, ...]] = {
            purpose: tuple(_derive(secret, f"lookup {purpose}") for secret in secrets) for purpose in get_args(Purpose)
        }
        self._sealing = {_derive(secret, "key id")[:_ID_BYTES]: AESGCM(_derive(secret, "seal")) for secret in secrets}
        self._current = next(iter(self._sealing))
        self.envelope_keys = tuple(_derive(secret, "envelope") for secret in secrets)
        """For what travels through clients and comes back (`wire.envelope`), the current one first."""

    @classmethod
    def load(cls, secret: str | None, key_file: Path) -> KeyRing:
        """The key ring of `secret`, or without one of `key_file`, which is made when it is not there.

        Both hold one secret, or several separated by commas: the current one first, older ones after it.
        Raises: `ValueError` saying what to write.
        """
        if secret is not None and secret.strip():
            return cls(_parse(secret, where=SETTING))
        return cls(_parse(_read_or_create(key_file), where=f"the key file {str(key_file)!r}"))

    def digest(self, purpose: Purpose, text: str) -> str:
        """What `text` is stored and found by: 64 hexadecimal digits."""
        return hmac.digest(self._lookup[purpose][0], text.encode("utf-8", "surrogatepass"), "sha256").hex()

    def digests(self, purpose: Purpose, text: str) -> tuple[str, ...]:
        """Everything `text` may be stored as: its digest with each secret, the current one's first."""
        data = text.encode("utf-8", "surrogatepass")
        return tuple(hmac.digest(key, data, "sha256").hex() for key in self._lookup[purpose])

    def seal(self, text: str, *, column: str, row: str) -> bytes:
        """`text` encrypted for one place: `column` as `table.column`, `row` as its uuid."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + self._current
        return head + nonce + self._sealing[self._current].encrypt(nonce, text.encode(), _place(head, column, row))

    def unseal(self, sealed: bytes, *, column: str, row: str) -> str:
        """The text that `seal` was given. Raises `WrongKey`."""
        if not self.opens(sealed):
            raise WrongKey(
                f"A stored key ({column}) was sealed with another secret, key id {sealed[1:_HEAD].hex()}: set "
                f"{SETTING} to the secret that was used then, or add it after the current one, separated by a comma"
            )
        head, nonce, rest = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES], sealed[_HEAD + _NONCE_BYTES :]
        try:
            return self._sealing[head[1:]].decrypt(nonce, rest, _place(head, column, row)).decode()
        except (InvalidTag, ValueError) as exc:
            raise WrongKey(
                f"A stored key ({column}, row {row}) does not open, though {SETTING} is the right one: it was changed "
                "in the database; enter it again"
            ) from exc

    def opens(self, sealed: bytes) -> bool:
        """Whether `sealed` was made with one of our secrets."""
        return sealed[: len(_VERSION)] == _VERSION and sealed[len(_VERSION) : _HEAD] in self._sealing


def _derive(secret: bytes, what: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"oneapi_mw {what}".encode()).derive(secret)


def _place(head: bytes, column: str, row: str) -> bytes:
    return head + f"{column}\0{row}".encode()


def _parse(text: str, *, where: str) -> list[bytes]:
    found = [part.strip() for part in text.split(",")]
    if any(len(part) < SHORTEST_SECRET for part in found):
        raise ValueError(
            f"{where} must hold at least {SHORTEST_SECRET} characters per secret: write random ones, such as "
            "`openssl rand -hex 32` prints; a comma separates the current secret from older ones"
        )
    return [part.encode("utf-8", "surrogateescape") for part in found]


def _read_or_create(path: Path) -> str:
    try:
        if not path.exists():
            _create(path)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            log.warning("the key file %r can be read by other users: chmod 600 it", str(path))
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(
            f"The key file {str(path)!r} cannot be used ({exc}): set {SETTING}, or make its folder writable"
        ) from exc


def _create(path: Path) -> None:
    """Make a key file that appears whole or not at all; of several processes at once, one makes it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename it never replaces what another process has put there
        except FileExistsError:
            return
        log.warning("made the key file %r: without it stored keys cannot be read, so back it up", str(path))
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Keep the new name through a power cut. Some systems cannot open folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
