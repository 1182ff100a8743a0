"""Building the grammar of the command line: help with examples, values that are checked, secrets from elsewhere."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from oneapi_mw.cli.failure import Misused
from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.types import QUOTA_PER_USD, Quota

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

Run: TypeAlias = Callable[[argparse.Namespace], int]


def describe(command: argparse.ArgumentParser, run: Run, *, examples: str) -> None:
    """What `command` does, and how it is used."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = "examples:\n" + "".join(f"  {line.strip()}\n" for line in examples.strip().splitlines())
    command.set_defaults(run=run)


def add_command(commands: Commands, name: str, summary: str, run: Run, *, examples: str) -> argparse.ArgumentParser:
    """A command below a group."""
    command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    describe(command, run, examples=examples)
    return command


def add_group(command: argparse.ArgumentParser) -> Commands:
    """Commands below `command`, one of which must be given."""
    return command.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def positive(text: str) -> int:
    """A number from 1 up."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def port(text: str) -> int:
    """A port, or 0 for any that is free."""
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return int(text)


def usd(text: str) -> Quota:
    """An amount of US dollars as quota units, exactly."""
    try:
        units = Decimal(text) * QUOTA_PER_USD
    except ArithmeticError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of US dollars such as 2.50") from None
    if not units.is_finite() or units != units.to_integral_value():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of quota units: the smallest is 0.000002")
    return _within(units, text)


def quota(text: str) -> Quota:
    """Quota units."""
    try:
        units = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of quota units") from None
    return _within(Decimal(units), text)


def _within(units: Decimal, text: str) -> Quota:
    if abs(units) > MAX_QUOTA:
        raise argparse.ArgumentTypeError(f"{text!r} is too large: {MAX_QUOTA} quota units are the most")
    return int(units)


def read_secret(prompt: str, *, from_stdin: bool, option: str, repeat: bool = False) -> str:
    """A secret from the first line of stdin, or typed unseen at the terminal.

    Raises: `Misused` when there is no terminal to type at, or two entries differ.
    """
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Misused(f"there is no terminal to ask for the {prompt.lower()}: pipe it in and add {option}")
    secret = getpass.getpass(f"{prompt}: ")
    if repeat and getpass.getpass(f"{prompt} again: ") != secret:
        raise Misused("the two entries differ: try again")
    return secret
