"""Digests, seals and the file the secret comes from."""

from __future__ import annotations

import logging
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.store.keyring import KeyRing, WrongKey

RING = KeyRing([b"a secret for tests"])
OTHER = KeyRing([b"another secret for tests"])
PLACE = {"column": "tokens.key", "row": "row-1"}
EXPECTED_DIGEST = "8a0ad13d0dc470572303c3c671cdfb9f382e4f5b39b4572ad315bb90a36734c8"
SEALED = "015e4ff5762e3ca2baf949405cd0b7a5c6d0e913190a1115ffece75828bba1514083ddf402a02938474170a6"


def test_a_digest_is_64_hexadecimal_digits_and_depends_on_everything() -> None:
    digest = RING.digest("api_key", "key")
    assert len(digest) == 64
    assert RING.digest("api_key", "key") == digest
    others = {
        RING.digest("api_key", "Key"),
        RING.digest("access_token", "key"),
        RING.digest("session", "key"),
        OTHER.digest("api_key", "key"),
    }
    assert len(others | {digest}) == 5


def test_digests_are_the_same_in_later_versions() -> None:
    """They are in databases: another derivation would make every key unknown."""
    assert RING.digest("api_key", "key") == EXPECTED_DIGEST
    assert RING.unseal(bytes.fromhex(SEALED), **PLACE) == "sk-provider"


@given(text=st.text())
def test_what_is_sealed_opens_again(text: str) -> None:
    sealed = RING.seal(text, **PLACE)
    assert RING.unseal(sealed, **PLACE) == text
    assert RING.opens(sealed)


def test_a_seal_hides_its_text_and_is_never_the_same_twice() -> None:
    first, second = RING.seal("sk-provider", **PLACE), RING.seal("sk-provider", **PLACE)
    assert first != second
    assert b"provider" not in first


def test_a_value_moved_elsewhere_does_not_open() -> None:
    sealed = RING.seal("sk-provider", **PLACE)
    for place in ({"column": "channels.key"}, {"row": "row-2"}):
        with pytest.raises(WrongKey, match="was changed"):
            RING.unseal(sealed, **{**PLACE, **place})


def test_a_changed_value_does_not_open() -> None:
    sealed = RING.seal("sk-provider", **PLACE)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(WrongKey):
            RING.unseal(bytes(changed), **PLACE)
    for length in (0, 1, 5, 17, len(sealed) - 1):
        with pytest.raises(WrongKey):
            RING.unseal(sealed[:length], **PLACE)


def test_another_secret_does_not_open_it_and_says_which_setting() -> None:
    sealed = RING.seal("sk-provider", **PLACE)
    assert not OTHER.opens(sealed)
    with pytest.raises(WrongKey, match="ONEAPI_SECRET_KEY") as caught:
        OTHER.unseal(sealed, **PLACE)
    assert "sk-provider" not in str(caught.value)


def test_older_secrets_still_open_and_find_but_the_first_one_makes() -> None:
    both = KeyRing([b"another secret for tests", b"a secret for tests"])

    assert both.unseal(RING.seal("old", **PLACE), **PLACE) == "old"
    assert OTHER.unseal(both.seal("new", **PLACE), **PLACE) == "new"
    assert both.digests("api_key", "k") == (OTHER.digest("api_key", "k"), RING.digest("api_key", "k"))
    assert both.digest("api_key", "k") == OTHER.digest("api_key", "k")


def test_a_ring_shows_no_secret() -> None:
    assert "secret" not in repr(RING)
    with pytest.raises(ValueError, match="at least one"):
        KeyRing([])


def test_the_secret_of_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "unused.key"
    assert KeyRing.load("a secret for tests", path).digest("api_key", "k") == RING.digest("api_key", "k")
    two = KeyRing.load(" another secret for tests , a secret for tests\n", path)
    assert two.digests("api_key", "k") == (OTHER.digest("api_key", "k"), RING.digest("api_key", "k"))
    assert not path.exists()


@pytest.mark.parametrize("secret", ["short", "x" * 15, "x" * 16 + ",", "x" * 16 + ",short"])
def test_a_short_secret_is_refused_without_being_shown(secret: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ONEAPI_SECRET_KEY must hold at least 16 characters.*openssl") as caught:
        KeyRing.load(secret, tmp_path / "k")
    assert secret not in str(caught.value)


@pytest.mark.parametrize("secret", [None, "", "  "])
def test_without_a_secret_a_file_is_made_once(secret: str | None, tmp_path: Path) -> None:
    path = tmp_path / "one-api.key"
    first = KeyRing.load(secret, path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert KeyRing.load(secret, path).digest("api_key", "k") == first.digest("api_key", "k")
    assert [entry.name for entry in tmp_path.iterdir()] == ["one-api.key"]


def test_a_file_of_ones_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "k"
    path.write_text("a secret for tests\n")
    path.chmod(0o600)
    assert KeyRing.load(None, path).digest("api_key", "k") == RING.digest("api_key", "k")
    assert caplog.records == []
    path.chmod(0o644)
    KeyRing.load(None, path)
    assert [(record.levelno, "chmod 600" in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.touch(0o600)
    binary.write_bytes(b"\xff" * 32)
    with pytest.raises(ValueError, match=r"the key file .* at least 16"):
        KeyRing.load(None, empty)
    for path in (binary, tmp_path, tmp_path / "missing" / "k"):
        with pytest.raises(ValueError, match=r"cannot be used .* set ONEAPI_SECRET_KEY"):
            KeyRing.load(None, path)


def test_the_loser_of_a_race_uses_the_winners_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k"
    link = os.link

    def winner_first(draft: Path, target: Path) -> None:
        path.write_text("a secret for tests")
        link(draft, target)

    monkeypatch.setattr(os, "link", winner_first)
    assert KeyRing.load(None, path).digest("api_key", "k") == RING.digest("api_key", "k")
    assert [entry.name for entry in tmp_path.iterdir()] == ["k"]


def test_processes_that_start_at_once_end_with_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        digests = pool.map(_digest_of, [str(tmp_path / "k")] * 8, chunksize=1)
    assert len(set(digests)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["k"]


def _digest_of(path: str) -> str:
    return KeyRing.load(None, Path(path)).digest("api_key", "k")
