"""Channels as administrators keep them, and who gets to see and to send away their keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi_mw.admin.channel_config import MASK
from oneapi_mw.admin.channels import MAX_KEYS
from oneapi_mw.routing.channel import Channel, ChannelStatus
from oneapi_mw.store.records import ChannelRecord, Page
from tests.admin.world import UNKNOWN, World

KEYS = {
    "uuid",
    "type",
    "key",
    "status",
    "name",
    "weight",
    "created_time",
    "test_time",
    "response_time",
    "base_url",
    "other",
    "balance",
    "balance_updated_time",
    "models",
    "hidden_models",
    "model_configs",
    "group",
    "used_quota",
    "model_mapping",
    "priority",
    "config",
    "ratelimit",
    "system_prompt",
    "testing_model",
    "model_ratio",
    "completion_ratio",
    "inference_profile_arn_map",
    "created_at",
    "updated_at",
}
NEW = {
    "name": "new",
    "type": 1,
    "key": "sk-upstream",
    "base_url": "https://upstream.example",
    "models": "gpt-4o,gpt-4o-mini",
    "group": "default",
    "model_mapping": "",
    "priority": 0,
}


async def create(world: World, **changes: Any) -> ChannelRecord:
    """A channel made through the API."""
    (await world.post("/api/channel/", world["admin"].cookie, {**NEW, **changes})).done()
    return (await rows(world))[0]


async def rows(world: World) -> list[ChannelRecord]:
    """All channels, newest first."""
    found, _ = await world.store.channels.list(Page(limit=100))
    return found


async def row(world: World, uuid: str) -> ChannelRecord:
    found = await world.store.channels.get(uuid)
    assert found is not None
    return found


def usable(world: World) -> list[Channel]:
    return list(world.store.channel_table.snapshot())


async def test_a_new_channel_in_the_list(world: World) -> None:
    await create(world)
    reply = await world.get("/api/channel/", world["admin"].cookie, query={"p": 0})

    (shown,) = reply.data
    assert reply.json()["total"] == 1
    assert shown.keys() == KEYS | {"test_models"}
    expected = {
        "type": 1,
        "key": "",
        "status": 1,
        "name": "new",
        "base_url": "https://upstream.example",
        "models": "gpt-4o,gpt-4o-mini",
        "group": "default",
        "model_mapping": "",
        "config": "",
        **dict.fromkeys(("weight", "priority", "ratelimit", "balance", "used_quota", "test_time", "response_time"), 0),
        **dict.fromkeys(("hidden_models", "model_configs", "system_prompt", "testing_model", "model_ratio")),
        **dict.fromkeys(("completion_ratio", "inference_profile_arn_map", "other")),
    }
    assert {key: shown[key] for key in expected} == expected
    assert shown["test_models"] == ["gpt-4o", "gpt-4o-mini"]


async def test_one_channel_is_the_same_without_test_models(world: World) -> None:
    made = await create(world)
    (listed,) = (await world.get("/api/channel/", world["admin"].cookie)).data
    shown = (await world.get(f"/api/channel/{made.uuid}", world["admin"].cookie)).data

    del listed["test_models"]
    assert shown == listed


async def test_a_new_channel_is_used_at_once_with_its_key(world: World) -> None:
    await create(world)

    (channel,) = usable(world)
    assert (str.__str__(channel.key), channel.models) == ("sk-upstream", ("gpt-4o", "gpt-4o-mini"))


async def test_nulls_of_a_new_channel_mean_not_given(world: World) -> None:
    fields = KEYS - {"uuid", "name", "created_time", "test_time", "response_time", "balance", "balance_updated_time"}
    (await world.post("/api/channel/", world["admin"].cookie, {"name": "n", **dict.fromkeys(fields)})).done()

    (made,) = await rows(world)
    assert (made.type, made.status, made.group, made.models, made.weight) == (0, 1, "default", "", 0)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"base_url": ""}, {"base_url": "https://api.openai.com"}),
        ({"base_url": " https://a.example/ "}, {"base_url": "https://a.example/"}),
        ({"base_url": "", "type": 8}, {"base_url": ""}),
        ({"name": " padded "}, {"name": "padded"}),
        ({"models": " b , a,,b "}, {"models": "b,a"}),
        ({"group": ""}, {"group": "default"}),
        ({"group": "vip, default"}, {"group": "vip,default"}),
        ({"status": 2}, {"status": 2}),
        ({"status": 0}, {"status": 1}),
        ({"priority": -5, "weight": 3, "ratelimit": 9}, {"priority": -5, "weight": 3, "ratelimit": 9}),
        ({"testing_model": "gpt-4o"}, {"testing_model": "gpt-4o"}),
        ({"testing_model": "other"}, {"testing_model": None}),
        ({"hidden_models": '["gpt-4o"]'}, {"hidden_models": '["gpt-4o"]'}),
        ({"tooling": '{"whitelist": []}'}, {"config": '{"tooling":{"whitelist":[]}}'}),
        ({"config": '{"region": "x"}', "tooling": ""}, {"config": '{"region": "x"}'}),
        ({"system_prompt": "x" * 100_000}, {"system_prompt": "x" * 100_000}),
        ({"key": "  spaced  "}, {"key": "spaced"}),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_is_stored(world: World, given: dict[str, Any], stored: dict[str, Any]) -> None:
    made = await create(world, **given)

    assert {key: getattr(made, key) for key in stored} == stored


async def test_only_what_is_named_can_be_assigned(world: World) -> None:
    wish = {"used_quota": -5, "balance": 100, "test_time": 5, "response_time": 5, "uuid": UNKNOWN, "id": 7}
    made = await create(world, **wish, created_time=1, created_at=1)

    assert (made.used_quota, made.test_time, made.response_time) == (0, 0, 0)
    assert made.uuid != UNKNOWN
    assert made.created_at > 1_600_000_000_000
    await world.put("/api/channel/", world["root"].cookie, {**wish, "uuid": made.uuid, "name": "n"})
    assert (await row(world, made.uuid)).used_quota == 0


async def test_each_line_of_the_key_is_a_channel(world: World) -> None:
    await create(world, key=" one \r\n\n two\rthree\n")

    made = await rows(world)
    assert sorted(channel.key for channel in made) == ["one", "three", "two"]
    assert {channel.name for channel in made} == {"new"}


@pytest.mark.parametrize("key", ["", "  \n ", None])
async def test_no_key_is_one_channel(world: World, key: str | None) -> None:
    await create(world, key=key)

    (made,) = await rows(world)
    assert made.key == ""


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": 5}, "unmarshal channel payload: name must be a string"),
    ({"name": "x" * 256}, "unmarshal channel payload: name is too long"),
    ({"type": "1"}, "unmarshal channel payload: type must be a whole number"),
    ({"type": True}, "unmarshal channel payload: type must be a whole number"),
    ({"type": -1}, "unmarshal channel payload: type must be at least 0"),
    ({"type": 2**31}, "unmarshal channel payload: type must be at most"),
    ({"status": 7}, "unmarshal channel payload: status must be 0, 1, 2 or 3"),
    ({"weight": -1}, "unmarshal channel payload: weight must be at least 0"),
    ({"priority": 1e20}, "unmarshal channel payload: priority must be a whole number"),
    ({"models": ["a"]}, "unmarshal channel payload: models must be a string, not a list"),
    ({"models": "a,b\u200bc"}, "models: "),
    ({"models": "x" * 257}, "models: "),
    ({"testing_model": "x" * 256}, "testing_model is too long"),
    ({"base_url": "api.example.com"}, "base_url must be an address"),
    ({"base_url": "https://u:p@api.example.com"}, "base_url must be an address"),
    ({"base_url": "https://api.example.com/?a=b"}, "base_url must be an address"),
    ({"base_url": "https://api.example.com/\r\nx"}, "base_url must be an address"),
    ({"base_url": "file:///etc/passwd"}, "base_url must be an address"),
    ({"config": "[]"}, "config must hold a JSON object"),
    ({"config": '{"custom_headers": {"a b": "c"}}'}, 'invalid custom header name "a b"'),
    ({"config": '{"endpoint_urls": {"ocr": "x"}}'}, "Endpoint URL for ocr must be an absolute http(s) URL"),
    ({"model_configs": '{"m": {"ratio": -1}}'}, "model_configs: m: "),
    ({"model_mapping": "{"}, "model_mapping must hold"),
    ({"hidden_models": "a,b"}, "hidden_models must hold"),
    ({"inference_profile_arn_map": "[]"}, "inference_profile_arn_map must hold"),
    ({"tooling": "{"}, "tooling must hold"),
    ({"system_prompt": "a\x00b"}, "system_prompt must not contain NUL"),
    ({"key": "sk-\u200bpasted"}, "key must consist of printable ASCII"),
    ({"key": "sk-a\tb"}, "key must consist of printable ASCII"),
]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *BAD_FIELDS,
        ({"name": ""}, "Channel name is required"),
        ({"name": "  "}, "Channel name is required"),
        ({"name": None}, "Channel name is required"),
        ({"key": "k\n" * (MAX_KEYS + 1)}, "key has too many lines"),
        ({"key": "good\nb\u00e4d"}, "key must consist of printable ASCII"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_channels_that_are_not_created(world: World, changes: dict[str, Any], words: str) -> None:
    (await world.post("/api/channel/", world["admin"].cookie, {**NEW, **changes})).refused(words)

    assert await rows(world) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *BAD_FIELDS,
        ({"name": ""}, "Channel name cannot be empty"),
        ({"name": " "}, "Channel name cannot be empty"),
        ({"name": None}, "Channel name cannot be empty"),
        ({"key": "one\ntwo"}, "key must consist of printable ASCII characters, on one line"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_changes_that_are_refused(world: World, changes: dict[str, Any], words: str) -> None:
    before = await world.channel()
    (await world.put("/api/channel/", world["root"].cookie, {"uuid": before.uuid, **changes})).refused(words)

    assert await row(world, before.uuid) == before


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_bodies_that_are_no_channel(world: World, method: str) -> None:
    for body in (b"", b"{", b"[]"):
        reply = await world.call(method, "/api/channel/", world["admin"].cookie, body=body)
        reply.refused("unmarshal channel payload: ")


@pytest.mark.parametrize(
    ("uuid", "words"),
    [("does-not-exist", "invalid resource reference"), ("1", "invalid resource reference"), (UNKNOWN, "not found")],
)
async def test_references_to_nothing(world: World, uuid: str, words: str) -> None:
    by = world["admin"].cookie
    for method, path, body in (
        ("GET", f"/api/channel/{uuid}", None),
        ("DELETE", f"/api/channel/{uuid}", None),
        ("POST", f"/api/channel/{uuid}/duplicate", None),
        ("PUT", "/api/channel/", {"uuid": uuid, "name": "n"}),
    ):
        (await world.call(method, path, by, json=body)).refused(words)


@pytest.mark.parametrize("body", [{}, {"id": 1, "name": "n"}, {"uuid": "", "name": "n"}])
async def test_an_update_needs_a_uuid(world: World, body: dict[str, Any]) -> None:
    (await world.put("/api/channel/", world["admin"].cookie, body)).refused("resource uuid is required")


async def test_an_update_changes_what_it_names(world: World) -> None:
    before = await world.channel(config='{"region": "x"}', weight=5)
    reply = await world.put("/api/channel/", world["admin"].cookie, {"uuid": before.uuid, "name": "renamed"})

    assert reply.data.keys() == KEYS
    after = await row(world, before.uuid)
    assert (after.name, after.key, after.config, after.weight, after.models) == (
        ("renamed", before.key, before.config, 5, before.models)
    )
    assert usable(world)[0].name == "renamed"


async def test_empty_values_change_nothing_but_numbers_and_what_can_be_cleared(world: World) -> None:
    given = {
        "model_mapping": '{"a": "b"}',
        "model_configs": '{"a": {"ratio": 1}}',
        "system_prompt": "x",
        "inference_profile_arn_map": '{"a": "b"}',
        "hidden_models": '["a"]',
    }
    before = await world.channel(weight=5, priority=6, ratelimit=7, other="o", **given)
    empty = {"type": 0, "status": 0, "base_url": "", "models": "", "group": "", "other": "", "config": "", "key": ""}
    numbers = {"weight": 0, "priority": 0, "ratelimit": 0}
    body = {"uuid": before.uuid, **empty, **numbers, **dict.fromkeys(given)}
    await world.put("/api/channel/", world["root"].cookie, body)

    after = await row(world, before.uuid)
    assert [getattr(after, key) for key in empty] == [getattr(before, key) for key in empty]
    assert [getattr(after, key) for key in numbers] == [0, 0, 0]
    assert [getattr(after, key) for key in given] == [None] * 5

    await world.put("/api/channel/", world["root"].cookie, {"uuid": before.uuid, "model_mapping": ""})
    assert (await row(world, before.uuid)).model_mapping == ""


async def test_status_only_changes_nothing_else(world: World) -> None:
    before = await world.channel()
    body = {"uuid": before.uuid, "status": 2, "name": "other"}
    (await world.put("/api/channel/", world["admin"].cookie, body, query={"status_only": "true"})).done()

    after = await row(world, before.uuid)
    assert (after.status, after.name) == (2, before.name)
    assert [channel for channel in usable(world) if channel.status == ChannelStatus.ENABLED] == []
    reply = await world.put(
        "/api/channel/", world["admin"].cookie, {"uuid": before.uuid}, query={"status_only": "true"}
    )
    reply.refused("status is required")


async def test_a_foreign_test_model_is_dropped(world: World) -> None:
    before = await world.channel(models="a,b")
    by = world["root"].cookie
    await world.put("/api/channel/", by, {"uuid": before.uuid, "testing_model": "c"})
    assert (await row(world, before.uuid)).testing_model is None
    await world.put("/api/channel/", by, {"uuid": before.uuid, "testing_model": "c", "models": "b,c"})
    assert (await row(world, before.uuid)).testing_model == "c"


async def test_a_deleted_channel_is_gone(world: World) -> None:
    made = await world.channel()
    (await world.delete(f"/api/channel/{made.uuid}", world["admin"].cookie)).done()

    assert usable(world) == []
    (await world.delete(f"/api/channel/{made.uuid}", world["admin"].cookie)).refused("not found")


async def test_a_copy_has_key_and_settings_but_no_past(world: World) -> None:
    original = await world.channel(weight=3, config='{"region":"x"}', balance="12.5", test_time=5, response_time=6)
    data = (await world.post(f"/api/channel/{original.uuid}/duplicate", world["admin"].cookie)).data

    assert data.keys() == {"uuid", "name"}
    assert data["name"] == "channel Copy"
    copy = await row(world, data["uuid"])
    assert (copy.key, copy.weight, copy.config, copy.models) == (original.key, 3, '{"region":"x"}', original.models)
    assert (copy.balance, copy.test_time, copy.response_time, copy.used_quota) == ("0", 0, 0, 0)


async def test_the_copy_of_a_long_name_fits(world: World) -> None:
    original = await world.channel("x" * 255)
    data = (await world.post(f"/api/channel/{original.uuid}/duplicate", world["admin"].cookie)).data

    assert len(data["name"]) == 255
    assert data["name"].endswith("x Copy")


async def test_a_search_goes_by_the_beginning_of_the_name_and_has_no_total(world: World) -> None:
    for name in ("beta", "alpha", "alphabet"):
        await world.channel(name)
    by = world["admin"].cookie

    for keyword, expected in (("alpha", ["alphabet", "alpha"]), ("", ["alphabet", "alpha", "beta"]), ("lph", [])):
        reply = await world.get("/api/channel/search", by, query={"keyword": keyword})
        assert [item["name"] for item in reply.data] == expected
        assert reply.json().keys() == {"success", "message", "data"}
    found = (await world.get("/api/channel/search", by, query={"keyword": (await rows(world))[0].uuid})).data
    assert [item["name"] for item in found] == ["alphabet"]
    assert found[0]["test_models"] == ["gpt-4o"]
    ordered = await world.get("/api/channel/search", by, query={"sort": "name", "order": "asc"})
    assert [item["name"] for item in ordered.data] == ["alpha", "alphabet", "beta"]


async def test_a_search_cannot_find_a_key(world: World) -> None:
    await world.channel(key="findme-secret")

    reply = await world.get("/api/channel/search", world["root"].cookie, query={"keyword": "findme"})
    assert reply.data == []


async def test_every_column_can_be_sorted_by(world: World) -> None:
    for name, priority in (("b", 1), ("a", 2)):
        await world.channel(name, priority=priority)
    by = world["admin"].cookie
    for column in [
        "id",
        "name",
        "type",
        "status",
        "response_time",
        "test_time",
        "priority",
        "weight",
        "used_quota",
        "created_at",
        "updated_at",
    ]:
        assert len((await world.get("/api/channel/", by, query={"sort": column})).data) == 2
    first = await world.get("/api/channel/", by, query={"sort": "priority", "order": "desc", "size": 1})
    assert [item["name"] for item in first.data] == ["a"]
    assert first.json()["total"] == 2


async def test_a_key_is_shown_to_root_after_a_change_and_otherwise_to_nobody(world: World) -> None:
    made = await world.channel(key="provider-secret")
    secret = b"provider-secret"
    for name in ("admin", "root"):
        by = world[name].cookie
        for method, path, body in (
            ("GET", "/api/channel/", None),
            ("GET", "/api/channel/search", None),
            ("GET", f"/api/channel/{made.uuid}", None),
            ("POST", f"/api/channel/{made.uuid}/duplicate", None),
        ):
            assert secret not in (await world.call(method, path, by, json=body)).body
    change = {"uuid": made.uuid, "name": "renamed"}
    assert (await world.put("/api/channel/", world["admin"].cookie, change)).data["key"] == ""
    assert (await world.put("/api/channel/", world["root"].cookie, change)).data["key"] == "provider-secret"
    sent = {**change, "key": "sk-sent"}
    assert (await world.put("/api/channel/", world["admin"].cookie, sent)).data["key"] == "sk-sent"


async def test_secrets_in_the_config_are_masked_and_the_mask_changes_nothing(world: World) -> None:
    made = await world.channel(config='{"ak":"AK","sk":"very-secret"}')
    by = world["admin"].cookie

    shown = (await world.get(f"/api/channel/{made.uuid}", by)).data["config"]
    assert json.loads(shown) == {"ak": "AK", "sk": MASK}
    for path in ("/api/channel/", "/api/channel/search"):
        assert b"very-secret" not in (await world.get(path, by)).body
    reply = await world.put("/api/channel/", by, {"uuid": made.uuid, "config": shown, "name": "renamed"})
    assert b"very-secret" not in reply.body
    assert json.loads((await row(world, made.uuid)).config) == {"ak": "AK", "sk": "very-secret"}


MOVES: list[dict[str, Any]] = [
    {"base_url": "https://elsewhere.example"},
    {"type": 8},
    {"other": "x"},
    {"config": '{"endpoint_urls": {"chat_completions": "https://elsewhere.example"}}'},
    {"config": '{"custom_headers": {"x-copy": "{{key}}"}}'},
]


@pytest.mark.parametrize("move", MOVES, ids=str)
async def test_an_administrator_cannot_send_a_stored_key_elsewhere(world: World, move: dict[str, Any]) -> None:
    made = await world.channel()
    by = world["admin"].cookie

    (await world.put("/api/channel/", by, {"uuid": made.uuid, **move})).refused("needs its key: send `key`")
    (await world.put("/api/channel/", by, {"uuid": made.uuid, **move, "key": " "})).refused("needs its key")
    assert await row(world, made.uuid) == made

    copy = (await world.post(f"/api/channel/{made.uuid}/duplicate", by)).data["uuid"]
    (await world.put("/api/channel/", by, {"uuid": copy, **move})).refused("needs its key: send `key`")


@pytest.mark.parametrize("key", ["sk-of-his-own", "provider-secret"])
async def test_with_the_key_an_administrator_can_move_a_channel(world: World, key: str) -> None:
    made = await world.channel(key="provider-secret")
    body = {"uuid": made.uuid, **MOVES[0], "key": key}

    assert (await world.put("/api/channel/", world["admin"].cookie, body)).data["base_url"] == MOVES[0]["base_url"]
    assert (await row(world, made.uuid)).key == key


async def test_root_can_move_a_channel_and_so_can_anybody_one_without_a_key(world: World) -> None:
    made = await world.channel()
    keyless = await world.channel(key="")

    for name, channel in (("root", made), ("admin", keyless)):
        body = {"uuid": channel.uuid, **MOVES[0]}
        assert (await world.put("/api/channel/", world[name].cookie, body)).data["base_url"] == MOVES[0]["base_url"]


async def test_what_is_no_move_needs_no_key(world: World) -> None:
    made = await world.channel(config='{"region":"x"}')
    by = world["admin"].cookie
    body = {"uuid": made.uuid, "tooling": '{"whitelist":["a"]}', "base_url": made.base_url, "type": made.type}

    shown = (await world.put("/api/channel/", by, body)).data
    assert json.loads(shown["tooling"]) == {"whitelist": ["a"]}
    assert json.loads(shown["config"]) == {"region": "x", "tooling": {"whitelist": ["a"]}}
    assert json.loads((await world.get(f"/api/channel/{made.uuid}", by)).data["tooling"]) == {"whitelist": ["a"]}


async def test_the_balance_is_a_number(world: World) -> None:
    for balance, shown in (("12.50", 12.5), ("3", 3), ("0", 0)):
        made = await world.channel(balance=balance)
        assert (await world.get(f"/api/channel/{made.uuid}", world["admin"].cookie)).data["balance"] == shown
