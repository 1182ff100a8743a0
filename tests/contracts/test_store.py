"""What every store does, whatever it keeps its rows in."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest

from oneapi_mw.ids import token_key
from oneapi_mw.ledger.base import Denied, Held, Ledger, LogFacts, OnCrash, Reserve
from oneapi_mw.ledger.books import SqlBooks
from oneapi_mw.ledger.database import Database as LedgerDatabase
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.store.base import Conflict, Store
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.records import ChannelRecord, LogFilter, Page, TokenRecord, UserRecord
from oneapi_mw.store.repositories.rows import ENTRIES, USERS, insert_row
from oneapi_mw.store.sql import SqlStore
from oneapi_mw.store.tables import Entry, metadata
from tests.support import servers

ALL = Page(limit=1000)
KEYRING = KeyRing([b"a secret for tests"])
NOWHERE = "00000000-0000-7000-8000-000000000000"


@dataclass
class Bench:
    """A store with empty tables, and ledgers on the same books."""

    store: Store
    shared: Shared | None
    stack: AsyncExitStack

    async def ledger(self, *, on_crash: OnCrash = "prompt_cost") -> Ledger:
        if isinstance(self.store, MemoryStore):
            self.store.ledger.on_crash = on_crash
            return self.store.ledger
        assert self.shared is not None
        ledger = open_ledger(
            self.shared.url, worker=f"worker-{secrets.token_hex(4)}", on_crash=on_crash, grace_seconds=0
        )
        await ledger.start()
        self.stack.push_async_callback(ledger.aclose)
        return ledger

    async def user(self, quota: int = 1_000_000, **fields: Any) -> UserRecord:
        return await self.store.users.create(
            **{"username": f"user{next(_numbers)}", "password_hash": "hash", "quota": quota, **fields}
        )

    async def token(self, user: UserRecord, **fields: Any) -> TokenRecord:
        values = {"name": "default", "key": token_key(), "unlimited_quota": True, **fields}
        return await self.store.tokens.create(user_id=user.id, user_uuid=user.uuid, **values)

    async def grant(self, user: UserRecord, amount: int) -> None:
        """Change a balance by more than one entry may."""
        if isinstance(self.store, MemoryStore):
            self.store.ledger.open_account(user.id, amount)
            return
        assert self.shared is not None
        entry = Entry(key=secrets.token_hex(16), user_id=user.id, amount=amount, kind="adjust")
        async with self.shared.database.writing() as connection:
            await insert_row(connection, ENTRIES, entry)
            await connection.execute(USERS.update().where(USERS.c.id == user.id).values(quota=USERS.c.quota + amount))


_numbers = count(1)


@dataclass
class Shared:
    """One database for all tests of a kind, with what is connected to it."""

    url: DatabaseUrl
    store: SqlStore
    database: Database
    books: SqlBooks


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql", "mysql"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shared | None]:
    """`None` for the store in memory. The store's background task is too slow to come by."""
    if request.param == "memory":
        yield None
        return
    url = await servers.migrated_database(request.param, tmp_path_factory.mktemp("store"))
    store = SqlStore(url, KEYRING, migrate=False, channel_seconds=3600)
    database, books = Database(url), SqlBooks(LedgerDatabase(url.sqlalchemy), worker="test")
    await store.start()
    await database.start()
    yield Shared(url, store, database, books)
    await store.aclose()
    await database.aclose()
    await books.aclose()
    await servers.drop_database(url)


@pytest.fixture
async def bench(shared: Shared | None) -> AsyncIterator[Bench]:
    """Whatever a test does, the books balance in the end."""
    async with AsyncExitStack() as stack:
        if shared is None:
            memory = MemoryStore()
            yield Bench(memory, None, stack)
            assert await memory.ledger.audit() == []
            return
        async with shared.database.writing() as connection:
            for table in metadata.sorted_tables:
                await connection.execute(table.delete())
        await shared.store._channel_table.reload()
        yield Bench(shared.store, shared, stack)
    assert await shared.books.audit() == []


async def spend(ledger: Ledger, token: TokenRecord, amount: int, **facts: Any) -> str:
    """Reserve and settle; returns the request id."""
    key = secrets.token_hex(16)
    assert isinstance(await ledger.reserve(Reserve(key, token.user_id, token.id, amount)), Held)
    await ledger.settle(key, amount, LogFacts(**facts))
    return key


# --- users ---------------------------------------------------------------------------------------------------------


