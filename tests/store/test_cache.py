"""The caches, over look-ups that the tests control."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.principal import Principal
from oneapi_mw.routing.channel import Channel, Secret
from oneapi_mw.store.cache import CacheLimits, ChannelTable, PrincipalCache
from oneapi_mw.store.keyring import KeyRing

LIMITS = CacheLimits(fresh=5, stale=60, unknown=4, retry=1, load=30, max_found=3, max_unknown=3)
RING = KeyRing([b"a secret for tests"])


def principal(token_id: int, *, user_id: int = 1, group: str = "default") -> Principal:
    return Principal(
        user_id=user_id,
        user_uuid=f"user-{user_id}",
        username="alice",
        group=group,
        role=1,
        user_status=1,
        token_id=token_id,
        token_uuid=f"token-{token_id}",
        token_name="default",
        token_status=1,
    )


class Source:
    """A look-up that counts, fails when told to, and waits while `gate` is shut."""

    def __init__(self) -> None:
        self.known: dict[str, Principal] = {}
        self.asked: list[str] = []
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.now = 0.0

    async def load(self, key: str) -> Principal | None:
        self.asked.append(key)
        found = self.known.get(key)
        self.entered.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return found

    def cache(self, limits: CacheLimits = LIMITS) -> PrincipalCache:
        return PrincipalCache(load=self.load, limits=limits, clock=lambda: self.now)


@pytest.fixture
async def source() -> Source:
    return Source()


async def test_a_principal_is_asked_for_again_after_its_time(source: Source) -> None:
    cache = source.cache()
    source.known["k"] = principal(1)

    assert await cache.find("k") == principal(1)
    source.known["k"] = principal(1, group="vip")
    source.now = 4.9
    assert await cache.find("k") == principal(1)
    assert source.asked == ["k"]
    source.now = 5.0
    assert await cache.find("k") == principal(1, group="vip")
    assert source.asked == ["k", "k"]
    del source.known["k"]
    source.now = 10.0
    assert await cache.find("k") is None


async def test_an_unknown_key_is_remembered_for_a_shorter_time(source: Source) -> None:
    cache = source.cache()
    assert await cache.find("k") is None
    source.known["k"] = principal(1)
    source.now = 3.9
    assert await cache.find("k") is None
    source.now = 4.0
    assert await cache.find("k") == principal(1)
    assert source.asked == ["k", "k"]


async def test_a_flood_of_random_keys_takes_no_memory_and_drives_nothing_out(source: Source) -> None:
    cache = source.cache()
    source.known["good"] = principal(1)
    await cache.find("good")
    for number in range(50):
        assert await cache.find(f"random {number}") is None

    assert len(cache._unknown) == LIMITS.max_unknown
    assert len(cache._found) == 1
    assert not cache._flights
    assert not cache._tasks
    source.asked.clear()
    assert await cache.find("good") == principal(1)
    assert source.asked == []


async def test_the_least_recently_used_principal_goes_first(source: Source) -> None:
    cache = source.cache()
    source.known = {str(number): principal(number) for number in range(4)}
    for key in ("0", "1", "2", "0", "3"):
        await cache.find(key)

    source.asked.clear()
    for key in ("0", "2", "3"):
        await cache.find(key)
    assert source.asked == []
    await cache.find("1")
    assert source.asked == ["1"]


async def test_keys_themselves_are_not_kept(source: Source) -> None:
    cache = source.cache()
    source.known["very secret"] = principal(1)
    await cache.find("very secret")
    await cache.find("unknown secret")
    assert "secret" not in repr((cache._found, cache._unknown, vars(cache)["_flights"]))


async def test_callers_at_once_share_one_look_up(source: Source) -> None:
    cache = source.cache()
    source.known["k"] = principal(1)
    source.gate.clear()
    callers = [asyncio.create_task(cache.find("k")) for _ in range(5)]
    await source.entered.wait()
    callers[0].cancel()
    source.gate.set()

    assert await asyncio.gather(*callers[1:]) == [principal(1)] * 4
    with pytest.raises(asyncio.CancelledError):
        await callers[0]
    assert source.asked == ["k"]


async def test_a_fault_nobody_waits_for_any_more_is_no_leak(source: Source) -> None:
    cache = source.cache()
    source.gate.clear()
    source.fault = StoreUnavailable("away")
    caller = asyncio.create_task(cache.find("k"))
    await source.entered.wait()
    (task,) = cache._tasks
    caller.cancel()
    source.gate.set()
    await asyncio.wait([caller, task])

    assert caller.cancelled()
    assert isinstance(task.exception(), StoreUnavailable)


@pytest.mark.parametrize("forget", ["user", "token", "key"])
async def test_what_is_forgotten_is_asked_for_again(source: Source, forget: str) -> None:
    cache = source.cache()
    source.known = {"a": principal(1, user_id=7), "b": principal(2, user_id=8)}
    await cache.find("a")
    await cache.find("b")
    source.asked.clear()
    match forget:
        case "user":
            cache.forget_user(7)
        case "token":
            cache.forget_token(1)
        case _:
            cache.forget_key("a")

    await cache.find("a")
    await cache.find("b")
    assert source.asked == ["a"]


async def test_a_new_key_is_no_longer_unknown(source: Source) -> None:
    cache = source.cache()
    assert await cache.find("k") is None
    source.known["k"] = principal(1)
    cache.forget_key("k")
    assert await cache.find("k") == principal(1)


async def test_a_look_up_from_before_a_change_is_not_remembered(source: Source) -> None:
    cache = source.cache()
    source.known["k"] = principal(1)
    source.gate.clear()
    early = asyncio.create_task(cache.find("k"))
    await source.entered.wait()
    source.known["k"] = principal(1, group="vip")
    cache.forget_user(1)
    late = asyncio.create_task(cache.find("k"))
    await asyncio.sleep(0)
    source.gate.set()

    assert (await early, await late) == (principal(1), principal(1, group="vip"))
    assert await cache.find("k") == principal(1, group="vip")
    assert source.asked == ["k", "k"]


async def test_while_the_store_is_away_known_keys_work_for_a_while(source: Source) -> None:
    cache = source.cache()
    source.known["k"] = principal(1)
    await cache.find("k")
    source.fault = StoreUnavailable("away")
    source.now = 6

    assert await cache.find("k") == principal(1)
    assert await cache.find("k") == principal(1)
    assert source.asked == ["k"] * 2, "the store is tried once a second, not at every request"
    source.now = 7
    assert await cache.find("k") == principal(1)
    assert source.asked == ["k"] * 3
    source.now = 60
    with pytest.raises(StoreUnavailable):
        await cache.find("k")
    source.fault = None
    assert await cache.find("k") == principal(1)


async def test_while_the_store_is_away_nobody_is_told_that_a_key_is_wrong(source: Source) -> None:
    cache = source.cache()
    assert await cache.find("k") is None
    source.fault = StoreUnavailable("away")
    source.now = 5
    with pytest.raises(StoreUnavailable, match="away"):
        await cache.find("k")


async def test_a_forgotten_principal_does_not_come_back_when_the_store_is_away(source: Source) -> None:
    cache = source.cache()
    source.known["k"] = principal(1)
    await cache.find("k")
    cache.forget_token(1)
    source.fault = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        await cache.find("k")


async def test_a_look_up_ends_in_time(source: Source) -> None:
    cache = source.cache(CacheLimits(load=0.01))
    source.gate.clear()
    with pytest.raises(StoreUnavailable, match="in time"):
        await cache.find("k")


async def test_other_faults_are_raised_and_not_remembered(source: Source) -> None:
    cache = source.cache()
    source.fault = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="ours"):
        await cache.find("k")
    source.fault = None
    assert await cache.find("k") is None


async def test_closing_ends_look_ups(source: Source) -> None:
    cache = source.cache()
    source.gate.clear()
    caller = asyncio.create_task(cache.find("k"))
    await source.entered.wait()
    await cache.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not cache._tasks


def channel(id_: int, name: str = "main") -> Channel:
    return Channel(id=id_, uuid=f"uuid-{id_}", name=name, type=1, base_url="", key=Secret("k"), models=())


class Rows:
    """Channel rows, and what was asked about them."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, Channel | ValueError]] = {}
        self.decodings: list[list[int]] = []
        self.fault: Exception | None = None

    async def stamps(self) -> Mapping[int, int]:
        if self.fault is not None:
            raise self.fault
        return {id_: stamp for id_, (stamp, _) in self.rows.items()}

    async def decoded(self, ids: Sequence[int]) -> Mapping[int, Channel | ValueError]:
        self.decodings.append(list(ids))
        return {id_: self.rows[id_][1] for id_ in ids if id_ in self.rows}


