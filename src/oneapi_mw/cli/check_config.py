"""`oneapi-mw check-config`: the settings in force, and whether a server could start with them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from oneapi_mw.cli.arguments import describe
from oneapi_mw.cli.db import opened, problems_of
from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.cli.output import print_json, print_rows
from oneapi_mw.cli.server import run as run_loop
from oneapi_mw.cli.settings import read_settings
from oneapi_mw.cli.translate import translated
from oneapi_mw.ledger.spool import hindrance
from oneapi_mw.resources import SPOOL, database_url, key_file, spooling
from oneapi_mw.settings import Settings
from oneapi_mw.settings import describe as describe_settings
from oneapi_mw.store.keyring import KeyRing

EXAMPLES = """
oneapi-mw check-config
SQL_DSN=postgres://user:password@db/oneapi oneapi-mw check-config --all
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, run, examples=EXAMPLES)
    command.add_argument("--all", action="store_true", help="also show the settings that have their default")
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Changes nothing: no file is made, no table is touched."""
    settings = read_settings()
    problems = find_problems(settings)
    rows = [
        {"setting": name, "value": value, "default": is_default}
        for name, value, is_default in describe_settings(settings)
    ]
    if args.json:
        print_json({"settings": rows, "warnings": settings.warnings, "problems": problems})
    else:
        shown = [{"setting": row["setting"], "value": row["value"]} for row in rows if args.all or not row["default"]]
        print_rows(shown, as_json=False, nothing="every setting has its default; --all shows them")
        for warning in settings.warnings:
            print(f"warning: {warning}")
        for problem in problems:
            print(f"problem: {problem}", file=sys.stderr)
        if not problems:
            print(f"a server can start with these settings and the database {database_url(settings)}")
    return 1 if problems else 0


def find_problems(settings: Settings) -> list[str]:
    """What keeps a server from starting, in words; everything at once."""
    return [*_key_problems(settings), *_database_problems(settings), *_spool_problems(settings)]


def _key_problems(settings: Settings) -> list[str]:
    path = key_file(settings)
    if settings.secret() is None and not path.exists():
        return _folder_problems(path, "the key file", "ONEAPI_SECRET_KEY")
    try:
        KeyRing.load(settings.secret(), path)
    except ValueError as exc:
        return [str(exc)]
    return []


def _spool_problems(settings: Settings) -> list[str]:
    spool = spooling(settings)
    reason = hindrance(spool.folder) if spool is not None else None
    if spool is None or reason is None:
        return []
    return [f"charges could not wait in the folder {str(spool.folder)!r}, {reason}: change {SPOOL}"]


def _database_problems(settings: Settings) -> list[str]:
    path = database_url(settings).path
    if path is not None:
        found = _folder_problems(Path(path), "the SQLite file", "SQLITE_PATH")
        if found or not Path(path).exists():
            return found  # connecting would make the file; a server does, and its tables with it
    try:
        with translated():
            return run_loop(_look(settings))
    except CommandFailed as failed:
        return [str(failed)]


async def _look(settings: Settings) -> list[str]:
    async with opened(settings) as database:
        return await problems_of(database)


def _folder_problems(path: Path, what: str, setting: str) -> list[str]:
    folder = path.absolute().parent
    if not folder.is_dir():
        return [f"the folder {str(folder)!r} of {what} does not exist: create it, or change {setting}"]
    if not os.access(folder, os.W_OK):
        return [f"the folder {str(folder)!r} of {what} is not writable: change its rights, or {setting}"]
    return []
