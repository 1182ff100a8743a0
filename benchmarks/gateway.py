"""The gateway as it is installed, in front of the mock upstream: `oneapi_mw.asgi:app` with everything on.

Durable SQLite (or the database of BENCH_DSN), a limit that is counted but never reached, one channel, and root's
API key, whose user is rich enough.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.keys import KEY
from oneapi_mw import Gateway, Settings

APP = "oneapi_mw.asgi:app"


def environment(folder: Path) -> dict[str, str]:
    """The settings of the gateway under test."""
    return {
        "SQL_DSN": os.environ.get("BENCH_DSN", ""),
        "SQLITE_PATH": str(folder / "bench.db"),
        "ONEAPI_SECRET_KEY": "benchmark" * 4,
        "INITIAL_ROOT_TOKEN": KEY,
        "INITIAL_ROOT_PASSWORD": "benchmark" * 2,
        "GLOBAL_RELAY_RATE_LIMIT": "1000000000",
    }


async def prepare(folder: Path, upstream: str) -> None:
    """Make the database, with a channel to `upstream`."""
    gateway = Gateway(Settings.from_environment(environment(folder), env_file=None))
    async with gateway.lifespan():
        await gateway.store.channels.create(
            {"type": 50, "key": "sk-up", "name": "mock", "base_url": upstream, "models": "gpt-4o-mini"}
        )
