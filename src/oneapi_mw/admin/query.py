"""Path and query parameters: references, pages, filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from starlette.datastructures import QueryParams

from oneapi_mw.admin.body import MAX_INTEGER
from oneapi_mw.admin.endpoint import Call
from oneapi_mw.admin.envelope import BadReference, Refusal
from oneapi_mw.immutable import immutable
from oneapi_mw.store.records import Page

DEFAULT_PAGE_SIZE = 10
MAX_PAGE = 1_000_000_000
MAX_KEYWORD = 64
UNPAGED = 1_000
"""Rows of a search that has no pages."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def reference(text: str | None, *, what: str = "resource reference") -> str:
    """A row's uuid in its canonical form. Raises `BadReference`; integers are never references."""
    value = (text or "").strip().lower()
    if not _UUID.fullmatch(value):
        raise BadReference(f"invalid {what}")
    return value


def path_reference(call: Call) -> str:
    """The uuid in the path."""
    return reference(call.request.path_params["uuid"])


def body_reference(uuid: str | None) -> str:
    """The uuid in a body; an integer `id` beside it means nothing."""
    if not uuid:
        raise BadReference("resource uuid is required")
    return reference(uuid)


@immutable
class Sorting:
    """Which columns a list can be sorted by.

    `legacy`: columns that the older `order=<column>` names, without `sort`.
    """

    columns: frozenset[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    legacy: frozenset[str] = frozenset()

    def of(self, query: QueryParams) -> tuple[str, bool]:
        """Column and whether it descends; newest first for what is not known."""
        column, order = first(query, "sort", "sort_by"), first(query, "order", "sort_order")
        if not column and order in self.legacy:
            return order, True
        column = self.aliases.get(column, column)
        if column not in self.columns:
            return "id", True
        return column, order != "asc"


def page(call: Call, sorting: Sorting) -> Page:
    """The page asked for: `p` counts from zero, `size` is capped, nonsense means the default."""
    query = call.request.query_params
    number = min(max(integer(query.get("p")), 0), MAX_PAGE)
    size = integer(first(query, "size", "items_per_page"))
    size = min(size if size > 0 else DEFAULT_PAGE_SIZE, call.services.max_items_per_page)
    column, descending = sorting.of(query)
    return Page(offset=number * size, limit=size, sort=column, descending=descending)


def unpaged(call: Call, sorting: Sorting) -> Page:
    """All rows of a search that has no pages."""
    column, descending = sorting.of(call.request.query_params)
    return Page(limit=UNPAGED, sort=column, descending=descending)


def keyword(call: Call) -> str:
    """The search word. Raises `Refusal` when it is longer than any search needs."""
    value = text(call.request.query_params, "keyword").strip()
    if len(value) > MAX_KEYWORD:
        raise Refusal(f"keyword is too long: at most {MAX_KEYWORD} characters")
    return value


def text(query: QueryParams, name: str) -> str:
    """A text filter, empty when absent. NUL matches nothing and PostgreSQL refuses it."""
    value = query.get(name, "")
    if "\0" in value:
        raise Refusal(f"{name} must not contain NUL characters")
    return value


def integer(value: str | None) -> int:
    """A number of seconds, a page, a type; 0 for anything that is not an integer of a sane size."""
    if value is None or not _INTEGER.fullmatch(value.strip()):
        return 0
    number = int(value)
    return number if abs(number) <= MAX_INTEGER else 0


def first(query: QueryParams, *names: str) -> str:
    """The first parameter that is given, under any of its names."""
    for name in names:
        if query.get(name):
            return query[name]
    return ""
