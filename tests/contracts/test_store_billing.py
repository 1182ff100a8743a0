"""What every store does with external transactions, redemption codes, entries and idempotency keys."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from oneapi_mw.ids import token_key
from oneapi_mw.ledger.base import ExternalNote, Held, Ledger
from oneapi_mw.ledger.external import external_facts, external_reserve, hold_key
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.principal import Principal
from oneapi_mw.store import key_records, memory_idempotency
from oneapi_mw.store.base import Conflict, Store
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.key_records import KeyClaim, KeyState
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.records import LogFilter, Page, TransactionStatus, UserRecord
from oneapi_mw.store.repositories import idempotency
from oneapi_mw.store.sql import SqlStore
from oneapi_mw.store.state_records import Owner
from oneapi_mw.store.tables import now_ms
from tests.support import servers

ALL = Page(limit=1000)
KEYRING = KeyRing([b"a secret for tests"])
NOWHERE = "00000000-0000-7000-8000-000000000000"
_numbers = count(1)
_made: dict[str, DatabaseUrl] = {}


@dataclass
class Bench:
    store: Store
    ledger: Ledger

    async def user(self, quota: int = 1000) -> UserRecord:
        return await self.store.users.create(username=f"user{next(_numbers)}", password_hash="hash", quota=quota)

    async def principal(self, quota: int = 1000) -> Principal:
        """A user with an API key."""
        user, key = await self.user(quota), token_key()
        await self.store.tokens.create(
            user_id=user.id, user_uuid=user.uuid, name="default", key=key, unlimited_quota=True
        )
        found = await self.store.principals.find(key)
        assert found is not None
        return found

    async def hold(self, principal: Principal, amount: int, id_: str, *, seconds: int = 600, **note: Any) -> str:
        """A pending transaction; returns its hold's key."""
        said = ExternalNote(id_, principal.token_uuid, principal.user_uuid, "scan", **note)
        request = external_reserve(principal, amount, said, seconds=seconds, body_hash="b" * 64, started_at=1)
        assert isinstance(await self.ledger.reserve(request), Held)
        return request.key


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql", "mysql"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench | None]:
    if request.param == "memory":
        yield None
        return
    url = await servers.migrated_database(request.param, tmp_path_factory.mktemp("store"))
    store, ledger = (
        SqlStore(url, KEYRING, migrate=False, channel_seconds=3600),
        open_ledger(url, worker="test", grace_seconds=0),
    )
    await store.start()
    await ledger.start()
    yield Bench(store, ledger)
    await ledger.aclose()
    await store.aclose()
    await servers.drop_database(url)


@pytest.fixture
async def bench(shared: Bench | None) -> AsyncIterator[Bench]:
    """Whatever a test does, the books balance in the end."""
    if shared is None:
        memory = MemoryStore()
        shared = Bench(memory, memory.ledger)
    yield shared
    assert [finding for finding in await shared.ledger.audit() if finding.invariant != "I-6"] == []


# --- external transactions -----------------------------------------------------------------------------------------


