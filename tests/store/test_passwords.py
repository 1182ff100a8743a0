"""Password hashing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from oneapi_mw.errors import RateLimited
from oneapi_mw.store import passwords as module
from oneapi_mw.store.passwords import Argon2Passwords, hash_password, make_hasher, verify_password

CHEAP = make_hasher(memory_kib=64, passes=1)


async def test_a_password_is_the_one_its_hash_was_made_from() -> None:
    passwords = Argon2Passwords(CHEAP)
    hashed = await passwords.hash("correct horse")

    assert hashed.startswith("$argon2id$")
    assert len(hashed) <= 255
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("correct horse ", hashed)
    assert await passwords.hash("correct horse") != hashed


@pytest.mark.parametrize("password", ["", "\0", "a\0b", "\N{GRINNING FACE}" * 32, "\ud83d"])
async def test_any_text_is_a_password(password: str) -> None:
    passwords = Argon2Passwords(CHEAP)
    hashed = await passwords.hash(password)
    assert await passwords.verify(password, hashed)
    assert not await passwords.verify(password + "x", hashed)


@pytest.mark.parametrize("text", ["", "!", "plain", "$argon2id$v=19$broken", "$2b$12$" + "a" * 53])
async def test_text_that_is_no_hash_of_ours_matches_nothing(text: str) -> None:
    assert not await Argon2Passwords(CHEAP).verify("plain", text)


async def test_a_hash_of_another_cost_still_matches() -> None:
    hashed = await Argon2Passwords(make_hasher(memory_kib=128, passes=2)).hash("password")
    assert await Argon2Passwords(CHEAP).verify("password", hashed)


async def test_the_usual_cost_is_above_the_recommended_minimum() -> None:
    hashed = await hash_password("password")
    assert f"m={module.MEMORY_KIB},t={module.PASSES},p=1" in hashed
    assert module.MEMORY_KIB >= 19_456
    assert await verify_password("password", hashed)


async def test_hashing_happens_beside_the_event_loop_two_at_a_time() -> None:
    gate, entered = threading.Event(), asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    inside: list[int] = []

    class Slow(Argon2Passwords):
        async def wait(self) -> bool:
            return await self._in_thread(self._block)

        def _block(self) -> bool:
            inside.append(threading.get_ident())
            loop.call_soon_threadsafe(entered.release)
            return gate.wait(30)

    passwords = Slow(CHEAP, at_once=2, queue=3)
    calls = [asyncio.create_task(passwords.wait()) for _ in range(5)]
    await entered.acquire()
    await entered.acquire()
    assert len(inside) == 2
    assert threading.get_ident() not in inside
    with pytest.raises(RateLimited) as refused:
        await passwords.hash("one too many")
    assert refused.value.retry_after == 1
    gate.set()
    assert await asyncio.gather(*calls) == [True] * 5
    assert len(inside) == 5
    assert await passwords.hash("there is room again")
