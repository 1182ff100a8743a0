"""The first account."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oneapi_mw.store import bootstrap
from oneapi_mw.store.bootstrap import ROOT_QUOTA, ensure_root
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.passwords import Argon2Passwords, make_hasher, verify_password
from oneapi_mw.store.records import Page
from oneapi_mw.store.sql import SqlStore

KEY = "r00t" * 12


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = Argon2Passwords(make_hasher(memory_kib=64, passes=1))
    monkeypatch.setattr(bootstrap, "hash_password", cheap.hash)


async def test_an_empty_store_gets_root() -> None:
    store = MemoryStore()
    assert await ensure_root(store, password="123456")

    root = await store.users.find_login("root")
    assert root is not None
    assert (root.role, root.status, root.display_name, root.quota) == (100, 1, "Root User", ROOT_QUOTA)
    assert await verify_password("123456", root.password_hash)
    assert await store.tokens.list(Page()) == ([], 0)


async def test_root_gets_the_credentials_it_is_given() -> None:
    store = MemoryStore()
    await ensure_root(store, password="p", access_token="a" * 32, api_key=KEY)

    root = await store.users.find_access_token("a" * 32)
    assert root is not None
    (token,), _ = await store.tokens.list(Page())
    assert (token.name, token.key, token.unlimited_quota, token.expired_time) == ("Initial Root Token", KEY, True, -1)
    principal = await store.principals.find(KEY)
    assert principal is not None
    assert (principal.user_id, principal.role) == (root.id, 100)


@pytest.mark.parametrize("shown", ["sk-" + KEY, "my-" + KEY, "my-sk-laisky-" + KEY, f" {KEY}\n"])
async def test_the_api_key_is_found_as_requests_present_it(shown: str) -> None:
    store = MemoryStore()
    await ensure_root(store, password="p", api_key=shown, key_prefix="my-")
    assert await store.principals.find(KEY) is not None


async def test_a_store_with_users_is_left_alone() -> None:
    store = MemoryStore()
    await store.users.create(username="alice", password_hash="h")
    assert not await ensure_root(store, password="p", api_key=KEY)
    assert await store.users.count() == 1
    assert await store.principals.find(KEY) is None


async def test_what_was_changed_since_stays_changed() -> None:
    store = MemoryStore()
    await ensure_root(store, password="first", api_key=KEY)
    (token,), _ = await store.tokens.list(Page())
    await store.tokens.delete(token.uuid)
    assert not await ensure_root(store, password="second", api_key=KEY)

    root = await store.users.find_login("root")
    assert root is not None
    assert await verify_password("first", root.password_hash)
    assert await store.principals.find(KEY) is None


@pytest.mark.parametrize("weak", ["short", "sk-" + "x" * 15, "spaces in " + "x" * 20, "\N{EURO SIGN}" * 20, "x" * 201])
async def test_credentials_that_are_easy_to_guess_or_cannot_be_sent_are_refused(weak: str) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="INITIAL_ROOT_TOKEN must have"):
        await ensure_root(store, password="p", api_key=weak)
    with pytest.raises(ValueError, match="INITIAL_ROOT_ACCESS_TOKEN must have"):
        await ensure_root(store, password="p", access_token=weak.removeprefix("sk-"))
    assert await store.users.count() == 0


async def test_of_workers_that_start_at_once_one_makes_root(migrated_url: DatabaseUrl, tmp_path: Path) -> None:
    ring = KeyRing([b"a secret for tests"])
    stores = [SqlStore(migrated_url, ring) for _ in range(3)]

    async def start(store: SqlStore) -> bool:
        await store.start()
        return await ensure_root(store, password="p", api_key=KEY)

    try:
        made = await asyncio.gather(*map(start, stores))
        assert sorted(made) == [False, False, True]
        assert await stores[0].users.count() == 1
        assert (await stores[0].tokens.list(Page()))[1] == 1
    finally:
        await asyncio.gather(*(store.aclose() for store in stores))