async def test_a_transaction_is_its_hold(bench: Bench) -> None:
    who, store = await bench.principal(), bench.store
    key = await bench.hold(who, 300, "it's \U0001f642", request_id="r" * 32, trace_id="trace", elapsed_time_ms=5)

    pending = await store.transactions.get(key)
    assert pending is not None
    assert (pending.transaction_id, pending.reason, pending.body_hash) == ("it's \U0001f642", "scan", "b" * 64)
    assert (pending.request_id, pending.trace_id, pending.elapsed_time_ms) == ("r" * 32, "trace", 5)
    assert (pending.token_uuid, pending.user_uuid) == (who.token_uuid, who.user_uuid)
    assert (pending.status, pending.pre_quota, pending.final_quota) == (TransactionStatus.PENDING, 300, None)
    held = await store.costs.get(key)
    assert held is not None
    assert (held.quota, held.state, held.guessable) == (300, "pending", True)
    assert (pending.log_uuid, pending.ended_at, pending.updated_at) == ("", None, pending.created_at)
    assert pending.expires_at * 1000 > pending.created_at + 500_000

    await bench.ledger.extend(key, 50)
    await bench.ledger.settle(key, 320, external_facts(who, "it's", "scan", elapsed_ms=9))
    ended = await store.transactions.get(key)
    assert ended is not None
    assert (ended.status, ended.pre_quota, ended.final_quota) == (TransactionStatus.CONFIRMED, 300, 320)
    assert (ended.uuid, ended.expires_at, ended.elapsed_time_ms) == (pending.uuid, 0, 9)
    assert ended.ended_at is not None
    assert ended.updated_at == ended.ended_at >= ended.created_at
    (row,), _ = await store.logs.list(LogFilter(token_id=who.token_id), ALL)
    assert (row.uuid, row.type, row.quota, row.request_id) == (ended.log_uuid, 7, 320, key)
    cost = await store.costs.get(key)
    assert cost is not None
    assert (cost.quota, cost.state, cost.estimated, cost.guessable) == (320, "final", False, True)


async def test_the_other_ends_of_a_transaction(bench: Bench) -> None:
    who = await bench.principal()
    canceled, late = await bench.hold(who, 10, "canceled"), await bench.hold(who, 20, "late", seconds=0)
    await bench.ledger.void(canceled)

    assert list(await bench.store.transactions.late(who.token_id)) == [late]
    assert list(await bench.store.transactions.late(who.token_id + 1)) == []
    assert await bench.ledger.expire([late]) == 1
    assert list(await bench.store.transactions.late(who.token_id)) == []
    found = {key: await bench.store.transactions.get(key) for key in (canceled, late)}
    assert [(each.status, each.final_quota, each.expires_at) for each in found.values() if each] == [
        (TransactionStatus.CANCELED, 0, 0),
        (TransactionStatus.AUTO_CONFIRMED, 20, 0),
    ]
    assert await bench.store.transactions.get("unknown") is None
    assert hold_key(1, "a") != hold_key(2, "a") != hold_key(2, "b")


async def test_the_newest_transactions_of_a_key(bench: Bench) -> None:
    who, other = await bench.principal(), await bench.principal()
    for n in range(6):
        await bench.hold(who, n, f"t{n}")
    await bench.hold(other, 1, "other")

    async def shown(offset: int, limit: int, most: int = 1000) -> tuple[list[str], int]:
        rows, total = await bench.store.transactions.list(who.token_id, Page(offset=offset, limit=limit), most=most)
        return [row.transaction_id for row in rows], total

    assert await shown(0, 3) == (["t5", "t4", "t3"], 6)
    assert await shown(4, 3) == (["t1", "t0"], 6)
    assert await shown(0, 10, most=2) == (["t5", "t4"], 2)
    assert await shown(1, 10, most=2) == (["t4"], 2)
    assert await shown(5, 10, most=2) == ([], 2)


# --- entries -------------------------------------------------------------------------------------------------------


async def test_what_was_booked_under_a_key_is_told(bench: Bench) -> None:
    user, key = await bench.user(), secrets.token_hex(16)
    users = bench.store.users

    first = await users.add_quota(user.id, 50, kind="topup", key=key, remark="one", actor_id=7)
    again = await users.add_quota(user.id, 51, kind="topup", key=key, remark="two")

    assert (first.user_id, first.amount, first.remark, first.first) == (user.id, 50, "one", True)
    assert (again.user_id, again.amount, again.remark, again.first) == (user.id, 50, "one", False)
    assert (await bench.ledger.user_balance(user.id)).quota == 1050


async def test_what_a_key_has_left_changes_by_a_difference(bench: Bench) -> None:
    user = await bench.user()
    token = await bench.store.tokens.create(
        user_id=user.id, user_uuid=user.uuid, name="n", key=token_key(), remain_quota=500
    )
    for more, left in ((-20, 480), (0, 480), (100, 580)):
        changed = await bench.store.tokens.update(token.uuid, {"more_quota": more})
        assert changed is not None
        assert changed.remain_quota == left


