"""Log rows: whose they are, how they are filtered, and what they look like."""

from __future__ import annotations

import time
from typing import Any

import pytest

from oneapi_mw.ledger.base import LogFacts, Reserve
from oneapi_mw.store.records import ChannelRecord, TokenRecord
from tests.admin.world import DAY, UNKNOWN, Person, Reply, World

KEYS = {
    "uuid",
    "user_uuid",
    "created_at",
    "type",
    "content",
    "username",
    "token_name",
    "token_uuid",
    "model_name",
    "origin_model_name",
    "quota",
    "prompt_tokens",
    "completion_tokens",
    "channel_uuid",
    "request_id",
    "trace_id",
    "updated_at",
    "elapsed_time",
    "is_stream",
    "system_prompt_reset",
    "cached_prompt_tokens",
}

NOW = int(time.time())


async def spend(
    world: World,
    person: Person,
    key: str,
    quota: int = 5,
    *,
    token: TokenRecord | None = None,
    channel: ChannelRecord | None = None,
    **facts: Any,
) -> None:
    """One settled request."""
    ledger = await world.books()
    token = token or person.token
    await ledger.reserve(Reserve(key, person.user.id, token.id, quota))
    known = LogFacts(
        user_uuid=person.user.uuid,
        username=person.user.username,
        token_uuid=token.uuid,
        token_name=token.name,
        channel_uuid=channel.uuid if channel else None,
        channel_name=channel.name if channel else "",
        **{"model_name": "gpt-4o", "content": f"request {key}", **facts},
    )
    await ledger.settle(key, quota, known)


@pytest.fixture
async def first(world: World) -> ChannelRecord:
    """The channel that served the request `one`."""
    return await world.channel("first")


@pytest.fixture
async def history(world: World, first: ChannelRecord) -> World:
    """Three requests of alice, one of bob."""
    alice = world["alice"]
    await spend(world, alice, "one", 5, channel=first, prompt_tokens=30, elapsed_time=7)
    await spend(world, alice, "two", 9, model_name="o1", prompt_tokens=10, completion_tokens=4)
    other = await world.token(alice.user, name="other", unlimited_quota=True)
    await spend(world, alice, "three", 7, token=other, prompt_tokens=20)
    await spend(world, world["bob"], "four", 1, prompt_tokens=40)
    return world


def ids(reply: Reply) -> list[str]:
    """The requests in a page, whose `total` is how many there are."""
    return [row["request_id"] for row in reply.data]


async def test_a_row_has_all_keys(history: World, first: ChannelRecord) -> None:
    facts: dict[str, Any] = {
        "origin_model_name": "asked-for",
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "cached_prompt_tokens": 3,
        "elapsed_time": 12,
        "is_stream": True,
        "trace_id": "trace",
    }
    alice = history["alice"]
    await spend(history, alice, "five", 3, channel=first, metadata={"user_api_format": "chat"}, **facts)
    (row,) = (await history.get("/api/log/self", alice.cookie, query={"size": 1})).data

    assert row.keys() == KEYS | {"channel_name", "metadata"}
    expected = {
        **facts,
        "user_uuid": alice.user.uuid,
        "username": "alice",
        "type": 2,
        "content": "request five",
        "quota": 3,
        "token_name": "alice-key",
        "token_uuid": alice.token.uuid,
        "model_name": "gpt-4o",
        "channel_uuid": first.uuid,
        "channel_name": "first",
        "request_id": "five",
        "system_prompt_reset": False,
    }
    assert {key: row[key] for key in expected} == expected
    assert row["metadata"]["user_api_format"] == "chat"
    assert abs(row["created_at"] - time.time()) < 60, "seconds"
    assert row["updated_at"] > 1_600_000_000_000, "milliseconds"


async def test_empty_parts_are_absent(history: World) -> None:
    (row,) = (await history.get("/api/log/self", history["bob"].cookie)).data

    assert row.keys() == KEYS
    assert row["channel_uuid"] is None


async def test_everybody_sees_his_own_and_administrators_all(history: World) -> None:
    own = await history.get("/api/log/self", history["alice"].cookie)
    assert (ids(own), own.json()["total"]) == (["three", "two", "one"], 3)
    assert ids(await history.get("/api/log/self", history["bob"].cookie)) == ["four"]
    every = await history.get("/api/log/", history["admin"].cookie)
    assert (ids(every), every.json()["total"]) == (["four", "three", "two", "one"], 4)
    nothing = await history.get("/api/log/self", history["root"].cookie)
    assert (nothing.data, nothing.json()["total"]) == ([], 0)


