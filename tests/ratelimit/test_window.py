"""The sliding window, against a list of every request there was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.ratelimit.base import Verdict
from oneapi_mw.ratelimit.memory import MemoryLimiter
from oneapi_mw.ratelimit.window import Window

SECONDS = 10.0


def test_exactly_the_limit_in_a_fresh_window() -> None:
    window = Window()
    verdicts = [window.take(100.0, limit=3, seconds=SECONDS) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert verdicts[0].reset_after == SECONDS


def test_a_burst_at_the_edge_does_not_double_the_limit() -> None:
    window = Window()
    before = sum(window.take(109.9, limit=10, seconds=SECONDS).allowed for _ in range(20))
    after = sum(window.take(110.1, limit=10, seconds=SECONDS).allowed for _ in range(20))
    assert (before, after) == (10, 0)


def test_two_quiet_windows_forget_everything() -> None:
    window = Window()
    for _ in range(3):
        window.take(100.0, limit=3, seconds=SECONDS)
    assert window.take(121.0, limit=3, seconds=SECONDS) == Verdict(True, 3, 2, 9.0)


@given(
    st.integers(1, 5),
    st.lists(st.floats(0, 8, allow_nan=False), min_size=1, max_size=60),
)
def test_against_every_request_there_was(limit: int, gaps: list[float]) -> None:
    window, now = Window(), 1000.0
    admitted: list[float] = []
    for gap in gaps:
        now += gap
        verdict = window.take(now, limit=limit, seconds=SECONDS)
        assert verdict.limit == limit
        assert 0 <= verdict.remaining < limit
        assert 0 < verdict.reset_after <= SECONDS
        if verdict.allowed:
            admitted.append(now)
            assert verdict.retry_after == 0
        else:
            assert 0 <= verdict.retry_after <= 2 * SECONDS
    for start in admitted:  # no window of a fixed grid has more, and no sliding one twice as much
        assert sum(start <= at < start + SECONDS for at in admitted) <= 2 * limit - 1 or limit == 1
    assert max(sum(at // SECONDS == n for at in admitted) for n in {at // SECONDS for at in admitted}) <= limit


@given(st.integers(1, 20), st.lists(st.floats(0, 3, allow_nan=False), max_size=60))
def test_who_waits_as_told_is_let_in(limit: int, gaps: list[float]) -> None:
    window, now = Window(), 1000.0
    for gap in [*gaps, *[0.0] * (limit + 1)]:
        now += gap
        verdict = window.take(now, limit=limit, seconds=SECONDS)
    assert not verdict.allowed
    assert window.take(now + verdict.retry_after + 1e-6, limit=limit, seconds=SECONDS).allowed


def test_nothing_at_all_is_a_limit_too() -> None:
    verdict = Window().take(103.0, limit=0, seconds=SECONDS)
    assert not verdict.allowed
    assert verdict.retry_after == pytest.approx(7.0)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


async def test_keys_do_not_share() -> None:
    limiter = MemoryLimiter(limit=1, seconds=SECONDS, clock=Clock())
    assert [(await limiter.take(key)).allowed for key in "aabab"] == [True, False, True, False, False]


async def test_time_is_the_clocks() -> None:
    clock = Clock()
    limiter = MemoryLimiter(limit=1, seconds=SECONDS, clock=clock)
    await limiter.take("a")
    clock.now += 2 * SECONDS
    assert (await limiter.take("a")).allowed


async def test_a_flood_of_keys_forgets_the_least_used() -> None:
    limiter = MemoryLimiter(limit=1, seconds=SECONDS, max_keys=2, clock=Clock())
    for key in ("a", "b", "a", "c"):
        await limiter.take(key)
    assert not (await limiter.take("a")).allowed
    assert (await limiter.take("b")).allowed
