"""Looking at the books from outside: the audit of a whole database, and how the ledger stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import case, func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.audit import CHECKS, Check
from oneapi_mw.ledger.base import EXTERNAL, Finding
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.operation import OPEN
from oneapi_mw.store.tables import metadata
from oneapi_mw.types import Quota

EXAMINED = ("users", "tokens", "channels", "billing_holds", "logs")
_HOLDS, _OUTBOX, _EVENTS = (metadata.tables[f"billing_{name}"] for name in ("holds", "outbox", "events"))


@immutable
class Examined:
    """A check that was made."""

    check: Check
    findings: list[Finding]
    unnamed: int
    """Deviations beyond the ones in `findings`."""


@dataclass(slots=True)
class Audit:
    """What an audit found, in the order of the checks."""

    rows: dict[str, int] = field(default_factory=dict)
    """How much there was to look at, by table."""
    checks: list[Examined] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        return [finding for examined in self.checks for finding in examined.findings]


async def examine(
    database: Database, *, most: int | None = None, progress: Callable[[int, Check], None] = lambda done, check: None
) -> Audit:
    """Check the invariants over the whole database, in one snapshot: nobody is held up, and nothing moves meanwhile.

    Args:
        most: deviations that are named per check; `None` names all.
        progress: told before each check, with the number of those made.

    Raises: `StoreUnavailable`.
    """
    audit = Audit()
    async with database.snapshot(unhurried=True) as connection:
        now_ms = (await connection.execute(select(database.now_ms))).scalar_one()
        for name in EXAMINED:
            rows = select(func.count()).select_from(metadata.tables[name])
            audit.rows[name] = (await connection.execute(rows)).scalar_one()
        for done, check in enumerate(CHECKS):
            progress(done, check)
            audit.checks.append(await _carry_out(connection, check, now_ms, most))
    return audit


async def _carry_out(connection: AsyncConnection, check: Check, now_ms: int, most: int | None) -> Examined:
    result = await connection.execute(text(check.sql), check.values(now_ms))
    named = result.fetchall() if most is None else result.fetchmany(most)
    unnamed = 0
    while most is not None and (further := result.fetchmany(1000)):
        unnamed += len(further)
    return Examined(check, check.findings(named), unnamed)


@immutable
class Standing:
    """What the ledger has not finished."""

    open_holds: int
    external_holds: int
    """Of the open ones, those of other services: theirs may be old."""
    held: Quota
    """Quota that the open ones have set aside."""
    oldest_seconds: float
    """How long ago the oldest open one of a request was made; 0 without any."""
    late_holds: int
    """Open ones whose lease has ended: the next sweep ends them."""
    outbox: int
    """Charges that channel totals do not have yet."""
    events: int
    """Events nobody was told of yet."""


async def standing(database: Database) -> Standing:
    """Raises `StoreUnavailable`."""
    is_open = _HOLDS.c.state == literal_column(str(OPEN))
    external = _HOLDS.c.kind == EXTERNAL
    asked = select(
        func.count(),
        func.count(case((external, 1))),
        func.coalesce(func.sum(_HOLDS.c.amount), 0),
        func.min(case((~external, _HOLDS.c.created_at))),
        func.count(case((_HOLDS.c.lease_until <= database.now_ms, 1))),
        database.now_ms,
    ).where(is_open)
    async with database.snapshot() as connection:
        number, foreign, held, oldest, late, now_ms = (await connection.execute(asked)).one()
        outbox = (await connection.execute(select(func.count()).select_from(_OUTBOX))).scalar_one()
        events = (await connection.execute(select(func.count()).select_from(_EVENTS))).scalar_one()
    age = max(0, now_ms - oldest) / 1000 if oldest is not None else 0.0
    return Standing(number, foreign, int(held), age, late, outbox, events)
