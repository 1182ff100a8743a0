"""What is owed for what happened."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.ledger.outcome import billable_usage
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
