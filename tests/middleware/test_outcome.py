"""What is owed for what happened."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.ledger.outcome import billable_usage, calls_so_far, owed_calls
from oneapi_mw.usage import Produced, Usage


def attempt(**fields: Any) -> Attempt:
    return Attempt(1, "", "", "m", "", "openai_chat", **fields)


SENT, REFUSED, KEPT = attempt(dispatched=True), attempt(dispatched=True, refused=True), attempt()
REPORTED = Usage(100, 30, cache_read=40, reasoning=5)
HUNDRED = 350  # text bytes that are estimated as a hundred tokens


@pytest.mark.parametrize(
    ("attempts", "outcome", "usage", "text_bytes", "owed"),
    [
        ([], "failed", None, 0, None),
        ([KEPT], "failed", None, 0, None),
        ([REFUSED], "failed", None, 0, None),
        ([SENT, REFUSED], "failed", None, 0, None),
        ([SENT, KEPT], "failed", None, 0, None),
        ([SENT, KEPT], "client_gone", None, 0, None),
        ([REFUSED, SENT], "failed", None, 0, Usage(20, 0, source="estimated")),
        ([SENT], "pending", None, 0, Usage(20, 0, source="estimated")),
        ([SENT], "client_gone", None, 0, Usage(20, 0, source="estimated")),
        ([SENT], "cancelled", None, HUNDRED, Usage(20, 100, source="counted")),
        ([SENT], "complete", None, HUNDRED, Usage(20, 100, source="counted")),
        ([SENT], "complete", REPORTED, 0, REPORTED),
        ([SENT], "complete", REPORTED, HUNDRED, REPORTED),
        ([SENT], "failed", REPORTED, 35, REPORTED),
        ([SENT], "failed", REPORTED, HUNDRED, Usage(100, 100, cache_read=40, reasoning=5, source="mixed")),
        ([SENT], "complete", Usage(100, 0), 0, Usage(100, 0)),
        ([SENT], "complete", Usage(100, 0), HUNDRED, Usage(100, 100, source="mixed")),
        ([SENT], "complete", Usage(0, 0), 0, Usage(0, 0)),
        ([SENT], "complete", Usage(0, 0), HUNDRED, Usage(20, 100, source="mixed")),
    ],
)
def test_the_outcome_table(attempts: list[Attempt], outcome: Any, usage: Any, text_bytes: int, owed: Any) -> None:
    exchange = Exchange("r", attempts=attempts, outcome=outcome, usage=usage, produced=Produced(text_bytes))
    assert billable_usage(exchange, input_estimate=20) == owed


def test_each_of_several_calls_is_owed_for_itself() -> None:
    one = Exchange("r", attempts=[REFUSED, SENT], outcome="complete", usage=REPORTED, input_estimate=1)
    cut = Exchange("r", attempts=[SENT], outcome="cancelled", produced=Produced(HUNDRED), input_estimate=2)
    late = Exchange("r", attempts=[SENT], input_estimate=3)
    refused = Exchange("r", attempts=[REFUSED], input_estimate=4)
    unsent = Exchange("r", input_estimate=5)
    whole = Exchange("r", attempts=[SENT] * 5, usage=Usage(7, 7), parts=[one, cut, late, refused, unsent])
    assert owed_calls(whole, input_estimate=100) == [
        (SENT, REPORTED),
        (SENT, Usage(2, 100, source="counted")),
        (SENT, Usage(3, 0, source="estimated")),
    ]
    assert [usage.input_tokens for _, usage in calls_so_far(whole, input_estimate=100)] == [100, 2, 3]


def test_one_call_is_owed_by_the_table() -> None:
    exchange = Exchange("r", attempts=[REFUSED, SENT], outcome="complete", usage=REPORTED)
    assert owed_calls(exchange, input_estimate=1) == [(SENT, REPORTED)]
    assert calls_so_far(exchange, input_estimate=1) == [(SENT, REPORTED)]
    assert owed_calls(Exchange("r", attempts=[REFUSED]), input_estimate=1) == []
    assert calls_so_far(Exchange("r"), input_estimate=1) == []