async def test_only_what_changed_is_read_and_an_unchanged_table_keeps_its_version() -> None:
    rows = Rows()
    table = ChannelTable(rows)
    rows.rows = {2: (1, channel(2)), 1: (1, channel(1))}
    await table.reload()
    first = table.snapshot()
    version = table.version()
    assert list(first) == [channel(1), channel(2)]
    await table.reload()
    assert (table.snapshot(), table.version()) == (first, version)
    rows.rows[2] = (2, channel(2, "renamed"))
    await table.reload()
    assert list(table.snapshot()) == [channel(1), channel(2, "renamed")]
    assert table.version() == version + 1
    del rows.rows[1]
    await table.reload()
    assert list(table.snapshot()) == [channel(2, "renamed")]
    assert table.version() == version + 2
    assert list(first) == [channel(1), channel(2)]
    assert rows.decodings == [[2, 1], [2]]


async def test_one_channel_replaced_by_another_is_noticed() -> None:
    rows = Rows()
    table = ChannelTable(rows)
    rows.rows = {1: (1, channel(1))}
    await table.reload()
    rows.rows = {2: (1, channel(2))}
    await table.reload()
    assert list(table.snapshot()) == [channel(2)]


async def test_a_channel_that_became_unreadable_is_left_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows()
    table = ChannelTable(rows)
    rows.rows = {1: (1, channel(1)), 2: (1, channel(2))}
    await table.reload()
    rows.rows[1] = (2, ValueError("config is not valid JSON"))
    await table.reload()
    await table.reload()

    assert list(table.snapshot()) == [channel(2)]
    assert [record.getMessage() for record in caplog.records] == [
        "channel 1 is left out of routing: config is not valid JSON"
    ]
    rows.rows[1] = (3, channel(1))
    await table.reload()
    assert list(table.snapshot()) == [channel(1), channel(2)]


async def test_a_table_keeps_what_it_has_while_the_store_is_away(caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows()
    table = ChannelTable(rows)
    rows.rows = {1: (1, channel(1))}
    await table.reload()
    rows.fault = StoreUnavailable("away")
    rows.rows[2] = (1, channel(2))
    with pytest.raises(StoreUnavailable):
        await table.reload()
    await table.changed()
    assert list(table.snapshot()) == [channel(1)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    rows.fault = None
    await table.reload()
    assert list(table.snapshot()) == [channel(1), channel(2)]


async def test_a_row_deleted_while_it_is_read_is_simply_gone() -> None:
    rows = Rows()
    table = ChannelTable(rows)
    rows.rows = {1: (1, channel(1))}

    async def stamps() -> Mapping[int, int]:
        return {1: 1, 2: 1}

    rows.stamps = stamps  # type: ignore[method-assign]
    await table.reload()
    assert list(table.snapshot()) == [channel(1)]
