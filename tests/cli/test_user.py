"""`oneapi-mw user`."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from oneapi_mw.store.bootstrap import ROOT_QUOTA
from oneapi_mw.store.passwords import verify_password
from tests.cli.conftest import PASSWORD, Shell


def test_create_and_list(rooted: Shell) -> None:
    made = rooted.json(
        *["user", "create", "alice", "--email", "a@example.com", "--group", "vip", "--role", "admin"],
        *["--add", "7", "--password-stdin"],
        stdin=PASSWORD + "\n",
    )
    assert (made["username"], made["email"], made["group"], made["role"]) == ("alice", "a@example.com", "vip", "admin")
    assert (made["quota"], made["status"]) == (7, "enabled")

    assert [user["username"] for user in rooted.json("user", "list")] == ["root", "alice"]
    listed = rooted.ok("user", "list").splitlines()
    assert listed[0].split()[:3] == ["ID", "USERNAME", "ROLE"]
    assert listed[2].split()[1:4] == ["alice", "admin", "enabled"]


def test_an_empty_database_gets_a_root_first(shell: Shell) -> None:
    line = shell.refused("user", "create", "alice", "--password-stdin", stdin=PASSWORD)
    assert "user create root --role root" in line
    assert shell.ok("user", "list").startswith("no users yet")


def test_root_has_the_balance_a_server_gives_it(shell: Shell) -> None:
    made = shell.json("user", "create", "root", "--role", "root", "--password-stdin", stdin=PASSWORD)
    assert made["quota"] == ROOT_QUOTA


def test_names_are_taken_once(rooted: Shell) -> None:
    line = rooted.refused("user", "create", "root", "--role", "root", "--password-stdin", stdin=PASSWORD)
    assert line == "oneapi-mw: this username is taken already: choose another one"


@pytest.mark.parametrize(
    ("name", "password", "what"), [("x" * 31, PASSWORD, "username"), ("alice", "short", "password"), ("a", "", "pass")]
)
def test_names_and_passwords_have_rules(rooted: Shell, name: str, password: str, what: str) -> None:
    assert what in rooted.refused("user", "create", name, "--password-stdin", stdin=password, code=2)


def test_a_new_password_ends_all_sessions(rooted: Shell) -> None:
    with sqlite3.connect("one-api.db") as database:
        database.execute("INSERT INTO sessions VALUES ('d', 1, 0, 0, 99999999999)")
    rooted.ok("user", "password", "root", "--password-stdin", stdin="another password\n")
    with sqlite3.connect("one-api.db") as database:
        (hashed,) = database.execute("SELECT password FROM users").fetchone()
        assert database.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    database.close()
    assert asyncio.run(verify_password("another password", hashed))


def test_disabled_and_enabled_again(rooted: Shell) -> None:
    assert rooted.ok("user", "disable", "root") == "user 'root' is disabled\n"
    assert rooted.json("user", "list")[0]["status"] == "disabled"
    rooted.ok("user", "enable", "root")
    assert rooted.json("user", "list")[0]["status"] == "enabled"


def test_quota_is_booked_as_entries(rooted: Shell) -> None:
    assert rooted.ok("user", "quota", "root") == "user 'root' has 500000 quota units ($1.0000)\n"
    rooted.ok("user", "quota", "root", "--add-usd", "2", "--remark", "invoice 17")
    assert rooted.json("user", "quota", "root", "--add", "-1")["quota"] == 1_499_999
    with sqlite3.connect("one-api.db") as database:
        entries = database.execute("SELECT amount, kind, remark FROM billing_entries ORDER BY id").fetchall()
    database.close()
    assert entries == [(500_000, "initial", ""), (1_000_000, "topup", "invoice 17"), (-1, "topup", "")]


def test_amounts_beyond_the_ledger_are_refused(rooted: Shell) -> None:
    assert "is too large" in rooted.refused("user", "quota", "root", "--add", str(2**62), code=2)
    with sqlite3.connect("one-api.db") as database:
        database.execute("UPDATE users SET quota = ?", [2**62])
    database.close()
    assert "balance" in rooted.refused("user", "quota", "root", "--add", "1")


@pytest.mark.parametrize("words", [["disable"], ["enable"], ["quota"], ["password", "--password-stdin"]], ids=str)
def test_nobody_of_that_name(rooted: Shell, words: list[str]) -> None:
    line = rooted.refused("user", words[0], "nobody", *words[1:], stdin=PASSWORD)
    assert line == "oneapi-mw: there is no user 'nobody': see 'oneapi-mw user list'"
