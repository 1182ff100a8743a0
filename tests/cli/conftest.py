"""A folder with a database of its own, and commands that run in it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oneapi_mw.cli import main

SECRET = "a secret for tests that is long enough"
PASSWORD = "a password for tests"


@dataclass
class Shell:
    """`oneapi-mw` as somebody in `folder` runs it, in this process."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    type_in: Callable[[str], None]

    def __call__(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        self.type_in(stdin)
        try:
            code = main(words)
        except SystemExit as exc:  # argparse's way out
            code = int(exc.code or 0)
        out, err = self.capture.readouterr()
        return code, out, err

    def ok(self, *words: str, stdin: str = "") -> str:
        """stdout of a command that must succeed."""
        code, out, err = self(*words, stdin=stdin)
        assert code == 0, err
        return out

    def json(self, *words: str, stdin: str = "") -> Any:
        return json.loads(self.ok(*words, "--json", stdin=stdin))

    def refused(self, *words: str, stdin: str = "", code: int = 1) -> str:
        """The one line of a command that must fail."""
        found, out, err = self(*words, stdin=stdin)
        assert (found, out) == (code, ""), err
        line = err.splitlines()[-1]
        assert code == 2 or err == line + "\n", err
        return line


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in os.environ:
        if name not in ("PATH", "HOME", "TMPDIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ONEAPI_SECRET_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys, lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text)))


@pytest.fixture
def rooted(shell: Shell) -> Shell:
    """With a root account."""
    shell.ok("user", "create", "root", "--role", "root", "--add-usd", "1", "--password-stdin", stdin=PASSWORD)
    return shell
