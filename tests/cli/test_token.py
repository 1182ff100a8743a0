"""`oneapi-mw token`."""

from __future__ import annotations

import argparse
import time

import pytest

from oneapi_mw.cli.token import expiry, subnets
from tests.cli.conftest import Shell


def test_the_key_is_printed_once(rooted: Shell) -> None:
    key = rooted.ok("token", "create", "laptop", "--user", "root", "--unlimited").strip()
    assert key.startswith("sk-")
    assert len(key) == 51
    shown = rooted.ok("token", "list")
    assert key not in shown
    assert f"{key[:7]}...{key[-4:]}" in shown


def test_limits(rooted: Shell) -> None:
    made = rooted.json(
        *["token", "create", "ci", "--user", "root", "--usd", "2.50", "--expires", "2999-01-31"],
        *["--models", "a,b", "--subnet", "192.0.2.0/24,198.51.100.7"],
    )
    (listed,) = rooted.json("token", "list", "--user", "root")
    assert {**made, "key": listed["key"]} == listed
    assert (listed["remain_quota"], listed["unlimited"], listed["expires"]) == (1_250_000, False, 32_474_736_000)
    assert (listed["models"], listed["subnet"]) == ("a,b", "192.0.2.0/24,198.51.100.7/32")
    assert "2999-01-31 00:00" in rooted.ok("token", "list")


def test_another_prefix(rooted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_KEY_PREFIX", "ours-")
    assert rooted.ok("token", "create", "laptop", "--user", "root", "--unlimited").startswith("ours-")


def test_switched_by_id_and_uuid(rooted: Shell) -> None:
    made = rooted.json("token", "create", "laptop", "--user", "root", "--quota", "5")
    assert rooted.ok("token", "disable", str(made["id"])) == f"API key 'laptop' ({made['id']}) is disabled\n"
    assert rooted.json("token", "list")[0]["status"] == "disabled"
    rooted.ok("token", "enable", made["uuid"])
    assert rooted.json("token", "list")[0]["status"] == "enabled"


@pytest.mark.parametrize("reference", ["99", "no-such-uuid", "laptop"])
def test_no_such_key(rooted: Shell, reference: str) -> None:
    assert "there is no API key" in rooted.refused("token", "disable", reference)


def test_less_than_nothing(rooted: Shell) -> None:
    assert "from 0 up" in rooted.refused("token", "create", "x", "--user", "root", "--quota", "-1", code=2)


def test_lists_are_read_to_their_end(rooted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.cli.database.ROWS_AT_ONCE", 2)
    for name in "abc":
        rooted.ok("token", "create", name, "--user", "root", "--quota", "1")
    assert [token["name"] for token in rooted.json("token", "list")] == ["a", "b", "c"]


def test_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert expiry("30d") == 1_000_000 + 30 * 86_400
    assert expiry("12h") == 1_000_000 + 12 * 3_600
    assert expiry("1970-01-31") == 30 * 86_400


@pytest.mark.parametrize("text", ["", "0d", "tomorrow", "2020-01-01", "31.12.2999", "12x", "1999999d1h"])
def test_times_that_are_refused(text: str) -> None:
    assert time.time() > 1_600_000_000
    with pytest.raises(argparse.ArgumentTypeError):
        expiry(text)


@pytest.mark.parametrize("text", ["example.com", "192.0.2.0/33", "192.0.2.0/24,x"])
def test_subnets_that_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        subnets(text)
