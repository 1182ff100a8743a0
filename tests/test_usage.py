"""Sums of what answers consumed."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.usage import Usage, total_usage

counts = st.integers(0, 1000)
usages = st.builds(
    Usage,
    counts,
    counts,
    cache_read=counts,
    reasoning=st.none() | counts,
    hosted=st.lists(st.tuples(st.sampled_from(["web_search", "code"]), counts), max_size=2).map(tuple),
    source=st.sampled_from(["upstream", "counted", "estimated", "mixed"]),
)


def test_one_is_its_own_sum() -> None:
    usage = Usage(1, 2)
    assert total_usage([usage]) is usage


@pytest.mark.parametrize(
    ("members", "total"),
    [
        ([Usage(1, 2, reasoning=None), Usage(3, 4, reasoning=None)], Usage(4, 6)),
        ([Usage(1, 2, reasoning=1), Usage(3, 4)], Usage(4, 6, reasoning=1)),
        ([Usage(source="counted"), Usage(source="counted")], Usage(source="counted")),
        ([Usage(source="counted"), Usage()], Usage(source="mixed")),
        (
            [Usage(hosted=(("web_search", 1), ("code", 2))), Usage(hosted=(("code", 3),)), Usage()],
            Usage(hosted=(("web_search", 1), ("code", 5))),
        ),
    ],
    ids=str,
)
def test_members_are_added(members: list[Usage], total: Usage) -> None:
    assert total_usage(members) == total


@given(st.lists(usages, min_size=2, max_size=5))
def test_every_count_is_in_the_sum(members: list[Usage]) -> None:
    total = total_usage(members)
    for field in fields(Usage):
        values = [getattr(usage, field.name) for usage in members]
        if all(type(value) is int for value in values):
            assert getattr(total, field.name) == sum(values)
    assert sum(count for _, count in total.hosted) == sum(count for usage in members for _, count in usage.hosted)