async def test_a_new_user(bench: Bench) -> None:
    users = bench.store.users
    assert await users.count() == 0
    made = await users.create(
        username="alice",
        password_hash="$hash",
        display_name="Alice \N{GRINNING FACE}",
        role=10,
        email="alice@example.com",
        group="vip",
        quota=12,
    )

    assert await users.count() == 1
    assert (made.username, made.display_name, made.role, made.email) == (
        "alice",
        "Alice \N{GRINNING FACE}",
        10,
        "alice@example.com",
    )
    assert (made.group, made.quota, made.used_quota, made.request_count, made.status) == ("vip", 12, 0, 0, 1)
    assert (made.aff_code, made.inviter_uuid, made.mcp_tool_blacklist, made.metadata) == ("", None, (), {})
    assert uuid.UUID(made.uuid).version == 7
    assert made.created_at == made.updated_at > 1_600_000_000_000
    assert made.password_hash == ""
    assert await users.get(made.uuid) == await users.get_by_id(made.id) == made
    assert await users.get(NOWHERE) is None
    assert await users.get_by_id(made.id + 1) is None


async def test_a_username_is_taken_once_and_case_counts(bench: Bench) -> None:
    await bench.user(username="alice")
    other = await bench.user(username="Alice")

    with pytest.raises(Conflict, match=r"^username$"):
        await bench.user(username="alice")
    with pytest.raises(Conflict, match=r"^username$"):
        await bench.store.users.update(other.id, {"username": "alice"})
    assert await bench.store.users.count() == 2


async def test_of_many_creating_one_user_one_succeeds(bench: Bench) -> None:
    made = await asyncio.gather(*(bench.user(username="root") for _ in range(5)), return_exceptions=True)

    assert sorted(type(one).__name__ for one in made) == ["Conflict"] * 4 + ["UserRecord"]
    assert await bench.store.users.count() == 1


async def test_logins_are_found_by_name_else_by_email(bench: Bench) -> None:
    users = bench.store.users
    alice = await bench.user(username="alice", email="a@example.com", password_hash="hash a")
    bob = await bench.user(username="bob", email="alice", password_hash="hash b")
    carol = await bench.user(username="carol", email="a@example.com")

    assert await users.find_login("alice") == replace(alice, password_hash="hash a")
    assert await users.find_login("a@example.com") == replace(alice, password_hash="hash a")
    await users.update(alice.id, {"username": "gone", "status": 3})
    assert await users.find_login("alice") == replace(bob, password_hash="hash b")
    found = await users.find_login("a@example.com")
    assert found is not None
    assert found.id == carol.id
    for name in ("", "Alice", "alice ", "gone", "nobody"):
        assert await users.find_login(name) is None


async def test_an_access_token_stands_for_its_user_until_replaced(bench: Bench) -> None:
    users = bench.store.users
    alice = await bench.user(access_token="first token")
    await bench.user()

    found = await users.find_access_token("first token")
    assert found == alice
    await users.update(alice.id, {"access_token": "second token"})
    assert await users.find_access_token("first token") is None
    found = await users.find_access_token("second token")
    assert found is not None
    assert found.id == alice.id
    with pytest.raises(Conflict, match=r"^access_token$"):
        await bench.user(access_token="second token")
    await users.update(alice.id, {"status": 3})
    assert await users.find_access_token("second token") is None
    assert await users.find_access_token("") is None


async def test_a_user_changes_in_what_is_named(bench: Bench) -> None:
    users = bench.store.users
    alice = await bench.user(email="a@example.com")
    changes = {"username": "al", "display_name": "Al", "group": "vip", "role": 10, "status": 2, "password_hash": "new"}

    changed = await users.update(alice.id, changes)
    assert changed is not None
    assert changed == replace(
        alice, username="al", display_name="Al", group="vip", role=10, status=2, updated_at=changed.updated_at
    )
    assert changed.updated_at >= alice.updated_at
    assert await users.get(alice.uuid) == changed
    login = await users.find_login("al")
    assert login is not None
    assert login.password_hash == "new"
    assert await users.update(alice.id, {}) == changed
    assert await users.update(alice.id + 1, {"group": "x"}) is None
    with pytest.raises(ValueError, match="has no quota to set"):
        await users.update(alice.id, {"quota": 5})


async def test_credits_are_booked_once_per_key(bench: Bench) -> None:
    users = bench.store.users
    alice = await bench.user(quota=100)

    await asyncio.gather(*(users.add_quota(alice.id, 50, kind="topup", key="k1") for _ in range(5)))
    await users.add_quota(alice.id, -30, kind="adjust", key="k2")
    await users.add_quota(alice.id, 0, kind="adjust", key="k3")

    after = await users.get(alice.uuid)
    assert after is not None
    assert after.quota == 120
    assert (await (await bench.ledger()).user_balance(alice.id)).quota == 120


async def test_concurrent_credits_all_count(bench: Bench) -> None:
    alice = await bench.user(quota=0)
    ledger = await bench.ledger()
    token = await bench.token(alice)
    await bench.store.users.add_quota(alice.id, 20, kind="topup", key="start")

    credits = [bench.store.users.add_quota(alice.id, 7, kind="topup", key=f"k{n}") for n in range(10)]
    await asyncio.gather(*credits, *(spend(ledger, token, 2) for _ in range(10)))

    after = await bench.store.users.get(alice.uuid)
    assert after is not None
    assert (after.quota, after.used_quota, after.request_count) == (70, 20, 10)


