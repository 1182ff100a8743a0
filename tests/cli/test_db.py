"""`oneapi-mw db`, `oneapi-mw check-config`, and what every command says about settings it cannot use."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import SECRET, Shell


def test_upgrade_then_check(shell: Shell) -> None:
    assert "run 'oneapi-mw db upgrade'" in shell.refused("db", "check")
    assert not Path("one-api.db").exists()
    assert shell.ok("db", "upgrade") == "sqlite:///one-api.db is up to date\n"
    assert shell.ok("db", "upgrade") == "sqlite:///one-api.db is up to date\n"
    assert shell.ok("db", "check") == "sqlite:///one-api.db is as this version needs it\n"


def test_a_table_that_is_missing(shell: Shell) -> None:
    shell.ok("db", "upgrade")
    with sqlite3.connect("one-api.db") as database:
        database.execute("DROP TABLE options")
    database.close()
    assert "options" in shell.refused("db", "check")


def test_tables_of_another_program(shell: Shell) -> None:
    with sqlite3.connect("one-api.db") as database:
        database.execute("CREATE TABLE users (id INTEGER)")
    database.close()
    assert "tables of another program (users)" in shell.refused("db", "upgrade")


@pytest.mark.parametrize("words", [["db", "upgrade"], ["user", "list"], ["check-config"], ["serve"]], ids=" ".join)
@pytest.mark.parametrize(
    ("name", "value"), [("SHUTDOWN_TIMEOUT", "soon"), ("SQL_DSN", "oracle://db/x"), ("ONEAPI_SECRET_KEY", "short")]
)
def test_settings_that_cannot_be_used(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert name in shell.refused(*words)


def test_all_problems_are_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUTDOWN_TIMEOUT", "soon")
    monkeypatch.setenv("WORKERS", "many")
    line = shell.refused("db", "upgrade")
    assert "SHUTDOWN_TIMEOUT" in line
    assert "WORKERS" in line


@pytest.mark.parametrize("words", [["db", "upgrade"], ["user", "list"]], ids=" ".join)
def test_a_database_that_is_away(shell: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("SQL_DSN", "postgres://someone:a-password@127.0.0.1:1/db")
    line = shell.refused(*words)
    assert "SQL_DSN" in line
    assert "a-password" not in line


def test_another_secret_than_before(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.ok("channel", "create", "x", "--type", "openai", "--models", "a", "--key", "k")
    monkeypatch.setenv("ONEAPI_SECRET_KEY", "another secret than before")
    assert "ONEAPI_SECRET_KEY" in shell.refused("channel", "list")


def test_config_of_a_fresh_folder(shell: Shell) -> None:
    shown = shell.ok("check-config")
    assert "a server can start with these settings" in shown
    assert "ONEAPI_SECRET_KEY" in shown
    assert SECRET not in shown
    assert "SHUTDOWN_TIMEOUT" not in shown
    assert "SHUTDOWN_TIMEOUT" in shell.ok("check-config", "--all")
    assert os.listdir() == []


def test_config_after_a_start(shell: Shell) -> None:
    shell.ok("db", "upgrade")
    found = shell.json("check-config")
    assert found["problems"] == []
    assert {"setting": "SHUTDOWN_TIMEOUT", "value": "360", "default": True} in found["settings"]


def test_config_with_problems(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEAPI_SECRET_KEY", "")
    monkeypatch.setenv("SQLITE_PATH", "nowhere/gateway.db")
    code, out, err = shell("check-config", "--json")
    assert (code, err) == (1, "")
    problems = json.loads(out)["problems"]
    assert len(problems) == 2
    assert all("nowhere" in problem for problem in problems)
    code, out, err = shell("check-config")
    assert code == 1
    assert err.splitlines() == [f"problem: {problem}" for problem in problems]


def test_config_of_a_database_without_tables(shell: Shell) -> None:
    sqlite3.connect("one-api.db").close()
    Path("one-api.db").touch()
    code, _, err = shell("check-config")
    assert code == 1
    assert "oneapi-mw db upgrade" in err


def test_config_of_a_database_that_is_away(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQL_DSN", "postgres://someone:a-password@127.0.0.1:1/db")
    code, out, err = shell("check-config")
    assert code == 1
    assert err.startswith("problem: The database does not answer")
    assert "a-password" not in out + err
