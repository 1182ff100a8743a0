"""Dispatch, help, exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oneapi_mw import __version__
from oneapi_mw.cli import COMMANDS, main
from oneapi_mw.cli.failure import CommandFailed
from tests.cli.conftest import Shell

HEAVY = ("sqlalchemy", "pydantic", "aiohttp", "httpx", "hypercorn", "starlette", "uvloop", "alembic", "cryptography")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from oneapi_mw.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as exc:\n    assert exc.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert all(name in out for name in COMMANDS)


def test_version(shell: Shell) -> None:
    assert shell.ok("--version") == f"oneapi-mw {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(shell: Shell, name: str) -> None:
    assert name in shell.ok(name, "--help")


@pytest.mark.parametrize(
    "command",
    [
        "serve", "demo", "check-config", "db upgrade", "db check", "user create", "user list", "user enable",
        "user disable", "user password", "user quota", "token create", "token list", "token enable", "token disable",
        "channel create", "channel list", "channel enable", "channel disable", "channel delete",
    ],
)  # fmt: skip
def test_help_has_an_example(shell: Shell, command: str) -> None:
    shown = shell.ok(*command.split(), "--help")
    assert f"examples:\n  oneapi-mw {command}" in shown


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["user"],
        ["user", "fly"],
        ["user", "list", "--nonsense"],
        ["serve", "--workers", "0"],
        ["serve", "--port", "65536"],
        ["user", "quota", "a", "--add", "1.5"],
        ["user", "quota", "a", "--add", "1", "--add-usd", "1"],
        ["user", "quota", "a", "--add-usd", "0.0000001"],
        ["token", "create", "x", "--user", "root"],
    ],
    ids=" ".join,
)
def test_misuse_is_2(shell: Shell, words: list[str]) -> None:
    code, out, err = shell(*words)
    assert (code, out) == (2, "")
    assert err.startswith("usage: oneapi-mw")


def test_what_a_command_says_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise CommandFailed("the moon is down: wait")

    monkeypatch.setattr("oneapi_mw.cli.db.run_check", fail)
    assert main(["db", "check"]) == 1
    assert capsys.readouterr().err == "oneapi-mw: the moon is down: wait\n"


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("oneapi_mw.cli.db.run_check", interrupt)
    assert main(["db", "check"]) == 130


def test_a_reader_who_leaves_is_no_fault() -> None:
    code = (
        "import sys\n"
        "from oneapi_mw.cli import main\n"
        "import oneapi_mw.cli.db as db\n"
        "db.run_check = lambda args: [print('x' * 100) for _ in range(10000)] and 0\n"
        "sys.exit(main(['db', 'check']))"
    )
    piped = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert piped.stdout is not None
    assert piped.stderr is not None
    piped.stdout.read(1)
    piped.stdout.close()
    with piped.stderr:
        assert piped.stderr.read() == b""
    assert piped.wait() == 1