# --- redemption codes ----------------------------------------------------------------------------------------------


async def codes(bench: Bench, user: UserRecord, number: int = 1, **values: Any) -> list[str]:
    keys = [secrets.token_hex(16) for _ in range(number)]
    made = {"name": "gift", "quota": 250, **values}
    await bench.store.redemptions.create(user_id=user.id, user_uuid=user.uuid, keys=keys, **made)
    return keys


async def test_codes_are_made_all_or_none(bench: Bench) -> None:
    admin = await bench.user()
    keys = await codes(bench, admin, 2)
    with pytest.raises(Conflict, match="key"):
        await bench.store.redemptions.create(
            user_id=admin.id, user_uuid=admin.uuid, name="n", quota=1, keys=[secrets.token_hex(16), keys[0]]
        )
    rows, total = await bench.store.redemptions.list(ALL, keyword=admin.uuid)

    assert ([row.key for row in rows], total) == (keys[::-1], 2)
    assert await bench.store.redemptions.get(rows[0].uuid) == rows[0]
    assert await bench.store.redemptions.get(NOWHERE) is None
    assert (rows[0].status, rows[0].quota, rows[0].redeemed_time, rows[0].redeemed_by) == (1, 250, 0, None)


async def test_a_code_is_redeemed_by_one_of_many(bench: Bench) -> None:
    admin, users = await bench.user(), [await bench.user() for _ in range(4)]
    (key,) = await codes(bench, admin)

    found = await asyncio.gather(
        *(bench.store.redemptions.redeem(key, user_id=u.id, user_uuid=u.uuid) for u in users * 4)
    )

    won = [code for code in found if code is not None]
    assert len(won) == 1
    assert (won[0].status, won[0].quota, won[0].redeemed_time > 0) == (3, 250, True)
    balances = {user.uuid: (await bench.ledger.user_balance(user.id)).quota for user in users}
    assert sorted(balances.values()) == [1000, 1000, 1000, 1250]
    assert balances[str(won[0].redeemed_by)] == 1250
    winner = next(user for user in users if user.uuid == won[0].redeemed_by)
    (row,), _ = await bench.store.logs.list(LogFilter(user_id=winner.id), ALL)
    assert (row.type, row.quota, row.content) == (1, 250, "redemption code gift")


async def test_a_credit_that_does_not_fit_leaves_the_code(bench: Bench) -> None:
    admin = await bench.user()
    (key,) = await codes(bench, admin)
    with pytest.raises(KeyError):
        await bench.store.redemptions.redeem(key, user_id=10**9, user_uuid=NOWHERE)

    assert await bench.store.redemptions.redeem(key, user_id=admin.id, user_uuid=admin.uuid) is not None


async def test_a_code_that_was_used_stays_used(bench: Bench) -> None:
    admin, redemptions = await bench.user(), bench.store.redemptions
    (key,) = await codes(bench, admin)
    used = await redemptions.redeem(key, user_id=admin.id, user_uuid=admin.uuid)
    assert used is not None

    for changes in ({"status": 1}, {"quota": 5}, {"name": "n", "status": 2}):
        with pytest.raises(Conflict, match="status"):
            await redemptions.update(used.uuid, changes)
    renamed = await redemptions.update(used.uuid, {"name": "renamed"})
    assert renamed is not None
    assert (renamed.name, renamed.status) == ("renamed", 3)
    assert await redemptions.update(NOWHERE, {"status": 1}) is None
    with pytest.raises(ValueError, match="redemption code has no"):
        await redemptions.update(used.uuid, {"key": "k"})
    assert await redemptions.delete(used.uuid) is True
    assert await redemptions.delete(used.uuid) is False