async def test_credits_that_cannot_be_booked_change_nothing(bench: Bench) -> None:
    users = bench.store.users
    alice = await bench.user(quota=100)

    with pytest.raises(KeyError):
        await users.add_quota(alice.id + 1, 5, kind="topup", key="k")
    for amount, kind, key in ((2**53 + 1, "topup", "k"), (5, "x" * 17, "k"), (5, "topup", "k" * 65), (5, "topup", "")):
        with pytest.raises(ValueError):
            await users.add_quota(alice.id, amount, kind=kind, key=key)
    await users.add_quota(alice.id, 5, kind="topup", key="k")
    after = await users.get(alice.uuid)
    assert after is not None
    assert after.quota == 105


async def test_a_balance_stays_far_from_the_end_of_64_bits(bench: Bench) -> None:
    users = bench.store.users
    for sign in (1, -1):
        alice = await bench.user(quota=0)
        await bench.grant(alice, sign * (2**62 - 5))
        await users.add_quota(alice.id, sign * 5, kind="adjust", key=f"{sign}")
        with pytest.raises(ValueError, match="would leave the range"):
            await users.add_quota(alice.id, sign, kind="adjust", key=f"{sign} more")
        after = await users.get(alice.uuid)
        assert after is not None
        assert after.quota == sign * 2**62
        await users.add_quota(alice.id, -sign, kind="adjust", key=f"{sign} less")


async def test_credits_show_up_in_the_logs(bench: Bench) -> None:
    alice = await bench.user(quota=0)
    for kind in ("topup", "adjust", "gift", "other"):
        await bench.store.users.add_quota(alice.id, 5, kind=kind, key=kind, remark=f"a {kind}")

    rows, total = await bench.store.logs.list(LogFilter(user_id=alice.id), Page(descending=False))
    assert [(row.type, row.content, row.quota) for row in rows] == [
        (1, "a topup", 5),
        (3, "a adjust", 5),
        (4, "a gift", 5),
    ]
    assert total == 3
    assert (rows[0].user_uuid, rows[0].username, rows[0].token_id) == (alice.uuid, alice.username, None)


async def test_users_are_listed_in_pages_without_deleted_ones(bench: Bench) -> None:
    users = bench.store.users
    made = [await bench.user(quota=quota) for quota in (5, 9, 5, 1)]
    gone = await bench.user()
    await users.update(gone.id, {"status": 3})
    ids = [user.id for user in made]

    async def listed(**page: Any) -> list[int]:
        rows, total = await users.list(Page(**page))
        assert total == 4
        return [row.id for row in rows]

    assert await listed() == ids[::-1]
    assert await listed(sort="quota") == [ids[1], ids[2], ids[0], ids[3]]
    assert await listed(sort="quota", descending=False) == [ids[3], ids[0], ids[2], ids[1]]
    assert await listed(offset=1, limit=2) == [ids[2], ids[1]]
    assert await listed(offset=10**11) == []
    with pytest.raises(ValueError, match="cannot sort by"):
        await users.list(Page(sort="password"))


# --- tokens --------------------------------------------------------------------------------------------------------


async def test_a_new_token(bench: Bench) -> None:
    tokens = bench.store.tokens
    alice = await bench.user()
    made = await tokens.create(
        user_id=alice.id,
        user_uuid=alice.uuid,
        name="work",
        key="the key itself",
        remain_quota=300,
        expired_time=2_000_000_000,
        models="gpt-4o,o3",
        subnet="192.0.2.0/24",
    )

    assert (made.user_id, made.user_uuid, made.key, made.name) == (alice.id, alice.uuid, "the key itself", "work")
    assert (made.remain_quota, made.used_quota, made.unlimited_quota, made.status) == (300, 0, False, 1)
    assert (made.expired_time, made.models, made.subnet) == (2_000_000_000, "gpt-4o,o3", "192.0.2.0/24")
    assert made.created_time == made.accessed_time == made.created_at // 1000
    assert await tokens.get(made.uuid) == await tokens.get_by_id(made.id) == made
    assert await tokens.get(made.uuid, user_id=alice.id) == made
    assert await tokens.get(made.uuid, user_id=alice.id + 1) is None
    assert await tokens.get(NOWHERE) is None
    with pytest.raises(Conflict, match=r"^key$"):
        await bench.token(alice, key="the key itself")
    with pytest.raises(ValueError, match="at most"):
        await bench.token(alice, remain_quota=2**53 + 1)


async def test_what_a_token_may_spend_is_booked(bench: Bench) -> None:
    ledger = await bench.ledger()
    alice = await bench.user(quota=1000)
    token = await bench.token(alice, unlimited_quota=False, remain_quota=100)
    refused = Reserve(secrets.token_hex(16), alice.id, token.id, 101)

    assert await ledger.reserve(refused) == Denied("token_quota", 100)
    await spend(ledger, token, 60)
    changed = await bench.store.tokens.update(token.uuid, {"remain_quota": 200})
    assert changed is not None
    assert (changed.remain_quota, changed.used_quota) == (200, 60)
    assert (await ledger.token_balance(token.id)).quota == 200
    lowered = await bench.store.tokens.update(token.uuid, {"remain_quota": 0, "name": "poor"})
    assert lowered is not None
    assert (lowered.remain_quota, lowered.name) == (0, "poor")


