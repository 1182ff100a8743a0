"""Reasoning of recent answers is forgotten when it is old, too much or not to be told apart."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Reasoning, ReasoningOpaque, ReasoningText
from oneapi_mw.store.reasoning_cache import MemoryReasoningCache, ReasoningLimits
from oneapi_mw.wire.reasoning_cache import Kept

DAY = 24 * 3600


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(text: str = "Hm.", data: str = "S") -> Kept:
    return Kept("w", "m", (Reasoning((ReasoningText(text),), ReasoningOpaque(data, "v")),))


def test_an_entry_lives_a_day_after_its_last_use() -> None:
    clock = Clock()
    cache = MemoryReasoningCache(clock=clock)
    cache.put(b"a", kept())
    cache.put(b"b", kept())
    clock.now = DAY - 1
    assert cache.get(b"a") == kept()
    clock.now = DAY
    assert cache.get(b"b") is None
    assert len(cache) == 1
    clock.now = 2 * DAY - 2
    cache.put(b"a", kept())
    clock.now = 3 * DAY - 3
    assert cache.get(b"a") == kept()
    clock.now = 4 * DAY - 3
    assert cache.get(b"a") is None
    assert len(cache) == 0


def test_two_values_under_one_key_are_none() -> None:
    clock = Clock()
    cache = MemoryReasoningCache(clock=clock)
    cache.put(b"a", kept(data="S"))
    cache.put(b"a", kept(data="T"))
    assert cache.get(b"a") is None
    cache.put(b"a", kept(data="T"))
    assert cache.get(b"a") is None, "the first one is still about"
    clock.now = DAY
    cache.put(b"a", kept(data="T"))
    assert cache.get(b"a") == kept(data="T")


def test_what_was_used_longest_ago_makes_room() -> None:
    cache = MemoryReasoningCache(ReasoningLimits(max_entries=2))
    cache.put(b"a", kept())
    cache.put(b"b", kept())
    cache.get(b"a")
    cache.put(b"c", kept())
    assert [key for key in (b"a", b"b", b"c") if cache.get(key)] == [b"a", b"c"]


def test_a_large_value_is_not_kept() -> None:
    cache = MemoryReasoningCache()
    cache.put(b"a", kept("x" * (64 * 1024 - 1)))
    cache.put(b"b", kept("x" * 64 * 1024))
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.integers(0, 3), st.booleans()), max_size=40
    )
)
def test_limits_hold_whatever_comes(steps: list[tuple[str, int, int, bool]]) -> None:
    clock = Clock()
    limits = ReasoningLimits(seconds=5, max_entries=3, max_entry_bytes=8, max_bytes=15)
    cache = MemoryReasoningCache(limits, clock=clock)
    for name, length, later, reads in steps:
        clock.now += later
        key = name.encode()
        if reads:
            cache.get(key)
        else:
            cache.put(key, kept("x" * length, ""))
        sizes = [found.size for found in (cache.get(letter.encode()) for letter in "abcdef") if found is not None]
        assert len(cache) <= 3
        assert sum(sizes) <= 15
        assert all(size <= 8 for size in sizes)