async def test_a_code_changes_while_it_is_redeemed(bench: Bench) -> None:
    """Either the change comes first, and the credit is what it says, or it is refused."""
    admin, redemptions = await bench.user(), bench.store.redemptions
    for _ in range(5):
        (key,) = await codes(bench, admin)
        (row, *_), _ = await redemptions.list(ALL, keyword=admin.uuid)
        before = (await bench.ledger.user_balance(admin.id)).quota
        change, used = await asyncio.gather(
            redemptions.update(row.uuid, {"quota": 7}),
            redemptions.redeem(key, user_id=admin.id, user_uuid=admin.uuid),
            return_exceptions=True,
        )
        assert not isinstance(used, BaseException)
        assert used is not None
        assert used.quota == (250 if isinstance(change, Conflict) else 7)
        assert (await bench.ledger.user_balance(admin.id)).quota - before == used.quota


# --- idempotency keys ----------------------------------------------------------------------------------------------


def claim(request_id: str = "first", *, busy: float = 60.0) -> KeyClaim:
    return KeyClaim("f" * 64, request_id, busy)


def owner() -> Owner:
    number = next(_numbers)
    return Owner(number, number)


async def test_a_key_is_that_of_the_first(bench: Bench) -> None:
    keys, me = bench.store.idempotency, owner()
    assert await keys.claim(me, "k", claim()) is None
    assert await keys.claim(Owner(me.user_id, me.token_id + 10**6), "k", claim()) is None
    assert await keys.claim(me, "K", claim()) is None

    found = await keys.claim(me, "k", claim("second"))
    assert found is not None
    assert (found.fingerprint, found.request_id, found.state) == ("f" * 64, "first", KeyState.RUNNING)
    assert (found.busy, found.content) == (True, None)


async def test_of_many_claims_one_wins(bench: Bench) -> None:
    keys, me = bench.store.idempotency, owner()
    found = await asyncio.gather(*(keys.claim(me, "k", claim(f"r{n}")) for n in range(16)))

    assert found.count(None) == 1
    winner = found.index(None)
    assert {record.request_id for record in found if record is not None} == {f"r{winner}"}


@pytest.mark.parametrize("content", [b"", b"{}\n\x00\xff\r\n" + bytes(range(256)), b"x" * 262_144])
async def test_an_answer_comes_back_byte_for_byte(bench: Bench, content: bytes) -> None:
    keys, me = bench.store.idempotency, owner()
    await keys.claim(me, "k", claim())
    await keys.finish(me, "k", request_id="first", content=content)
    await keys.finish(me, "k", request_id="first", content=b"later")
    await keys.release(me, "k", request_id="first")

    found = await keys.claim(me, "k", claim("second"))
    assert found is not None
    assert (found.state, found.content, found.request_id) == (KeyState.ANSWERED, content, "first")


async def test_ends_without_an_answer(bench: Bench) -> None:
    keys, me = bench.store.idempotency, owner()
    await keys.claim(me, "ended", claim())
    await keys.finish(me, "ended", request_id="first", content=None)
    await keys.claim(me, "released", claim())
    await keys.release(me, "released", request_id="somebody else")
    await keys.finish(me, "released", request_id="somebody else", content=b"x")
    assert await keys.claim(me, "released", claim("second")) is not None
    await keys.release(me, "released", request_id="first")

    found = await keys.claim(me, "ended", claim("second"))
    assert found is not None
    assert (found.state, found.content) == (KeyState.ENDED, None)
    assert await keys.claim(me, "released", claim("second")) is None


async def test_a_lost_request_is_taken_over_by_one(bench: Bench) -> None:
    keys, me = bench.store.idempotency, owner()
    await keys.claim(me, "k", claim("lost", busy=0.0))
    found = await keys.claim(me, "k", claim("second"))
    assert found is not None
    assert found.busy is False

    taken = await asyncio.gather(*(keys.take_over(me, "k", claim(f"r{n}"), lost="lost") for n in range(8)))
    assert taken.count(True) == 1
    assert await keys.take_over(me, "k", claim("late"), lost="lost") is False
    await keys.finish(me, "k", request_id="lost", content=b"too late")
    found = await keys.claim(me, "k", claim("second"))
    assert found is not None
    assert (found.request_id, found.state) == (f"r{taken.index(True)}", KeyState.RUNNING)