async def test_a_limit_can_be_lifted_and_set_while_requests_run(bench: Bench) -> None:
    ledger, tokens = await bench.ledger(), bench.store.tokens
    alice = await bench.user(quota=1000)
    token = await bench.token(alice, unlimited_quota=False, remain_quota=100)
    held = Reserve(secrets.token_hex(16), alice.id, token.id, 80)
    await ledger.reserve(held)

    lifted = await tokens.update(token.uuid, {"unlimited_quota": True})
    assert lifted is not None
    assert (lifted.unlimited_quota, lifted.remain_quota) == (True, 20)
    await spend(ledger, token, 500)
    await ledger.settle(held.key, 50, LogFacts())
    again = await tokens.update(token.uuid, {"unlimited_quota": False, "remain_quota": 70})
    assert again is not None
    assert (again.remain_quota, again.used_quota) == (70, 550)
    assert await ledger.reserve(Reserve(secrets.token_hex(16), alice.id, token.id, 71)) == Denied("token_quota", 70)


async def test_editing_a_token_never_undoes_spending(bench: Bench) -> None:
    ledger, tokens = await bench.ledger(), bench.store.tokens
    alice = await bench.user(quota=1000)
    token = await bench.token(alice, unlimited_quota=False, remain_quota=500)

    edits = [tokens.update(token.uuid, {"name": f"name {n}"}) for n in range(10)]
    await asyncio.gather(*edits, *(spend(ledger, token, 10) for _ in range(20)))

    after = await tokens.get(token.uuid)
    assert after is not None
    assert (after.remain_quota, after.used_quota) == (300, 200)


async def test_a_token_changes_in_what_is_named(bench: Bench) -> None:
    tokens = bench.store.tokens
    alice = await bench.user()
    token = await bench.token(alice, models="m")
    changes = {"name": "n", "status": 2, "expired_time": 5, "models": None, "subnet": None}

    assert await tokens.update(token.uuid, changes, user_id=alice.id + 1) is None
    assert await tokens.get(token.uuid) == token
    changed = await tokens.update(token.uuid, changes, user_id=alice.id)
    assert changed is not None
    assert changed == replace(
        token, name="n", status=2, expired_time=5, models=None, subnet=None, updated_at=changed.updated_at
    )
    assert await tokens.get(token.uuid) == changed
    assert await tokens.update(token.uuid, {}) == changed
    assert await tokens.update(NOWHERE, changes) is None
    with pytest.raises(ValueError, match="has no key to set"):
        await tokens.update(token.uuid, {"key": "k"})


async def test_a_deleted_token_is_gone_and_its_key_free(bench: Bench) -> None:
    ledger, tokens = await bench.ledger(), bench.store.tokens
    alice = await bench.user()
    token = await bench.token(alice, key="k" * 48, unlimited_quota=False, remain_quota=50)
    await spend(ledger, token, 10)

    assert not await tokens.delete(token.uuid, user_id=alice.id + 1)
    assert await tokens.delete(token.uuid, user_id=alice.id)
    assert not await tokens.delete(token.uuid)
    assert await tokens.get(token.uuid) is None
    assert await tokens.get_by_id(token.id) is None
    assert await tokens.list(ALL) == ([], 0)
    assert await tokens.update(token.uuid, {"status": 1}) is None
    assert await ledger.reserve(Reserve(secrets.token_hex(16), alice.id, token.id, 0)) == Denied("state")
    again = await bench.token(alice, key="k" * 48)
    assert again.id != token.id


async def test_tokens_are_searched_by_the_beginning_of_their_name_or_by_uuid(bench: Bench) -> None:
    alice, bob = await bench.user(), await bench.user()
    first = await bench.token(alice, name="work 100%")
    second = await bench.token(alice, name="Work")
    third = await bench.token(bob, name="work_1")

    async def found(keyword: str, user: UserRecord | None = None) -> set[int]:
        rows, total = await bench.store.tokens.list(ALL, keyword=keyword, user_id=user.id if user else None)
        assert total == len(rows)
        return {row.id for row in rows}

    assert await found("") == {first.id, second.id, third.id}
    assert await found("work") == {first.id, third.id}
    assert await found("work", alice) == {first.id}
    assert await found("work 100%") == {first.id}
    assert await found("work_") == {third.id}
    assert await found("%") == await found("ork") == await found("work'--") == set()
    assert await found(second.uuid.upper()) == {second.id}
    assert await found(alice.uuid.replace("-", "")) == {first.id, second.id}
    assert await found(first.uuid, bob) == set()


