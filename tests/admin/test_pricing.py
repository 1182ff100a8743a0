"""Prices over the management API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi_mw.pricing.live import LivePrices
from oneapi_mw.pricing.shipped import shipped_table
from tests.admin.world import UNKNOWN, World

CONFIGS = {"gpt-4o": {"ratio": 1.25, "completion_ratio": 4}}


async def test_prices_of_a_channel(world: World) -> None:
    channel = await world.channel(model_ratio='{"old": 1}')
    path, by = f"/api/channel/pricing/{channel.uuid}", world["admin"].bearer
    empty = {"model_ratio": {"old": 1}, "completion_ratio": {}, "model_configs": {}, "tooling": None}
    assert (await world.get(path, by)).data == empty
    tooling = {"whitelist": ["web_search"], "pricing": {"web_search": {"usd_per_call": 0.01}}}
    for given in (CONFIGS, json.dumps(CONFIGS)):
        (await world.put(path, by, {"model_configs": given, "tooling": tooling})).done()
        assert (await world.get(path, by)).data == {
            "model_ratio": {},
            "completion_ratio": {},
            "model_configs": CONFIGS,
            "tooling": tooling,
        }
    (await world.put(path, by, {"model_configs": None})).done()
    assert (await world.get(path, by)).data["model_configs"] == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model_configs": {"a": {"ratio": -1}}}, "a: 'ratio' must not be negative"),
        ({"model_configs": {"": {"ratio": 1}}}, "write its name"),
        ({"model_configs": {"a": {"ratio": 1, "tiers": 3}}}, "a: tiers must be a list of objects"),
        ({"model_configs": {"a": {"input_usd_per_mtok": 1, "time_windows": 3}}}, "a: time_windows must be a list"),
        ({"model_configs": "{"}, "not valid JSON"),
        ({"model_configs": {"a": {"output_usd_per_mtok": 1}}}, "a: a price card needs an input price"),
        ({"model_configs": {"a": {"ratio": 1, "time_windows": [{"timezone": "x", "overlay": {}}]}}}, "timezone"),
        ({"model_ratio": {"a": "x"}}, "numbers from 0 up"),
        ({"tooling": "[]"}, "tooling"),
        ({"tooling": {"pricing": {"web_search": {}}}}, "usd_per_call"),
    ],
)
async def test_wrong_prices_are_refused(world: World, body: dict[str, Any], message: str) -> None:
    channel = await world.channel()
    (await world.put(f"/api/channel/pricing/{channel.uuid}", world["admin"].bearer, body)).refused(message)


async def test_a_channel_that_is_not_there(world: World) -> None:
    by = world["admin"].bearer
    (await world.get(f"/api/channel/pricing/{UNKNOWN}", by)).refused("not found")
    (await world.put(f"/api/channel/pricing/{UNKNOWN}", by, {"model_configs": {}})).refused("not found")


async def test_shipped_prices_of_a_provider(world: World) -> None:
    world.configure(prices=LivePrices(shipped_table()))
    path, by = "/api/channel/default-pricing", world["admin"].bearer
    data = (await world.get(path, by, query={"type": 1})).data
    ratios, completions = json.loads(data["model_ratio"]), json.loads(data["completion_ratio"])
    assert (ratios["gpt-4o"], completions["gpt-4o"]) == (1.25, 4)
    assert json.loads(data["model_configs"])["gpt-4o"]["input_usd_per_mtok"] == "2.5"
    assert json.loads(data["tooling"])["pricing"]["file_search"] == {"usd_per_call": "0.0025"}
    for query, message in (({}, "Invalid channel type"), ({"type": "x"}, "Invalid"), ({"type": 999}, "Unsupported")):
        (await world.get(path, by, query=query)).refused(message)


async def test_models_without_a_price(world: World) -> None:
    by = world["admin"].bearer
    assert (await world.get("/api/pricing/missing", by)).json()["data"] == []
    world.configure(without_price=lambda: {"b": ["two"], "a": ["one", "two"]})
    answer = await world.get("/api/pricing/missing", by)
    assert answer.json()["total"] == 2
    assert answer.data == [{"model": "a", "channels": ["one", "two"]}, {"model": "b", "channels": ["two"]}]


async def test_prices_for_all_channels(world: World) -> None:
    prices = LivePrices(shipped_table())
    world.configure(prices=prices)
    path, admin, root = "/api/pricing/overrides", world["admin"].bearer, world["root"].bearer
    overrides = {"models": {"mine": {"input_usd_per_mtok": 3}}}
    assert (await world.get(path, admin)).data == {}
    assert (await world.put(path, admin, {"overrides": overrides})).json()["success"] is False
    (await world.put(path, root, {"overrides": overrides})).done()
    assert (await world.get(path, admin)).data == overrides
    assert prices.book.price("mine") is not None  # at once
    (await world.put(path, root, {"overrides": {"models": {"mine": {"ratio": -1}}}})).refused("mine: 'ratio'")
    (await world.put(path, root, overrides)).refused('{"overrides": {"models": {"gpt-4o":')
    (await world.put("/api/pricing/groups", root, {"default": 1})).refused('{"ratios": {"default": 1, "vip": 0.8}}')
    assert (await world.get(path, admin)).data == overrides


async def test_group_ratios_are_checked_before_they_are_in_force(world: World) -> None:
    path, admin, root = "/api/pricing/groups", world["admin"].bearer, world["root"].bearer
    assert (await world.get(path, admin)).data == {"default": 1, "vip": 1, "svip": 1}
    prices = LivePrices()
    world.configure(prices=prices)
    (await world.put(path, root, {"ratios": {"vip": 0.8}})).done()
    assert prices.group_ratios == {"vip": 800_000}
    for ratios in ({"vip": -1}, {"vip": "x"}, {}):
        (await world.put(path, root, {"ratios": ratios})).refused("GroupRatio")
    assert (await world.get(path, admin)).data == {"vip": 0.8}
    assert (await world.store.options.all())["GroupRatio"] == '{"vip":0.8}'
