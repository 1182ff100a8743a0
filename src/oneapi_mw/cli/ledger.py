"""`oneapi-mw ledger`: whether the books balance, and what is not finished yet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oneapi_mw.cli.arguments import add_command, add_group, add_json, positive
from oneapi_mw.cli.db import opened, problems_of, require_file
from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.cli.output import dollars, print_json, table
from oneapi_mw.cli.server import run
from oneapi_mw.cli.settings import read_settings
from oneapi_mw.cli.translate import translated
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.ledger.audit import CHECKS, Check, explain
from oneapi_mw.ledger.database import Database
from oneapi_mw.ledger.examine import Audit, Standing, examine, standing
from oneapi_mw.ledger.spool import FileState, put_aside, survey
from oneapi_mw.ledger.sql import spool_name
from oneapi_mw.resources import database_url, spooling
from oneapi_mw.settings import Settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    commands = add_group(command)
    audit = add_command(
        commands,
        "audit",
        "Check that the books balance; changes nothing and holds up nobody. Exit code 1 when they do not.",
        run_audit,
        examples="""
        oneapi-mw ledger audit
        oneapi-mw ledger audit --json --most 10
        """,
    )
    audit.add_argument(
        "--most", type=positive, default=100, metavar="N", help="deviations to name per check (default 100)"
    )
    audit.add_argument("--progress", action="store_true", help="say what is checked, also when stderr is no terminal")
    add_json(audit)
    state = add_command(
        commands,
        "status",
        "Show what is set aside and what waits to be written.",
        run_status,
        examples="oneapi-mw ledger status",
    )
    add_json(state)


def run_audit(args: argparse.Namespace) -> int:
    settings = read_settings()
    loud = args.progress or sys.stderr.isatty()

    def progress(done: int, check: Check) -> None:
        if loud:
            print(f"{done + 1}/{len(CHECKS)} {check.invariant} {check.subject}", file=sys.stderr, flush=True)

    with translated():
        audit = run(_audit(settings, args.most, progress))
    if args.json:
        print_json(_audit_view(audit))
    else:
        _print_audit(audit)
    return 1 if audit.findings else 0


def run_status(args: argparse.Namespace) -> int:
    settings = read_settings()
    stands, away = None, None
    try:
        with translated():
            stands = run(_standing(settings))
    except CommandFailed as failed:
        if not isinstance(failed.__cause__, StoreUnavailable):
            raise
        away = failed  # which is when the files matter most
    spool = spooling(settings)
    files = survey(spool.folder) if spool is not None else []
    aside = put_aside(spool.folder) if spool is not None else []
    ours = spool_name(database_url(settings).sqlalchemy)
    if args.json:
        folder = str(spool.folder) if spool is not None else None
        shown = [{**asdict(file), "path": str(file.path), "ours": file.database == ours} for file in files]
        standing_view = asdict(stands) if stands is not None else {}
        print_json({**standing_view, "spool": folder, "files": shown, "rejected": [str(path) for path in aside]})
    else:
        _print_status(stands, files, aside, ours)
    if away is not None:
        raise away
    return 0


def _print_status(stands: Standing | None, files: Sequence[FileState], aside: Sequence[Path], ours: str) -> None:
    if stands is not None:
        print(table(_standing_rows(stands)))
    for file in files:
        print(_file_line(file, ours))
    for path in aside:
        print(f"{path}: could not be carried out: book it by hand, then remove the file")


async def _audit(settings: Settings, most: int, progress: Callable[[int, Check], None]) -> Audit:
    async with _books(settings) as database:
        return await examine(database, most=most, progress=progress)


async def _standing(settings: Settings) -> Standing:
    async with _books(settings) as database:
        return await standing(database)


@asynccontextmanager
async def _books(settings: Settings) -> AsyncIterator[Database]:
    """The configured database. Raises `CommandFailed` when its tables are not those of this version."""
    url = database_url(settings)
    require_file(url)
    async with opened(settings) as tables:
        problems = await problems_of(tables)
    if problems:
        raise CommandFailed("; ".join(problems))
    database = Database(url.sqlalchemy, url.connect_args())
    try:
        yield database
    finally:
        await database.aclose()


def _audit_view(audit: Audit) -> dict[str, Any]:
    deviations = [
        {**asdict(finding), **asdict(explain(examined.check))}
        for examined in audit.checks
        for finding in examined.findings
    ]
    return {
        "balanced": not deviations,
        "rows": audit.rows,
        "checks": len(audit.checks),
        "deviations": deviations,
        "unnamed": sum(examined.unnamed for examined in audit.checks),
    }


def _print_audit(audit: Audit) -> None:
    for examined in audit.checks:
        if not examined.findings:
            continue
        check, explanation = examined.check, explain(examined.check)
        for finding in examined.findings:
            print(f"{finding.invariant} {finding.subject}: {finding.detail}")
        if examined.unnamed:
            print(f"{check.invariant} {check.subject}: and {examined.unnamed} more; --most names more of them")
        print(f"  means: {explanation.means}")
        print(f"  to do: {explanation.advice}")
    looked = ", ".join(f"{number} {name.removeprefix('billing_')}" for name, number in audit.rows.items())
    found = sum(len(examined.findings) + examined.unnamed for examined in audit.checks)
    verdict = f"{found} deviations" if found else "the books balance"
    print(f"{verdict}: {len(audit.checks)} checks over {looked}")


def _standing_rows(stands: Standing) -> list[dict[str, object]]:
    return [
        {"what": "open holds", "number": stands.open_holds, "": f"{dollars(stands.held)} set aside"},
        {"what": "  of other services", "number": stands.external_holds, "": ""},
        {"what": "  past their lease", "number": stands.late_holds, "": "ended by the next sweep"},
        {"what": "  oldest", "number": round(stands.oldest_seconds), "": "seconds"},
        {"what": "outbox", "number": stands.outbox, "": "charges that channel totals do not have yet"},
        {"what": "events", "number": stands.events, "": "to be told"},
    ]


def _file_line(file: FileState, ours: str) -> str:
    about = f"{file.path}: {file.endings} charges, {file.size} bytes, worker {file.worker}"
    if not file.database:
        return f"{file.path}: it cannot be read, or its first line is damaged: nobody replays it"
    if file.database != ours:
        return f"{about}; of another database, {file.database}: start a gateway there"
    if file.living:
        return f"{about}; replayed by it as soon as the database is back"
    return f"{about}; its worker is dead, the next start or sweep of a gateway replays it"