async def test_unlimited_tokens_have_the_most_left(bench: Bench) -> None:
    alice = await bench.user()
    amounts = [("poor", False, 5), ("free", True, 0), ("rich", False, 90)]
    for name, unlimited, quota in amounts:
        await bench.token(alice, name=name, unlimited_quota=unlimited, remain_quota=quota)

    rows, _ = await bench.store.tokens.list(Page(sort="remain_quota"))
    assert [row.name for row in rows] == ["free", "rich", "poor"]
    rows, total = await bench.store.tokens.list(Page(sort="name", descending=False, offset=1, limit=1))
    assert [row.name for row in rows] == ["poor"]
    assert total == 3
    with pytest.raises(ValueError, match="cannot sort by"):
        await bench.store.tokens.list(Page(sort="key"))


# --- principals ----------------------------------------------------------------------------------------------------


async def test_a_key_stands_for_its_token_and_owner(bench: Bench) -> None:
    find, key = bench.store.principals.find, token_key()
    alice = await bench.user(group="vip", role=10)
    subnet = "192.0.2.0/24, 2001:db8::/32"
    token = await bench.token(alice, key=key, models="m1,m2", subnet=subnet, expired_time=77, unlimited_quota=False)

    principal = await find(key)
    assert principal is not None
    assert (principal.user_id, principal.user_uuid, principal.username) == (alice.id, alice.uuid, alice.username)
    assert (principal.group, principal.role, principal.user_status) == ("vip", 10, 1)
    assert (principal.token_id, principal.token_uuid, principal.token_name) == (token.id, token.uuid, "default")
    assert (principal.token_status, principal.expires_at, principal.unlimited) == (1, 77, False)
    assert principal.models == frozenset(["m1", "m2"])
    assert principal.subnets == ("192.0.2.0/24", "2001:db8::/32")
    assert await find(key) == principal
    assert await find(key.swapcase()) is None
    assert await find(key + " ") is None
    assert await find("") is None


@pytest.mark.parametrize("empty", [None, ""])
async def test_without_lists_a_key_may_do_everything(bench: Bench, empty: str | None) -> None:
    key = token_key()
    await bench.token(await bench.user(), key=key, models=empty, subnet=empty)

    principal = await bench.store.principals.find(key)
    assert principal is not None
    assert (principal.models, principal.subnets) == (None, ())


async def test_changes_to_principals_are_seen_at_once(bench: Bench) -> None:
    store, find, key = bench.store, bench.store.principals.find, token_key()
    assert await find(key) is None
    alice = await bench.user()
    token = await bench.token(alice, key=key)

    async def seen() -> tuple[Any, ...]:
        principal = await find(key)
        assert principal is not None
        return principal.user_status, principal.group, principal.token_status, principal.token_name

    assert await seen() == (1, "default", 1, "default")
    await store.users.update(alice.id, {"status": 2, "group": "vip"})
    assert await seen() == (2, "vip", 1, "default")
    await store.tokens.update(token.uuid, {"status": 2, "name": "n"})
    assert await seen() == (2, "vip", 2, "n")
    await store.tokens.delete(token.uuid)
    assert await find(key) is None
    await bench.token(alice, key=key, name="again")
    assert await seen() == (2, "vip", 1, "again")


# --- channels ------------------------------------------------------------------------------------------------------


async def test_a_new_channel(bench: Bench) -> None:
    channels = bench.store.channels
    made = await channels.create({"type": 50, "name": "main", "key": "sk-provider"})

    assert (made.type, made.name, made.key, made.status, made.group) == (50, "main", "sk-provider", 1, "default")
    assert (made.base_url, made.models, made.config, made.balance, made.other) == ("", "", "", "0", None)
    assert (made.priority, made.weight, made.ratelimit, made.used_quota) == (0, 0, 0, 0)
    assert made.created_time == made.created_at // 1000
    assert uuid.UUID(made.uuid).version == 7
    assert await channels.get(made.uuid) == made
    assert await channels.get(NOWHERE) is None
    with pytest.raises(ValueError, match="has no used_quota to set"):
        await channels.create({"name": "x", "used_quota": 5})


async def test_a_channel_changes_in_what_is_named(bench: Bench) -> None:
    channels = bench.store.channels
    made = await channels.create({"name": "main", "key": "old", "models": "m", "system_prompt": "be kind"})
    long = "m" * 100_000

    changed = await channels.update(made.uuid, {"key": "new", "models": long, "system_prompt": None, "weight": 3})
    assert changed is not None
    assert changed == replace(made, key="new", models=long, system_prompt=None, weight=3, updated_at=changed.updated_at)
    assert changed.updated_at > made.updated_at
    assert await channels.get(made.uuid) == changed
    assert await channels.update(NOWHERE, {"weight": 3}) is None
    with pytest.raises(ValueError, match="has no id to set"):
        await channels.update(made.uuid, {"id": 5})


