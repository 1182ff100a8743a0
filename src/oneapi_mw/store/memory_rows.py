"""What the repositories in dictionaries share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeVar

from oneapi_mw.store.records import Page

R = TypeVar("R")


def ms(clock: Callable[[], float]) -> int:
    return int(clock() * 1000)


def page_of(rows: list[R], page: Page, *, first: Sequence[str] = ()) -> tuple[list[R], int]:
    """The rows of a page and how many there are in all; equal rows are in the order of their ids."""
    ordered = sorted(rows, key=attrgetter(*first, page.sort, "id"), reverse=page.descending)
    return ordered[page.offset : page.offset + page.limit], len(rows)
