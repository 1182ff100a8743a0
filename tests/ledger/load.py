"""A process that keeps a ledger busy: `python -m tests.ledger.load '{"url": {...}, "worker": "w", ...}'`, see `Load`.

Prints what it did, a line each. Imports no more than it needs: starting it is most of what it costs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from oneapi_mw.ledger.base import EXTERNAL, EXTERNAL_USE, ExternalNote, Held, Ledger, LogFacts, Reserve
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.ledger.spool import Spooling
from oneapi_mw.store.dsn import DatabaseUrl

CALLERS = 16
HOARDED = 40
TOLD_EVERY = 50
AMOUNT, FINAL, FALLBACK = 10, 7, 3
FACTS = LogFacts(username="alice", token_name="default", model_name="m", prompt_tokens=7, channel_id=3)
EXTERNAL_FACTS = LogFacts(username="alice", model_name="scan", type=EXTERNAL_USE)


@dataclass(frozen=True)
class Load:
    """What the process does, in this order."""

    url: dict[str, Any]
    """Fields of a `DatabaseUrl`."""
    worker: str
    user: int
    token: int
    clock_ahead: float = 0.0
    """Seconds by which the process believes it is later than it is."""
    lease_seconds: int = 60
    """0: whoever comes after a crash may end its holds at once."""
    spool: str = ""
    """Folder for endings during an outage; none without it."""
    hoards: tuple[tuple[int, int], ...] = ()
    """Users and tokens of whom `HOARDED` holds each are asked for at once and kept; prints `held USER N`."""
    shared: tuple[str, ...] = ()
    """Keys to settle that others settle, too; prints `ended KEY CHARGED FIRST`."""
    ours: int = 0
    """What to settle those at."""
    pairs: int = sys.maxsize
    """So many holds are made and ended, in `CALLERS` tasks; prints a line per 50 that it has been told of."""
    sweeps: bool = False
    """Whether to renew and sweep all the while."""
    waits: bool = False
    """Make `CALLERS` holds, print `waiting`, read a line, settle them, print `kept KEY SPOOLED` for each, and wait."""


def arguments(url: DatabaseUrl, worker: str, user: int, token: int, **more: Any) -> tuple[str, ...]:
    """What to start Python with."""
    load = Load(asdict(url), worker, user, token, **more)
    return "-m", "tests.ledger.load", json.dumps(asdict(load))


async def main(load: Load) -> None:
    spooling = Spooling(Path(load.spool), 2**20) if load.spool else None
    ledger = open_ledger(DatabaseUrl(**load.url), worker=load.worker, spooling=spooling, grace_seconds=0)
    await ledger.start()
    for user, token in load.hoards:
        requests = [Reserve(secrets.token_hex(16), user, token, AMOUNT, fallback=FALLBACK) for _ in range(HOARDED)]
        answers = await asyncio.gather(*(ledger.reserve(request) for request in requests))
        print("held", user, sum(isinstance(answer, Held) for answer in answers), flush=True)
    for key, answer in zip(
        load.shared,
        await asyncio.gather(*(ledger.settle(key, load.ours, FACTS) for key in load.shared)),
        strict=True,
    ):
        print("ended", key, answer.charged, answer.first, flush=True)
    if load.waits:
        await _wait(ledger, load)
    number = count(1)
    await asyncio.gather(*(_caller(ledger, load, lambda: next(number)) for _ in range(CALLERS)))
    await ledger.aclose()


def _request(load: Load) -> Reserve:
    return Reserve(
        secrets.token_hex(16), load.user, load.token, AMOUNT, fallback=FALLBACK, lease_seconds=load.lease_seconds
    )


async def _caller(ledger: Ledger, load: Load, next_number: Callable[[], int]) -> None:
    for turn in range(load.pairs // CALLERS):
        request = _request(load)
        facts = FACTS
        if turn % 3 == 2:  # an external service's
            note = ExternalNote(request.key, "t", "u", "scan")
            log = {"type": EXTERNAL_USE, "content": "scan"}
            request = replace(request, kind=EXTERNAL, fallback=AMOUNT, note=note, log=log)
            facts = EXTERNAL_FACTS
        assert isinstance(await ledger.reserve(request), Held)
        if turn % 4 == 0:
            await ledger.extend(request.key, 5, mark=4)
        if load.sweeps and turn % 3 == 0:
            await ledger.renew({})
            await ledger.sweep()
        if turn % 5 == 0:
            await ledger.void(request.key)
        else:
            await ledger.settle(request.key, FINAL, facts)
        number = next_number()
        if number % TOLD_EVERY == 0:
            print(number, flush=True)


async def _wait(ledger: Ledger, load: Load) -> None:
    requests = [_request(load) for _ in range(CALLERS)]
    for request in requests:
        assert isinstance(await ledger.reserve(request), Held)
    print("waiting", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

    async def settle(key: str) -> None:
        answer = await ledger.settle(key, FINAL, FACTS)
        print("kept", key, answer.spooled, flush=True)

    await asyncio.gather(*(settle(request.key) for request in requests))
    await asyncio.Event().wait()


if __name__ == "__main__":
    read = Load(**json.loads(sys.argv[1]))
    really = time.time_ns
    if read.clock_ahead:
        time.time_ns = lambda: really() + int(read.clock_ahead * 1e9)
        time.time = lambda: time.time_ns() / 1e9
    asyncio.run(main(read))