async def test_a_key_sees_its_own_rows_even_after_it_was_renamed(history: World) -> None:
    alice = history["alice"]
    await history.put("/api/token/", alice.cookie, {"uuid": alice.token.uuid, "name": "renamed"})

    reply = await history.get("/api/token/logs", alice.key, query={"model_name": "o1"})
    assert (ids(reply), reply.json()["total"]) == (["two"], 1)
    assert ids(await history.get("/api/token/logs", alice.key)) == ["two", "one"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["four", "three", "two", "one"]),
        ({"type": 2}, ["four", "three", "two", "one"]),
        ({"type": 0}, ["four", "three", "two", "one"]),
        ({"type": "x"}, ["four", "three", "two", "one"]),
        ({"type": 1}, []),
        ({"type": 40_000}, []),
        ({"type": -1}, []),
        ({"type": 10**15}, []),
        ({"username": "bob"}, ["four"]),
        ({"username": "b"}, []),
        ({"username": "%"}, []),
        ({"token_name": "other"}, ["three"]),
        ({"model_name": "o1"}, ["two"]),
        ({"model_name": "gpt-4o", "username": "alice"}, ["three", "one"]),
        ({"size": 2}, ["four", "three"]),
        ({"size": 2, "p": 1}, ["two", "one"]),
        ({"items_per_page": 1}, ["four"]),
        ({"p": 5}, []),
        ({"sort": "prompt_tokens", "order": "asc"}, ["two", "three", "one", "four"]),
        ({"sort_by": "prompt_tokens", "sort_order": "asc"}, ["two", "three", "one", "four"]),
        ({"sort": "quota"}, ["two", "three", "one", "four"]),
        ({"sort": "completion_tokens", "size": 1}, ["two"]),
        ({"sort": "elapsed_time", "size": 1}, ["one"]),
        ({"sort": "id", "order": "asc"}, ["one", "two", "three", "four"]),
        ({"sort": "created_time"}, ["four", "three", "two", "one"]),
        ({"sort": "content", "order": "asc"}, ["four", "three", "two", "one"]),
        ({"start_timestamp": NOW - DAY, "end_timestamp": NOW + DAY}, ["four", "three", "two", "one"]),
        ({"start_timestamp": NOW + DAY}, []),
        ({"end_timestamp": NOW - DAY}, []),
        ({"start_timestamp": "yesterday", "end_timestamp": "9" * 25}, ["four", "three", "two", "one"]),
    ],
    ids=str,
)  # fmt: skip
async def test_filters_pages_and_order(history: World, query: dict[str, Any], expected: list[str]) -> None:
    assert ids(await history.get("/api/log/", history["admin"].cookie, query=query)) == expected


async def test_rows_of_one_channel(history: World, first: ChannelRecord) -> None:
    by = history["admin"].cookie

    assert ids(await history.get("/api/log/", by, query={"channel": first.uuid})) == ["one"]
    (await history.get("/api/log/", by, query={"channel": UNKNOWN})).refused("resource reference not found")
    (await history.get("/api/log/", by, query={"channel": "1"})).refused("invalid resource reference")


async def test_no_filter_reaches_the_rows_of_others(history: World) -> None:
    alice, bob = history["alice"], history["bob"]
    query = {"username": "bob", "token_name": "bob-key", "user_id": bob.user.uuid}

    assert ids(await history.get("/api/log/self", alice.cookie, query=query)) == []
    assert ids(await history.get("/api/token/logs", alice.key, query={"username": "bob"})) == ["two", "one"]
    for keyword in (bob.user.uuid, bob.token.uuid, "request four"):
        assert ids(await history.get("/api/log/self/search", alice.cookie, query={"keyword": keyword})) == []


@pytest.mark.parametrize(
    ("keyword", "everybodys", "alices"),
    [
        ("", ["four", "three", "two", "one"], ["three", "two", "one"]),
        ("t t", ["three", "two"], ["three", "two"]),
        ("request four", ["four"], []),
        ("%", [], []),
        ("REQUEST", [], []),
    ],
)
async def test_a_search_goes_by_the_content(
    history: World, keyword: str, everybodys: list[str], alices: list[str]
) -> None:
    query = {"keyword": keyword}

    everything = await history.get("/api/log/search", history["admin"].cookie, query=query)
    assert (ids(everything), everything.json()["total"]) == (everybodys, len(everybodys))
    assert ids(await history.get("/api/log/self/search", history["alice"].cookie, query=query)) == alices


async def test_a_search_by_uuid_is_exact(history: World, first: ChannelRecord) -> None:
    alice, by = history["alice"], history["admin"].cookie
    (row,) = (await history.get("/api/log/self", history["bob"].cookie)).data

    for keyword, expected in (
        (row["uuid"], ["four"]),
        (alice.token.uuid, ["two", "one"]),
        (alice.user.uuid.upper(), ["three", "two", "one"]),
        (first.uuid.replace("-", ""), ["one"]),
    ):
        assert ids(await history.get("/api/log/search", by, query={"keyword": keyword})) == expected


async def test_sorting_reads_at_most_thirty_days(history: World) -> None:
    by, now = history["admin"].cookie, int(time.time())
    long = {"start_timestamp": now - 31 * DAY, "end_timestamp": now + 10}

    (await history.get("/api/log/", by, query={**long, "sort": "quota"})).refused(
        "Date range for sorting cannot exceed 30 days"
    )
    assert len(ids(await history.get("/api/log/", by, query=long))) == 4
    assert len(ids(await history.get("/api/log/", by, query={"start_timestamp": 1, "sort": "quota"}))) == 4
    month = {"start_timestamp": now + 10 - 30 * DAY, "end_timestamp": now + 10, "sort": "quota"}
    assert len(ids(await history.get("/api/log/", by, query=month))) == 4


async def test_top_ups_leave_a_row(world: World) -> None:
    body = {"user_uuid": world["alice"].user.uuid, "quota": 25, "remark": "thanks"}
    (await world.post("/api/topup", world["admin"].cookie, body)).done()

    (row,) = (await world.get("/api/log/self", world["alice"].cookie)).data
    assert (row["type"], row["quota"], row["content"]) == (1, 25, "thanks")


@pytest.mark.parametrize("name", ["username", "token_name", "model_name"])
async def test_a_filter_no_text_has(world: World, name: str) -> None:
    (await world.get("/api/log/", world["admin"].cookie, query={name: "a\0"})).refused(f"{name} must not contain NUL")
