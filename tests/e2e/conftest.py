"""A provider and a gateway, served on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support import servers
from tests.support.serving import Site, site
from tests.support.vendor import Vendor, vendor


@pytest.fixture
async def upstream() -> AsyncIterator[Vendor]:
    async with vendor() as provider:
        yield provider


@pytest.fixture
async def sqlite_url(tmp_path: Path) -> DatabaseUrl:
    """A migrated SQLite file, for tests where the kind of database does not matter."""
    return await servers.migrated_database("sqlite", tmp_path)


@pytest.fixture
async def gateway(sqlite_url: DatabaseUrl, upstream: Vendor) -> AsyncIterator[Site]:
    """A gateway on hypercorn whose one channel leads to `upstream`."""
    async with site(sqlite_url) as ready:
        await ready.add_channel(upstream.url)
        yield ready
