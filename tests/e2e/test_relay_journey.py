"""From an empty database to the cost of a request, over HTTP alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.serving import Site, site
from tests.support.vendor import Vendor

CHARGED = 3  # ceil(0.075 * (11 + 4 * 7)): gpt-4o-mini at 0.15 and 0.60 US dollars per million tokens


@pytest.fixture
async def fresh(migrated_url: DatabaseUrl) -> AsyncIterator[Site]:
    async with site(migrated_url) as ready:
        yield ready


async def test_relay_journey(fresh: Site, upstream: Vendor) -> None:
    for channel in await fresh.get("/api/channel/", p=0):
        assert (await fresh.http.delete(f"{fresh.base}/api/channel/{channel['uuid']}")).json()["success"]
    await fresh.add_channel(upstream.url)
    await fresh.add_token()
    token = (await fresh.get("/api/token/", p=0))[0]
    assert token["name"] == "relay-token"
    before = (await fresh.get("/api/user/self"))["quota"]

    key = token["key"] if token["key"].startswith("sk-") else "sk-" + token["key"]
    answer = await fresh.chat("sk-" + key)  # prefixed twice: scripts for One API do this
    assert answer.status_code == 200
    assert answer.json()["id"] == "chatcmpl-mock-0001"
    assert answer.json()["choices"][0]["message"]["content"] == "mock response"
    request_id = answer.headers["x-oneapi-request-id"]

    after = (await fresh.get("/api/user/self"))["quota"]
    cost = (await fresh.http.get(f"{fresh.base}/api/cost/request/{request_id}")).json()
    [of_token] = (await fresh.http.get(fresh.base + "/api/token/logs", headers=bearer(key))).json()["data"]
    of_self = (await fresh.get("/api/log/self", p=0))[0]
    of_all = (await fresh.get("/api/log/", p=0))[0]

    assert before - after == of_all["quota"] == cost["quota"] == CHARGED
    assert cost["state"] == "final"
    assert cost["cost_usd"] == CHARGED / 500_000
    assert of_all["uuid"] == of_self["uuid"] == of_token["uuid"]
    expected = {
        "type": 2,
        "token_name": "relay-token",
        "channel_name": "relay-mock-channel",
        "model_name": "gpt-4o-mini",
        "origin_model_name": "gpt-4o-mini",
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "is_stream": False,
        "request_id": request_id,
    }
    assert {name: of_all[name] for name in expected} == expected
    [left] = await fresh.get("/api/token/search", keyword="relay-token")
    assert left["remain_quota"] == 500_000 - CHARGED
    assert left["used_quota"] == CHARGED


async def test_the_very_next_request_sees_the_charge(fresh: Site, upstream: Vendor) -> None:
    await fresh.add_channel(upstream.url)
    token = await fresh.add_token()
    quotas = []
    for _ in range(5):
        await fresh.chat(token["key"])
        quotas.append((await fresh.get("/api/user/self"))["quota"])
    assert [a - b for a, b in pairwise(quotas)] == [CHARGED] * 4


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
