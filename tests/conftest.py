"""Fixtures every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support import servers


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """asyncio on uvloop, as the server runs; trio is not promised."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseUrl]:
    """An empty database without tables, on each kind of server."""
    url = await servers.fresh_database(request.param, tmp_path)
    yield url
    await servers.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
async def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseUrl]:
    """A database with all tables and no rows, on each kind of server."""
    url = await servers.migrated_database(request.param, tmp_path)
    yield url
    await servers.drop_database(url)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis that other tests use too: begin every key with something of your own."""
    return servers.redis_server()