async def test_channels_are_listed_and_searched(bench: Bench) -> None:
    channels = bench.store.channels
    made = [await channels.create({"name": name, "priority": len(name)}) for name in ("main", "Main", "ma")]

    async def found(keyword: str = "", **page: Any) -> list[int]:
        rows, _ = await channels.list(Page(**page), keyword=keyword)
        return [made.index(row) for row in rows]

    assert await found() == [2, 1, 0]
    assert await found(sort="priority", descending=False) == [2, 0, 1]
    assert await found("ma") == [2, 0]
    assert await found("main") == [0]
    assert await found("_ain") == []
    assert await found(made[1].uuid) == [1]
    assert (await channels.list(Page(limit=1)))[1] == 3
    with pytest.raises(ValueError, match="cannot sort by"):
        await channels.list(Page(sort="key"))


async def test_the_channel_table_follows_each_change(bench: Bench) -> None:
    channels, table = bench.store.channels, bench.store.channel_table
    assert list(table.snapshot()) == []
    versions = [table.version()]
    first = await channels.create(
        {
            "type": 3,
            "name": "main",
            "key": "sk-provider",
            "base_url": "https://example.com",
            "models": "m1, m2,,m1",
            "group": "default, vip",
            "hidden_models": '["M2"]',
            "model_mapping": '{"m1": "real"}',
            "config": '{"api_version": "1"}',
            "model_configs": '{"m1": {"ratio": 1}}',
            "system_prompt": "",
            "priority": 7,
            "weight": 2,
            "ratelimit": 9,
        }
    )
    versions.append(table.version())
    (channel,) = before = table.snapshot()
    assert (channel.id, channel.uuid, channel.name, channel.type) == (first.id, first.uuid, "main", 3)
    assert (channel.key, channel.base_url, channel.models) == ("sk-provider", "https://example.com", ("m1", "m2"))
    assert (channel.groups, channel.hidden_models) == (("default", "vip"), frozenset(["m2"]))
    assert (channel.model_mapping, channel.config) == ({"m1": "real"}, {"api_version": "1"})
    assert (channel.model_configs, channel.system_prompt) == ({"m1": {"ratio": 1}}, None)
    assert (channel.priority, channel.weight, channel.ratelimit, channel.status) == (7, 2, 9, 1)
    assert "sk-provider" not in repr(channel)

    await channels.create({"name": "second"})
    versions.append(table.version())
    assert [channel.name for channel in table.snapshot()] == ["main", "second"]
    for status in (2, 1, 2):
        await channels.update(first.uuid, {"status": status})
        versions.append(table.version())
        assert [channel.status for channel in table.snapshot()] == [status, 1]
    assert await channels.delete(first.uuid)
    versions.append(table.version())
    assert [channel.name for channel in table.snapshot()] == ["second"]
    assert not await channels.delete(first.uuid)
    assert versions == sorted(set(versions))
    assert list(before) == [channel]


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("config", "{", "config is not valid JSON"),
        ("config", "[1]", "config must hold a JSON object"),
        ("model_mapping", '{"a": 1}', "model_mapping must hold names only"),
        ("hidden_models", '{"a": 1}', "hidden_models must hold a JSON list"),
        ("hidden_models", "[1]", "hidden_models must hold names only"),
        ("model_configs", '"x"', "model_configs must hold a JSON object"),
    ],
)
async def test_a_channel_that_cannot_be_read_is_left_out_and_logged_once(
    bench: Bench, column: str, text: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    channels, table = bench.store.channels, bench.store.channel_table
    bad = await channels.create({"name": "bad", column: text})
    await channels.create({"name": "good"})

    assert [channel.name for channel in table.snapshot()] == ["good"]
    assert [record.getMessage() for record in caplog.records if reason in record.getMessage()] == [
        f"channel {bad.id} is left out of routing: {reason}"
    ]
    await channels.update(bad.uuid, {column: "null"})
    assert [channel.name for channel in table.snapshot()] == ["bad", "good"]


# --- logs and costs ------------------------------------------------------------------------------------------------


@pytest.fixture
async def logged(bench: Bench) -> tuple[Bench, UserRecord, TokenRecord, ChannelRecord]:
    """Three settlements of alice, one of bob."""
    ledger = await bench.ledger()
    alice, bob = await bench.user(username="alice"), await bench.user(username="bob")
    token, other = await bench.token(alice, name="work"), await bench.token(bob)
    channel = await bench.store.channels.create({"name": "main"})
    common = {"user_uuid": alice.uuid, "username": "alice", "token_uuid": token.uuid, "token_name": "work"}
    await spend(ledger, token, 30, **common, model_name="m1", content="100% of it", prompt_tokens=3)
    await spend(ledger, token, 10, **common, model_name="m2", content="some", channel_uuid=channel.uuid)
    await spend(
        ledger,
        token,
        20,
        **common,
        model_name="m1",
        origin_model_name="alias",
        content="Some",
        channel_id=channel.id,
        channel_uuid=channel.uuid,
        channel_name="main",
        completion_tokens=5,
        cached_prompt_tokens=2,
        trace_id="trace",
        elapsed_time=321,
        is_stream=True,
        metadata={"k": {"n": 1}},
    )
    await spend(ledger, other, 5, user_uuid=bob.uuid, username="bob", token_name="default")
    return bench, alice, token, channel


async def test_a_settlement_is_a_log_row(logged: tuple[Bench, UserRecord, TokenRecord, ChannelRecord]) -> None:
    bench, alice, token, channel = logged
    row = (await bench.store.logs.list(LogFilter(user_id=alice.id), Page(limit=1)))[0][0]

    assert (row.user_id, row.user_uuid, row.username) == (alice.id, alice.uuid, "alice")
    assert (row.token_id, row.token_uuid, row.token_name) == (token.id, token.uuid, "work")
    assert (row.channel_uuid, row.channel_name, row.model_name) == (channel.uuid, "main", "m1")
    assert (row.origin_model_name, row.content, row.quota, row.type) == ("alias", "Some", 20, 2)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_prompt_tokens) == (0, 5, 2)
    assert (row.trace_id, row.elapsed_time, row.is_stream) == ("trace", 321, True)
    assert (row.system_prompt_reset, row.metadata) == (False, {"k": {"n": 1}})
    assert row.updated_at // 1000 == row.created_at
    assert len(row.request_id) == 32
    assert uuid.UUID(row.uuid).version == 7


