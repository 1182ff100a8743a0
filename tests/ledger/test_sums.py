"""Sums of a batch, without a database."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.ledger.base import Denied, LogFacts
from oneapi_mw.ledger.operation import Ending
from oneapi_mw.ledger.sums import Admission, Endings


def test_tokens_of_one_user_share_the_balance() -> None:
    admission = Admission([(1, 9, 100, False, 0), (2, 9, 100, True, 30)])

    assert admission.take(9, 1, 60) is None
    assert admission.take(9, 2, 31) == Denied("token_quota", 30)
    assert admission.take(9, 2, 30) is None
    assert admission.take(9, 1, 11) == Denied("user_quota", 10)
    assert admission.take(8, 1, 0) == Denied("state")
    assert (admission.from_users, admission.from_tokens) == ({9: 90}, {2: 30})


def test_a_hold_keeps_the_kind_of_token_it_was_reserved_with() -> None:
    admission = Admission([(1, 9, 100, True, 30)])

    assert admission.take(9, 1, 50, limited=False) is None
    assert admission.from_tokens == {}


@given(st.integers(-50, 200), st.lists(st.integers(0, 60)))
def test_nothing_is_admitted_past_the_balance_and_nothing_refused_that_fits(quota: int, amounts: list[int]) -> None:
    admission, left = Admission([(1, 9, quota, False, 0)]), quota
    for amount in amounts:
        denied = admission.take(9, 1, amount)
        assert (denied is None) == (amount <= left)
        left -= amount if denied is None else 0
    assert quota - admission.from_users.get(9, 0) == left


async def test_endings_give_back_and_charge() -> None:
    """Of an unlimited token nothing is given back, but what it used is counted; a void is no request."""
    endings = Endings()

    def end(token_id: int, final: int, channel_id: int | None, *, limited: bool, settled: bool = True) -> None:
        facts = LogFacts(channel_id=channel_id) if settled else None
        ending = Ending("key", final, facts, asyncio.get_running_loop().create_future(), 0)
        endings.add(ending, 9, token_id, limited=limited, amount=100, final=final)

    end(1, 30, 7, limited=True)
    end(1, 130, 7, limited=True)  # more than was held
    end(1, 0, 7, limited=True, settled=False)
    end(2, 40, None, limited=False)
    assert dict(endings.users) == {9: [70 - 30 + 100 + 60, 200, 3, 400]}
    assert dict(endings.tokens) == {1: [70 - 30 + 100, 160, 2], 2: [0, 40, 1]}
    assert dict(endings.channels) == {7: 160}
    assert endings.charged == {9: 200}
