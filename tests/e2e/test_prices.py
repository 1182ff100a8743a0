"""Prices of a served gateway: changed while it runs, and worked out again from what it wrote."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.pricing.recompute import recompute
from oneapi_mw.store.dsn import DatabaseUrl
from tests.support.serving import Site, site
from tests.support.vendor import Vendor, buffered, stream


async def test_a_bill_is_worked_out_again_from_the_database(gateway: Site) -> None:
    await gateway.chat()
    row = (await gateway.get("/api/log/", p=0))[0]
    metadata = row["metadata"]
    facts = (orjson.loads(metadata) if isinstance(metadata, str) else metadata)["price"]
    assert (facts["layer"], "card" in facts) == ("provider", False)
    card = await gateway.gateway.store.cards.find(facts["card_id"])
    assert card is not None
    assert recompute(row, facts, orjson.loads(card)) == row["quota"] == 3


@pytest.mark.parametrize("as_stream", [False, True], ids=["buffered", "streamed"])
async def test_an_answer_with_hosted_tools_is_billed_call_by_call(
    migrated_url: DatabaseUrl, upstream: Vendor, as_stream: bool
) -> None:
    """At the shipped prices: 0.01 USD a search, 0.0025 a file search, 0.03 a container."""
    calls: list[dict[str, Any]] = [
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        {"type": "web_search_call", "action": {"type": "open_page", "url": "https://e.org"}},
        {"type": "file_search_call", "queries": ["q"]},
        {"type": "file_search_call", "queries": ["r"]},
        {"type": "code_interpreter_call", "container_id": "one", "code": "1"},
        {"type": "code_interpreter_call", "container_id": "one", "code": "2"},
    ]
    output = [{"id": f"c_{number}", "status": "completed", **call} for number, call in enumerate(calls)]
    usage = {"input_tokens": 1000, "output_tokens": 1000, "total_tokens": 2000}
    answer = {"id": "resp_1", "object": "response", "status": "completed", "output": output, "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**answer, "status": "in_progress", "output": [], "usage": None}},
        *(
            {"type": f"response.output_item.{phase}", "output_index": index, "item": item}
            for index, item in enumerate(output)
            for phase in ("added", "done")
        ),
        {"type": "response.completed", "response": answer},
    ]
    upstream.answer = stream(events, done=False) if as_stream else buffered(answer)
    declared = [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["v"]},
                {"type": "code_interpreter", "container": {"type": "auto"}}]  # fmt: skip
    async with site(migrated_url) as ready:
        await ready.add_channel(upstream.url)
        request = {"model": "gpt-4o-mini", "input": "hello", "tools": declared, "stream": as_stream}
        headers = {"authorization": f"Bearer {ready.key}"}
        response = await ready.http.post(ready.base + "/v1/responses", json=request, headers=headers)
        assert response.status_code == 200, response.text
        [row] = await ready.get("/api/log/", p=0)
        assert row["quota"] == 75 + 300 + 5_000 + 2 * 1_250 + 15_000
        metadata = row["metadata"]
        facts = (orjson.loads(metadata) if isinstance(metadata, str) else metadata)["price"]
        assert facts["parts"] == {"tokens": 375, "media": 0, "tools": 22_500}
        assert "flags" not in facts
        card = await ready.gateway.store.cards.find(facts["card_id"])
        assert card is not None
        assert recompute(row, facts, orjson.loads(card)) == row["quota"]
        assert not await ready.gateway.ledger.audit()


async def test_a_price_and_a_group_ratio_are_in_force_at_once(gateway: Site) -> None:
    overrides = {"models": {"gpt-4o-mini": {"input_usd_per_mtok": 2000, "output_usd_per_mtok": 0}}}
    assert (await gateway.http.put(gateway.base + "/api/pricing/overrides", json={"overrides": overrides})).json()[
        "success"
    ]
    await gateway.chat()
    assert (await gateway.get("/api/log/", p=0))[0]["quota"] == 11_000
    assert (await gateway.http.put(gateway.base + "/api/pricing/groups", json={"ratios": {"default": 0.5}})).json()[
        "success"
    ]
    await gateway.chat()
    assert (await gateway.get("/api/log/", p=0))[0]["quota"] == 5_500


@pytest.mark.parametrize(("mode", "quota"), [("user", 3), ("channel_min", 1)])
async def test_whose_group_ratio_is_charged(migrated_url: DatabaseUrl, upstream: Vendor, mode: str, quota: int) -> None:
    async with site(migrated_url, group_ratio_mode=mode) as ready:
        await ready.add_channel(upstream.url, group="default,vip")
        ratios = {"ratios": {"default": 1, "vip": 0.1}}
        assert (await ready.http.put(ready.base + "/api/pricing/groups", json=ratios)).json()["success"]
        await ready.chat()
        [row] = await ready.get("/api/log/", p=0)
        assert row["quota"] == quota
        assert f"group rate {'1.00' if mode == 'user' else '0.10'}" in row["content"]
        assert not await ready.gateway.ledger.audit()


async def test_a_tool_is_refused_until_its_channel_allows_it(gateway: Site, upstream: Vendor) -> None:
    [made] = await gateway.get("/api/channel/", p=0)
    path = f"{gateway.base}/api/channel/pricing/{made['uuid']}"
    assert (await gateway.http.put(path, json={"tooling": {"whitelist": ["file_search"]}})).json()["success"]
    refused = await gateway.chat(web_search_options={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "tool_not_allowed")
    assert not upstream.requests
    assert await gateway.get("/api/log/", p=0) == []
    tooling = {"whitelist": ["web-search"], "pricing": {"web_search": {"usd_per_call": 0.02}}}
    assert (await gateway.http.put(path, json={"tooling": tooling})).json()["success"]
    assert (await gateway.chat(web_search_options={})).status_code == 200
    assert len(upstream.requests) == 1


async def test_a_model_without_a_price_is_refused_and_listed(gateway: Site) -> None:
    channel = await gateway.get("/api/channel/", p=0)
    await gateway.http.put(
        gateway.base + "/api/channel/", json={"uuid": channel[0]["uuid"], "models": "gpt-4o-mini,mine"}
    )
    refused = await gateway.chat(model="mine")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_price_missing")
    assert await gateway.get("/api/pricing/missing") == [{"model": "mine", "channels": ["relay-mock-channel"]}]
    configs = {"model_configs": {"mine": {"ratio": 1}}}
    await gateway.http.put(f"{gateway.base}/api/channel/pricing/{channel[0]['uuid']}", json=configs)
    assert (await gateway.chat(model="mine")).status_code == 200
    assert await gateway.get("/api/pricing/missing") == []
