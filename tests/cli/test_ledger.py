"""`oneapi-mw ledger`: what it says of books that balance, of books that do not, and of what waits."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from oneapi_mw.ledger.audit import CHECKS
from oneapi_mw.ledger.base import LogFacts
from oneapi_mw.ledger.spool_file import Kept, SpoolFile, ending_line
from tests.cli.conftest import Shell


def execute(statement: str) -> None:
    database = sqlite3.connect("one-api.db")
    with database:
        database.execute(statement)
    database.close()


def test_books_that_balance(rooted: Shell) -> None:
    line = rooted.ok("ledger", "audit").splitlines()[-1]
    assert line == f"the books balance: {len(CHECKS)} checks over 1 users, 0 tokens, 0 channels, 0 holds, 0 logs"
    assert rooted.json("ledger", "audit") == {
        "balanced": True,
        "rows": {"users": 1, "tokens": 0, "channels": 0, "billing_holds": 0, "logs": 0},
        "checks": len(CHECKS),
        "deviations": [],
        "unnamed": 0,
    }


def test_books_that_do_not(rooted: Shell) -> None:
    execute("UPDATE users SET quota = quota + 5")
    code, out, err = rooted("ledger", "audit")
    assert (code, err) == (1, "")
    assert "I-1 user 1: credits are 500000, but quota, used quota and open holds make 500005" in out
    assert "\n  means: quota was made or lost" in out
    assert "\n  to do: find who writes to users.quota" in out
    assert out.splitlines()[-1].startswith("1 deviations")

    code, out, _ = rooted("ledger", "audit", "--json")
    found = json.loads(out)
    assert (code, found["balanced"]) == (1, False)
    (deviation,) = found["deviations"]
    assert (deviation["invariant"], deviation["subject"]) == ("I-1", "user 1")
    assert set(deviation) == {"invariant", "subject", "detail", "means", "advice"}


def test_no_more_than_asked_for(rooted: Shell) -> None:
    for name in ("ada", "bob", "eve"):
        rooted.ok("user", "create", name, "--add-usd", "1", "--password-stdin", stdin="a password for tests")
    execute("UPDATE users SET quota = quota + 5")
    code, out, err = rooted("ledger", "audit", "--most", "1", "--progress")
    assert code == 1
    assert out.count("but quota, used quota") == 1
    assert "I-1 user: and 3 more; --most names more of them" in out
    assert out.splitlines()[-1].startswith("4 deviations")
    assert err.splitlines()[0] == f"1/{len(CHECKS)} I-1 user"
    assert len(err.splitlines()) == len(CHECKS)


@pytest.mark.parametrize("what", ["audit", "status"])
def test_a_database_that_is_not_there_or_old(shell: Shell, what: str) -> None:
    assert "run 'oneapi-mw db upgrade'" in shell.refused("ledger", what)
    assert not Path("one-api.db").exists()
    sqlite3.connect("one-api.db").close()
    Path("one-api.db").touch()
    assert "oneapi-mw db upgrade" in shell.refused("ledger", what)


def test_status_of_a_quiet_ledger(rooted: Shell) -> None:
    shown = rooted.ok("ledger", "status")
    assert "open holds" in shown
    assert "jsonl" not in shown
    assert rooted.json("ledger", "status") == {
        "open_holds": 0,
        "external_holds": 0,
        "held": 0,
        "oldest_seconds": 0.0,
        "late_holds": 0,
        "outbox": 0,
        "events": 0,
        "spool": "one-api.spool",
        "files": [],
        "rejected": [],
    }


def test_the_spool_is_shown_while_the_database_is_away(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQL_DSN", "postgres://someone:a-password@127.0.0.1:1/db")
    file = SpoolFile.create(Path("one-api.spool"), database="postgresql://127.0.0.1:1/db", worker="w")
    file.append([ending_line(Kept("k", 5, LogFacts()))])

    code, out, err = shell("ledger", "status")
    assert code == 1
    assert out.startswith(f"{file.path}: 1 charges")
    assert "The database does not answer" in err
    assert "a-password" not in out + err
    code, out, _ = shell("ledger", "status", "--json")
    assert code == 1
    assert [found["ours"] for found in json.loads(out)["files"]] == [True]
    file.close()


def test_a_folder_that_cannot_be_made(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a-file").touch()
    monkeypatch.setenv("BILLING_SPOOL_PATH", "a-file/spool")
    code, _, err = shell("check-config")
    assert code == 1
    assert "a-file' is not a folder: change BILLING_SPOOL_PATH" in err
    monkeypatch.setenv("BILLING_SPOOL_MAX_MB", "0")
    shell.ok("check-config")


def test_status_of_a_spool(rooted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = f"sqlite:///{Path('one-api.db').resolve()}"
    for database, worker, lives in ((ours, "dead", False), (ours, "living", True), ("postgresql://db/x", "w", False)):
        file = SpoolFile.create(Path("one-api.spool"), database=database, worker=worker)
        file.append([ending_line(Kept("k", 5, LogFacts()))])
        if lives:
            living = file
        else:
            file.close()
    Path("one-api.spool/odd.jsonl").write_bytes(b"garbage\n")
    Path("one-api.spool/folder.jsonl").mkdir()
    aside = living.reject([b"what\n"])

    lines = rooted.ok("ledger", "status").splitlines()
    about = {worker: next(line for line in lines if f"worker {worker};" in line) for worker in ("dead", "living", "w")}
    assert "the next start or sweep of a gateway replays it" in about["dead"]
    assert "replayed by it" in about["living"]
    assert "of another database, postgresql://db/x" in about["w"]
    assert any("odd.jsonl: it cannot be read" in line for line in lines)
    assert any("folder.jsonl: it cannot be read" in line for line in lines)
    assert f"{aside}: could not be carried out" in lines[-1]

    found = rooted.json("ledger", "status")
    assert found["rejected"] == [str(aside)]
    assert {(file["worker"], file["living"], file["ours"], file["endings"]) for file in found["files"]} == {
        ("dead", False, True, 1),
        ("living", True, True, 1),
        ("w", False, False, 1),
        ("", False, False, 0),
    }
    living.close()
    monkeypatch.setenv("BILLING_SPOOL_MAX_MB", "0")
    assert rooted.json("ledger", "status")["files"] == []