async def test_keys_expire(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = bench.store.idempotency
    await keys.sweep()
    me = owner()
    for name in ("oneapi_mw.store.repositories.idempotency.KEPT_MS", "oneapi_mw.store.memory_idempotency.KEPT_MS"):
        monkeypatch.setattr(name, -1)
    for n in range(3):
        assert await keys.claim(me, f"k{n}", claim()) is None
    monkeypatch.undo()

    assert await keys.claim(me, "k0", claim("second")) is None
    assert await keys.sweep() == 2
    found = await keys.claim(me, "k0", claim("third"))
    assert found is not None
    assert found.request_id == "second"


async def test_the_oldest_answers_of_a_token_make_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys stay: a repeated request is refused, not charged again."""
    if isinstance(bench.ledger, MemoryLedger):
        return  # there the number of all keys is limited
    monkeypatch.setattr(idempotency, "MOST_ANSWERS", 3)
    monkeypatch.setattr(idempotency, "CHECK_EVERY", 5)
    clock = count(now_ms())
    monkeypatch.setattr(idempotency, "now_ms", lambda: next(clock))  # they expire one after the other
    keys, me, other = bench.store.idempotency, owner(), owner()
    for who, number in ((other, 1), (me, 5)):
        for n in range(number):
            await keys.claim(who, f"k{n}", claim())
            await keys.finish(who, f"k{n}", request_id="first", content=b"answer")

    states = []
    for n in range(5):
        found = await keys.claim(me, f"k{n}", claim("second"))
        states.append(found.state if found is not None else None)
    assert states == [KeyState.ENDED] * 2 + [KeyState.ANSWERED] * 3
    kept = await keys.claim(other, "k0", claim("second"))
    assert kept is not None
    assert kept.content == b"answer"


async def test_answers_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_idempotency, "MOST_BYTES", 25)
    monkeypatch.setattr(memory_idempotency, "MOST_KEYS", 4)
    keys, me = MemoryStore().idempotency, owner()
    for n in range(5):
        await keys.claim(me, f"k{n}", claim())
        await keys.finish(me, f"k{n}", request_id="first", content=b"0123456789")

    states = [found.state if (found := await keys.claim(me, f"k{n}", claim("x"))) else None for n in (4, 3, 2, 1)]
    assert states == [KeyState.ANSWERED] * 2 + [KeyState.ENDED] * 2
    assert await keys.claim(me, "k0", claim("x")) is None


async def test_answers_are_sealed_for_their_key(bench: Bench) -> None:
    if isinstance(bench.ledger, MemoryLedger):
        return  # nothing is written there
    keys, me, other = bench.store.idempotency, owner(), owner()
    for who in (me, other):
        await keys.claim(who, "k", claim())
        await keys.finish(who, "k", request_id="first", content=b"a secret answer")
    mine, theirs = (key_records.key_id(who, "k") for who in (me, other))
    assert isinstance(bench.store, SqlStore)
    async with bench.store._database.reading() as connection:
        rows = (await connection.execute(text("SELECT id, sealed FROM idempotency_keys"))).all()
    sealed: dict[str, bytes] = {row.id: row.sealed for row in rows}
    assert b"secret" not in sealed[mine]
    async with bench.store._database.writing() as connection:
        moved = text("UPDATE idempotency_keys SET sealed = :sealed WHERE id = :id")
        await connection.execute(moved, {"sealed": sealed[theirs], "id": mine})

    found = await keys.claim(me, "k", claim("second"))
    assert found is not None
    assert (found.state, found.content) == (KeyState.ENDED, None)
