"""A piece of the same day as `tests.relay.test_day`, over real sockets, with the books in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware

from oneapi_mw import Gateway
from oneapi_mw.ledger.rollup import Rollup
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.pipeline import insert_before
from oneapi_mw.store.dsn import DatabaseUrl
from tests.e2e.test_books import rows
from tests.support import servers
from tests.support.day import GROUPS, Account, AtInstant, Day, Request, channel_fields
from tests.support.serving import Site, data_of, logged_in, serving, settings_for

SIZE, AT_ONCE = 200, 12
FUNDS = 10**10
PASSWORD = "a password for one day"


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[DatabaseUrl]:
    url = await servers.migrated_database("postgresql", tmp_path)
    yield url
    await servers.drop_database(url)


async def open_accounts(site: Site) -> tuple[list[Account], dict[int, str]]:
    """A user in each group with two tokens; and the keys by token."""
    await site.http.put(site.base + "/api/pricing/groups", json={"ratios": {n: float(r) for n, r in GROUPS.items()}})
    accounts, keys = [], {}
    for number, group in enumerate(GROUPS):
        name = f"user-{group}"
        made = {"username": name, "password": PASSWORD, "quota": FUNDS, "group": group}
        await site.post("/api/user/", made)
        async with httpx.AsyncClient(trust_env=False) as http:
            data_of(await http.post(site.base + "/api/user/login", json={"username": name, "password": PASSWORD}))
            for limited in (False, True):
                body = {"name": f"{name}-{limited}", "remain_quota": FUNDS, "unlimited_quota": not limited}
                token = data_of(await http.post(site.base + "/api/token/", json={**body, "expired_time": -1}))
                account = Account(10 * number + limited, number, group)
                accounts.append(account)
                keys[account.token] = token["key"]
    return accounts, keys


async def ask(site: Site, http: httpx.AsyncClient, request: Request, key: str) -> None:
    url = f"{site.base}{request.path}?{request.query}"
    headers = request.headers(key)
    if request.trouble == "leaves-early":
        sending = asyncio.create_task(http.post(url, content=request.body, headers=headers))
        await asyncio.wait([sending], timeout=0.02)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return
    async with http.stream("POST", url, content=request.body, headers=headers) as response:
        async for _ in response.aiter_raw():
            if request.trouble == "leaves":
                return


async def test_a_piece_of_the_day_over_sockets(postgres: DatabaseUrl) -> None:
    ids: dict[str, int] = {}

    def edit(stages: list[Middleware]) -> list[Middleware]:
        return insert_before(stages, ErrorsMiddleware, Middleware(AtInstant, ids=ids))

    gateway = Gateway(settings_for(postgres, retry_times=1), stages=edit)
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(serving(gateway))
        site = await stack.enter_async_context(logged_in(base, gateway))
        accounts, keys = await open_accounts(site)
        day = Day(7, SIZE, accounts)
        # a socket that is closed without an answer looks like an error of the stand-in's server
        silent = {n: replace(each, trouble="") for n, each in day.requests.items() if each.trouble == "falls-silent"}
        day.requests.update(silent)
        for provider in day.providers.values():
            fields = channel_fields(provider, await stack.enter_async_context(serving(provider.vendor)))
            texts = {name: json.dumps(fields[name]) for name in ("model_mapping", "model_configs", "config")}
            lists = {"models": ",".join(fields["models"]), "group": ",".join(GROUPS)}
            await site.post("/api/channel/", {**fields, **texts, **lists})
        numbers = iter(day.requests.values())

        async def caller(http: httpx.AsyncClient) -> None:
            for request in numbers:
                await ask(site, http, request, keys[request.account.token])

        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            await asyncio.gather(*(caller(http) for _ in range(AT_ONCE)))
        assert await gateway.drain()
        assert not await gateway.ledger.audit()
    await check(postgres, day, ids)


async def check(database: DatabaseUrl, day: Day, ids: dict[str, int]) -> None:
    rollup = Rollup(database)
    await rollup.run()
    await rollup.aclose()
    logs = await rows(database, "SELECT request_id, quota, channel_name FROM logs WHERE type = 2")
    charged = {ids[row["request_id"]]: int(row["quota"]) for row in logs}
    assert len(charged) == len(logs) > SIZE * 3 // 4
    certain = {number: amount for number, amount in charged.items() if number in day.record}
    assert certain == {number: day.cost(number) for number in day.record}
    assert charged.keys() - certain.keys() <= day.broken
    users, tokens, _ = day.sums(charged)
    for number, group in enumerate(GROUPS):
        [user] = await rows(
            database, f"SELECT id, quota, used_quota, request_count FROM users WHERE username = 'user-{group}'"
        )
        assert (user["quota"], user["used_quota"]) == (FUNDS - users[number], users[number])
        asked = [n for n in charged if day.requests[n].account.user == number]
        assert user["request_count"] == len(asked)
        for limited in (False, True):
            name = f"user-{group}-{limited}"
            [token] = await rows(database, f"SELECT remain_quota, used_quota FROM tokens WHERE name = '{name}'")
            used = tokens[10 * number + limited]
            assert token["used_quota"] == used
            assert not limited or token["remain_quota"] == FUNDS - used
    by_channel = Counter[str]()
    for row in logs:
        by_channel[row["channel_name"]] += row["quota"]
    channels: list[dict[str, Any]] = await rows(database, "SELECT name, used_quota FROM channels")
    assert {row["name"]: row["used_quota"] for row in channels if row["used_quota"]} == +by_channel
    expected = day.sums({number: day.cost(number) for number in day.record})[2]
    unknown = Counter[str]()
    for row in logs:
        if ids[row["request_id"]] not in certain:
            unknown[row["channel_name"]] += row["quota"]
    names = {n: f"{each.vendor.name}-{each.place}" for n, each in day.providers.items()}
    assert by_channel - unknown == +Counter({names[n]: amount for n, amount in expected.items()})
