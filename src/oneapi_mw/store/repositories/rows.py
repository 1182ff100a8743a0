"""What the repositories share: rows to insert, and pages of rows to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, Select, Table, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw import jsontext
from oneapi_mw.store.dsn import Dialect
from oneapi_mw.store.records import Page
from oneapi_mw.store.tables import Base, metadata

USERS, TOKENS, CHANNELS, LOGS, OPTIONS, SESSIONS, HOLDS, ENTRIES, TRANSACTIONS, REDEMPTIONS, CARDS = (
    metadata.tables[name]
    for name in (
        "users",
        "tokens",
        "channels",
        "logs",
        "options",
        "sessions",
        "billing_holds",
        "billing_entries",
        "token_transactions",
        "redemptions",
        "price_cards",
    )
)


def columns_of(row: Base) -> dict[str, Any]:
    """The columns of a new row, defaults filled in; the database gives the id."""
    values = {attribute.columns[0].name: getattr(row, attribute.key) for attribute in inspect(type(row)).column_attrs}
    return {name: value for name, value in values.items() if name != "id"}


async def insert_row(connection: AsyncConnection, table: Table, row: Base) -> int:
    """Insert `row`; returns its id."""
    result = await connection.execute(table.insert().values(columns_of(row)))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def starts_with(column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Whether a text begins with `word`, case counting everywhere: what LIKE makes of case differs."""
    return func.substr(column, 1, len(word)) == word


def contains(dialect: Dialect, column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Whether a text has `word` in it, case counting everywhere."""
    position = func.strpos if dialect == "postgresql" else func.instr
    return position(column, word) > 0


async def read_page(
    connection: AsyncConnection,
    source: FromClause,
    where: Sequence[ColumnElement[bool]],
    page: Page,
    *,
    first: Sequence[str] = (),
) -> tuple[Sequence[Row[Any]], int]:
    """The rows of a page and how many there are in all.

    `first` are columns that sort before the page's own. Equal rows are in the order of their ids.
    """
    names = dict.fromkeys((*first, page.sort, "id"))
    order = [source.c[name].desc() if page.descending else source.c[name].asc() for name in names]
    rows: Select[Any] = select(source).where(*where).order_by(*order).offset(page.offset).limit(page.limit)
    total = await connection.scalar(select(func.count()).select_from(source).where(*where))
    return (await connection.execute(rows)).all(), int(total or 0)


def stored_json(text: str | None) -> Any:
    """The JSON in a column; `None` when there is none or it is not readable."""
    try:
        return jsontext.loads(text.encode()) if text else None
    except ValueError:
        return None