async def test_logs_are_filtered(logged: tuple[Bench, UserRecord, TokenRecord, ChannelRecord]) -> None:
    bench, alice, token, channel = logged

    async def amounts(**where: Any) -> list[int]:
        rows, total = await bench.store.logs.list(LogFilter(**where), ALL)
        assert total == len(rows)
        return [row.quota for row in rows]

    last = (await bench.store.logs.list(LogFilter(), Page(limit=1)))[0][0]
    assert await amounts() == [5, 20, 10, 30]
    assert await amounts(user_id=alice.id) == await amounts(token_id=token.id) == [20, 10, 30]
    assert await amounts(username="alice", model_name="m1") == [20, 30]
    assert await amounts(token_name="default") == await amounts(username="bob") == [5]
    assert await amounts(channel_uuid=channel.uuid) == [20, 10]
    assert await amounts(type=2) == [5, 20, 10, 30]
    assert await amounts(type=1) == await amounts(user_id=alice.id, username="bob") == []
    assert await amounts(keyword="ome") == [20, 10]
    assert await amounts(keyword="some") == [10]
    assert await amounts(keyword="100%") == [30]
    assert await amounts(keyword="%e") == await amounts(keyword="'") == []
    assert await amounts(keyword=alice.uuid) == await amounts(keyword=f" {token.uuid.upper()} ") == [20, 10, 30]
    assert await amounts(keyword=channel.uuid.replace("-", "")) == [20, 10]
    assert await amounts(keyword=last.uuid) == [5]
    assert await amounts(start=last.created_at - 60, end=last.created_at) == [5, 20, 10, 30]
    assert await amounts(start=last.created_at + 1) == await amounts(end=last.created_at - 60) == []


async def test_logs_are_sorted_and_paged(logged: tuple[Bench, UserRecord, TokenRecord, ChannelRecord]) -> None:
    bench = logged[0]

    async def amounts(**page: Any) -> list[int]:
        rows, total = await bench.store.logs.list(LogFilter(), Page(**page))
        assert total == 4
        return [row.quota for row in rows]

    assert await amounts(descending=False) == [30, 10, 20, 5]
    assert await amounts(sort="quota") == [30, 20, 10, 5]
    assert await amounts(sort="prompt_tokens") == [30, 5, 20, 10]
    assert await amounts(sort="prompt_tokens", descending=False) == [10, 20, 5, 30]
    assert await amounts(offset=1, limit=2) == [20, 10]
    with pytest.raises(ValueError, match="cannot sort by"):
        await bench.store.logs.list(LogFilter(), Page(sort="content"))


async def test_the_cost_of_a_request_from_hold_to_charge(bench: Bench) -> None:
    ledger, costs = await bench.ledger(), bench.store.costs
    alice = await bench.user()
    token = await bench.token(alice)
    request = Reserve(secrets.token_hex(16), alice.id, token.id, 80)

    assert await costs.get(request.key) is None
    await ledger.reserve(request)
    pending = await costs.get(request.key)
    assert pending is not None
    assert (pending.request_id, pending.user_uuid) == (request.key, alice.uuid)
    assert (pending.quota, pending.state, pending.estimated) == (80, "pending", False)
    assert pending.created_time == pending.created_at // 1000
    await ledger.extend(request.key, 20)
    extended = await costs.get(request.key)
    assert extended is not None
    assert (extended.quota, extended.state) == (100, "pending")
    await ledger.settle(request.key, 55, LogFacts(user_uuid=alice.uuid))
    final = await costs.get(request.key)
    assert final is not None
    assert (final.quota, final.state, final.estimated, final.user_uuid) == (55, "final", False, alice.uuid)
    assert (final.request_id, final.uuid) == (request.key, pending.uuid)
    assert str(uuid.UUID(final.uuid)) == final.uuid
    assert (final.created_time, final.created_at) == (pending.created_time, pending.created_at)
    assert final.updated_at >= final.created_at


