"""Tables and amounts."""

from __future__ import annotations

import argparse

import pytest

from oneapi_mw.cli import arguments
from oneapi_mw.cli.failure import Misused
from oneapi_mw.cli.output import dollars, moment, print_rows, table


def test_columns_are_as_wide_as_their_cells() -> None:
    rows = [{"id": 7, "name": "a"}, {"id": 12, "name": "longer"}]
    assert table(rows).splitlines() == ["ID  NAME", " 7  a", "12  longer"]


def test_wide_characters_take_two_columns() -> None:
    rows = [{"name": "张三", "group": "x"}, {"name": "bob", "group": "y"}]
    assert table(rows).splitlines() == ["NAME  GROUP", "张三  x", "bob   y"]


def test_a_cell_cannot_command_the_terminal() -> None:
    assert "\x1b" not in table([{"name": "\x1b[2J\nroot"}])
    assert len(table([{"name": "\x1b[2J\nroot"}]).splitlines()) == 2


@pytest.mark.parametrize(("as_json", "shown"), [(True, "[]\n"), (False, "none yet\n")])
def test_nothing_to_list(capsys: pytest.CaptureFixture[str], as_json: bool, shown: str) -> None:
    print_rows([], as_json=as_json, nothing="none yet")
    assert capsys.readouterr().out == shown


def test_moments_and_dollars() -> None:
    assert moment(0) == moment(-1) == ""
    assert moment(86_400) == "1970-01-02 00:00"
    assert dollars(500_000) == "$1.0000"


@pytest.mark.parametrize(("text", "units"), [("1", 500_000), ("2.50", 1_250_000), ("-0.000002", -1), ("0", 0)])
def test_dollars_become_units_exactly(text: str, units: int) -> None:
    assert arguments.usd(text) == units


@pytest.mark.parametrize("text", ["", "x", "0.000001", "nan", "inf", "1e999999999", "1,5"])
def test_amounts_that_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.usd(text)


def test_a_secret_needs_a_terminal_or_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misused, match="--key-stdin"):
        arguments.read_secret("Key", from_stdin=False, option="--key-stdin")


def test_a_secret_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["one", "one", "one", "two"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    assert arguments.read_secret("Password", from_stdin=False, option="-", repeat=True) == "one"
    with pytest.raises(Misused, match="differ"):
        arguments.read_secret("Password", from_stdin=False, option="-", repeat=True)
