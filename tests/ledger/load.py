"""A process that keeps a ledger busy until it is killed: `python -m tests.ledger.load URL WORKER USER TOKEN [PAIRS]`.

`URL` has the fields of a `DatabaseUrl` as JSON. Prints a line per 50 settlements it has been told of. Imports no
more than it needs: starting it is most of what it costs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from dataclasses import replace
from itertools import count

from oneapi_mw.ledger.base import EXTERNAL, EXTERNAL_USE, ExternalNote, Held, Ledger, LogFacts, Reserve
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.store.dsn import DatabaseUrl

CALLERS = 16
TOLD_EVERY = 50
FACTS = LogFacts(username="alice", token_name="default", model_name="m", prompt_tokens=7, channel_id=3)
EXTERNAL_FACTS = LogFacts(username="alice", model_name="scan", type=EXTERNAL_USE)


async def main(url: str, worker: str, user_id: int, token_id: int, pairs: int) -> None:
    ledger = open_ledger(DatabaseUrl(**json.loads(url)), worker=worker)
    await ledger.start()
    numbers = count(1)
    await asyncio.gather(
        *(_caller(ledger, worker, user_id, token_id, pairs // CALLERS, numbers) for _ in range(CALLERS))
    )
    await ledger.aclose()


async def _caller(ledger: Ledger, worker: str, user_id: int, token_id: int, pairs: int, numbers: count[int]) -> None:
    for turn in range(pairs):
        # no lease: whoever comes after a crash may end it at once
        lease_seconds = 0 if worker == "killed" else 60
        request = Reserve(secrets.token_hex(16), user_id, token_id, 10, fallback=3, lease_seconds=lease_seconds)
        facts = FACTS
        if turn % 3 == 2:  # an external service's
            note = ExternalNote(request.key, "t", "u", "scan")
            log = {"type": EXTERNAL_USE, "content": "scan"}
            request, facts = replace(request, kind=EXTERNAL, fallback=10, note=note, log=log), EXTERNAL_FACTS
        assert isinstance(await ledger.reserve(request), Held)
        if turn % 4 == 0:
            await ledger.extend(request.key, 5, mark=4)
        if turn % 5 == 0:
            await ledger.void(request.key)
        else:
            await ledger.settle(request.key, 7, facts)
        number = next(numbers)
        if number % TOLD_EVERY == 0:
            print(number, flush=True)


if __name__ == "__main__":
    address, name, *ids = sys.argv[1:]
    user, token, *limit = map(int, ids)
    asyncio.run(main(address, name, user, token, *(limit or [sys.maxsize])))