async def test_a_void_request_costs_nothing(bench: Bench) -> None:
    ledger = await bench.ledger()
    alice = await bench.user()
    request = Reserve(secrets.token_hex(16), alice.id, (await bench.token(alice)).id, 80)
    await ledger.reserve(request)
    await ledger.void(request.key)

    cost = await bench.store.costs.get(request.key)
    assert cost is not None
    assert (cost.quota, cost.state, cost.estimated, cost.user_uuid) == (0, "void", False, alice.uuid)


async def test_a_swept_request_costs_an_estimate(bench: Bench) -> None:
    ledger = await bench.ledger()
    alice = await bench.user()
    token = await bench.token(alice)
    request = Reserve(secrets.token_hex(16), alice.id, token.id, 80, lease_seconds=0, fallback=25)
    await ledger.reserve(request)
    assert await ledger.sweep() == 1

    cost = await bench.store.costs.get(request.key)
    assert cost is not None
    assert (cost.quota, cost.state, cost.estimated, cost.adjusted) == (25, "final", True, 0)


@pytest.mark.parametrize("policy", ["prompt_cost", "void"])
@pytest.mark.parametrize("final", [None, 0, 25, 60])
async def test_an_estimate_that_was_corrected_says_so(bench: Bench, policy: OnCrash, final: int | None) -> None:
    ledger = await bench.ledger(on_crash=policy)
    alice = await bench.user()
    token = await bench.token(alice, unlimited_quota=False, remain_quota=1000)
    request = Reserve(secrets.token_hex(16), alice.id, token.id, 80, lease_seconds=0, fallback=25)
    await ledger.reserve(request)
    await ledger.sweep()
    estimate = await bench.store.costs.get(request.key)
    await (ledger.void(request.key) if final is None else ledger.settle(request.key, final, LogFacts()))

    cost = await bench.store.costs.get(request.key)
    assert cost is not None
    assert estimate is not None
    assert (estimate.estimated, cost.estimated) == (True, False)
    assert (cost.quota, cost.adjusted) == (final or 0, estimate.quota - (final or 0))
    assert cost.state == ("void" if policy == "void" and not final else "final")
    assert cost.updated_at >= estimate.updated_at
    rows, _ = await bench.store.logs.list(LogFilter(user_id=alice.id), Page(descending=False))
    consumed = [row.quota for row in rows if row.type == 2]
    assert consumed == ([] if policy == "void" else [25])
    said = f"request {request.key}: {estimate.quota} was charged by estimate, it cost {cost.quota}"
    told = [(row.type, row.request_id, row.quota, row.content, row.username) for row in rows if row.type != 2]
    assert told == [(3, request.key, cost.adjusted, said, alice.username)] * bool(cost.adjusted)
    shown = await bench.store.tokens.get(token.uuid)
    assert shown is not None
    assert shown.remain_quota == 1000 - cost.quota


# --- options and sessions ------------------------------------------------------------------------------------------


async def test_price_cards_are_kept_once(bench: Bench) -> None:
    cards = bench.store.cards
    assert not cards.has("a")
    assert await cards.find("a") is None
    await asyncio.gather(*(cards.keep("a", '{"x": 1}') for _ in range(5)))
    await cards.keep("a", "another")
    assert cards.has("a")
    assert await cards.find("a") == '{"x": 1}'
    await cards.keep("b", "x" * 100_000)
    assert len(await cards.find("b") or "") == 100_000


async def test_options(bench: Bench) -> None:
    options = bench.store.options
    assert await options.all() == {}
    await options.set("A", "1")
    await options.set("a", "")
    await asyncio.gather(*(options.set("B", "2") for _ in range(5)))
    await options.set("A", "x" * 100_000)
    await options.set("A", "x" * 100_000)

    assert await options.all() == {"A": "x" * 100_000, "a": "", "B": "2"}


async def test_sessions_end_when_deleted_or_over(bench: Bench) -> None:
    sessions = bench.store.sessions
    first, second = await sessions.create(1, max_age=60), await sessions.create(1, max_age=60)
    other, over = await sessions.create(2, max_age=60), await sessions.create(3, max_age=0)

    assert len({first, second, other, over}) == 4
    assert all(len(session) >= 40 for session in (first, second, other))
    assert [await sessions.find(session) for session in (first, second, other)] == [1, 1, 2]
    assert await sessions.find(over) is None
    assert await sessions.find("") is None
    await sessions.delete(first)
    await sessions.delete("unknown")
    assert [await sessions.find(session) for session in (first, second, other)] == [None, 1, 2]
    await sessions.delete_user(1)
    assert [await sessions.find(session) for session in (first, second, other)] == [None, None, 2]
