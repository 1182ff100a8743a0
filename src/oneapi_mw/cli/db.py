"""`oneapi-mw db`: the tables."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oneapi_mw.cli.arguments import add_command, add_group
from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.cli.server import run
from oneapi_mw.cli.settings import read_settings
from oneapi_mw.cli.translate import translated
from oneapi_mw.resources import database_url
from oneapi_mw.settings import Settings
from oneapi_mw.store import schema
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database


def add_arguments(command: argparse.ArgumentParser) -> None:
    commands = add_group(command)
    add_command(
        commands,
        "upgrade",
        "Create or upgrade the tables; a server does so itself when it starts.",
        run_upgrade,
        examples="oneapi-mw db upgrade",
    )
    add_command(
        commands,
        "check",
        "Compare the tables with what this version needs; changes nothing.",
        run_check,
        examples="oneapi-mw db check",
    )


def run_upgrade(args: argparse.Namespace) -> int:
    settings = read_settings()
    with translated():
        run(_upgrade(settings))
    print(f"{database_url(settings)} is up to date")
    return 0


def run_check(args: argparse.Namespace) -> int:
    settings = read_settings()
    require_file(database_url(settings))
    with translated():
        problems = run(_check(settings))
    if problems:
        raise CommandFailed("; ".join(problems))
    print(f"{database_url(settings)} is as this version needs it")
    return 0


async def _upgrade(settings: Settings) -> None:
    async with opened(settings) as database:
        await schema.upgrade(database)


async def _check(settings: Settings) -> list[str]:
    async with opened(settings) as database:
        return await problems_of(database)


def require_file(url: DatabaseUrl) -> None:
    """Raises `CommandFailed` for a SQLite file that is not there: connecting would make it."""
    path = url.path
    if path is not None and not Path(path).exists():
        raise CommandFailed(f"there is no SQLite file {path!r} yet: run 'oneapi-mw db upgrade', or change SQLITE_PATH")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The configured database, as it is."""
    database = Database(database_url(settings))
    await database.start()
    try:
        yield database
    finally:
        await database.aclose()


async def problems_of(database: Database) -> list[str]:
    """What is wrong with the tables, in words; a migration that is missing explains all other differences."""
    try:
        await schema.require_current(database)
    except schema.SchemaError as exc:
        return [str(exc)]
    return [f"the tables differ: {difference}" for difference in await schema.check(database)]
