"""Commands that work on the database of the settings, whether or not a server runs.

A running gateway sees what they change within seconds: its caches live no longer.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeAlias, TypeVar

from oneapi_mw.cli.arguments import Run
from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.cli.server import run
from oneapi_mw.cli.settings import read_settings
from oneapi_mw.cli.translate import translated
from oneapi_mw.resources import open_store
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store
from oneapi_mw.store.records import Page, UserRecord

ROWS_AT_ONCE = 500

T = TypeVar("T")

Work: TypeAlias = Callable[[argparse.Namespace, Store, Settings], Awaitable[None]]


def with_store(work: Work) -> Run:
    """`work` as the body of a command: given the opened store, its errors as one line."""

    @wraps(work)
    def command(args: argparse.Namespace) -> int:
        settings = read_settings()
        with translated():
            run(_run(work, args, settings))
        return 0

    return command


async def _run(work: Work, args: argparse.Namespace, settings: Settings) -> None:
    async with open_store(settings) as store:
        await work(args, store, settings)


async def find_user(store: Store, name: str) -> UserRecord:
    """The user of a name or e-mail address. Raises `CommandFailed`."""
    user = await store.users.find_login(name)
    if user is None:
        raise CommandFailed(f"there is no user {name!r}: see 'oneapi-mw user list'")
    return user


async def all_rows(read: Callable[[Page], Awaitable[tuple[list[T], int]]]) -> list[T]:
    """Every row of a paged list, oldest first."""
    found: list[T] = []
    while True:
        rows, total = await read(Page(len(found), ROWS_AT_ONCE, descending=False))
        found += rows
        if not rows or len(found) >= total:
            return found
