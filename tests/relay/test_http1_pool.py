"""Which connection is lent out, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from oneapi_mw.relay.http1_connection import Connection, Origin
from oneapi_mw.relay.http1_pool import ConnectionPool

HERE = Origin("a.test", 80, False)


class Transport:
    closing = False

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


class Timer:
    cancelled = False

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback = when, callback

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The running event loop, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.when <= self.now]
        self.timers = [timer for timer in self.timers if timer.when > self.now]
        for timer in due:
            assert not timer.cancelled
            timer.callback()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
async def pool(loop: Loop) -> ConnectionPool:
    return ConnectionPool(cast(Any, loop), connections_per_host=0, keepalive=15, dns_ttl=30, tls=None)


def returned(
    pool: ConnectionPool, origin: Origin = HERE, *, patience: float | None = None
) -> tuple[Connection, Transport]:
    """A connection that was used and has been given back."""
    connection, transport = Connection(pool, origin, pool._loop), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.lent, connection.patience = True, patience
    pool.release(connection, reusable=True)
    return connection, transport


async def test_the_one_given_back_last_comes_first(pool: ConnectionPool) -> None:
    first, _ = returned(pool)
    second, _ = returned(pool)
    assert [pool.take(HERE), pool.take(HERE), pool.take(HERE)] == [second, first, None]
    assert first.lent


@pytest.mark.parametrize(
    "other", [Origin("b.test", 80, False), Origin("a.test", 81, False), Origin("a.test", 80, True)]
)
async def test_only_the_same_origin_is_served(pool: ConnectionPool, other: Origin) -> None:
    connection, _ = returned(pool)
    assert pool.take(other) is None
    assert pool.take(HERE) is connection


async def test_what_is_closing_or_too_old_is_passed_over(pool: ConnectionPool) -> None:
    usable, _ = returned(pool)
    _, closing = returned(pool)
    _, old = returned(pool, patience=0)
    closing.closing = True
    assert pool.take(HERE) is usable
    assert old.closing


async def test_what_has_gone_is_forgotten(pool: ConnectionPool) -> None:
    connection, _ = returned(pool)
    connection.connection_lost(None)
    assert pool.take(HERE) is None


async def test_what_comes_back_after_closing_time_is_closed(pool: ConnectionPool) -> None:
    await pool.aclose()
    _, transport = returned(pool)
    assert transport.closing
    assert pool.take(HERE) is None


async def test_idle_ones_are_closed_in_time_with_one_timer(pool: ConnectionPool, loop: Loop) -> None:
    _, first = returned(pool)
    loop.advance(5)
    _, second = returned(pool)
    assert len(loop.timers) == 1
    loop.advance(10)
    assert (first.closing, second.closing) == (True, False)
    assert [timer.when for timer in loop.timers] == [120]
    loop.advance(5)
    assert second.closing
    assert loop.timers == []
    assert pool.take(HERE) is None


async def test_what_is_lent_out_does_not_expire(pool: ConnectionPool, loop: Loop) -> None:
    connection, transport = returned(pool)
    assert pool.take(HERE) is connection
    loop.advance(15)
    assert not transport.closing
    assert loop.timers == []


async def test_closing_stops_the_timer(pool: ConnectionPool, loop: Loop) -> None:
    returned(pool)
    await pool.aclose()
    assert [timer.cancelled for timer in loop.timers] == [True]
