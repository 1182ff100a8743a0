"""What is owed for what happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.ledger.outcome import (
    FAILED_ATTEMPT,
    HOLD,
    PROMPT_COST,
    Owed,
    billable_usage,
    calls_so_far,
    is_ambiguous,
    owed_calls,
)
from oneapi_mw.routing.terms import BillingTerms
from oneapi_mw.usage import Meter, Produced, ToolUsage, Usage


def attempt(**fields: Any) -> Attempt:
    return Attempt(1, "", "", "m", "", "openai_chat", **fields)


SENT, REFUSED, KEPT = attempt(dispatched=True), attempt(dispatched=True, refused=True), attempt()
READ = attempt(dispatched=True, status=200, whole=True)
REPORTED = Usage(100, 30, cache_read=40, reasoning=5)
HUNDRED = 350  # text bytes that are estimated as a hundred tokens

ROWS: list[tuple[str, list[Attempt], str, Usage | None, int, Usage | None]] = [
    ("rejected before send", [], "failed", None, 0, None),
    ("connect refused", [KEPT], "failed", None, 0, None),
    ("client gone while connecting", [SENT, KEPT], "client_gone", None, 0, None),
    ("refused with a status", [REFUSED], "failed", None, 0, None),
    ("refused at last", [SENT, REFUSED], "failed", None, 0, None),
    ("sent, then connect refused", [SENT, KEPT], "failed", None, 0, None),
    ("sent, then nothing", [REFUSED, SENT], "failed", None, 0, Usage(20, 0, source="estimated")),
    ("still waiting", [SENT], "pending", None, 0, Usage(20, 0, source="estimated")),
    ("client gone, non-stream", [SENT], "client_gone", None, 0, Usage(20, 0, source="estimated")),
    ("client gone in mid-stream", [SENT], "client_gone", None, HUNDRED, Usage(20, 100, source="counted")),
    ("client gone, more reported than relayed", [SENT], "client_gone", REPORTED, 35, REPORTED),
    ("client gone, drained", [READ], "client_gone", REPORTED, HUNDRED, REPORTED),
    ("client gone, drained, no usage", [READ], "client_gone", None, HUNDRED, Usage(20, 100, source="counted")),
    ("cancelled in mid-stream", [SENT], "cancelled", None, HUNDRED, Usage(20, 100, source="counted")),
    ("2xx without usage", [SENT], "complete", None, HUNDRED, Usage(20, 100, source="counted")),
    ("2xx with usage", [SENT], "complete", REPORTED, 0, REPORTED),
    ("2xx with usage, whatever was counted", [SENT], "complete", REPORTED, HUNDRED, REPORTED),
    ("error in mid-stream after usage", [SENT], "failed", REPORTED, 35, REPORTED),
    (
        "error in mid-stream, more relayed than reported",
        [SENT],
        "failed",
        REPORTED,
        HUNDRED,
        Usage(100, 100, cache_read=40, reasoning=5, source="mixed"),
    ),
    ("error in mid-stream", [SENT], "failed", None, HUNDRED, Usage(20, 100, source="counted")),
    ("explicit zero output", [SENT], "complete", Usage(100, 0), 0, Usage(100, 0)),
    (
        "explicit zero output, but some came",
        [SENT],
        "complete",
        Usage(100, 0),
        HUNDRED,
        Usage(100, 100, source="mixed"),
    ),
    ("output without a prompt", [SENT], "complete", Usage(0, 30), 0, Usage(20, 30, source="mixed")),
    ("output without a prompt, cut", [SENT], "failed", Usage(0, 30), 35, Usage(20, 30, source="mixed")),
    ("explicit zero usage", [SENT], "complete", Usage(0, 0), 0, Usage(0, 0)),
    ("explicit zero usage, but output came", [SENT], "complete", Usage(0, 0), HUNDRED, Usage(20, 100, source="mixed")),
]


@pytest.mark.parametrize(
    ("attempts", "outcome", "usage", "text_bytes", "owed"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_the_outcome_table(attempts: list[Attempt], outcome: Any, usage: Any, text_bytes: int, owed: Any) -> None:
    exchange = Exchange("r", attempts=attempts, outcome=outcome, usage=usage, produced=Produced(text_bytes))
    assert billable_usage(exchange, input_estimate=20) == owed


RAN = ToolUsage((("web_search", 2),), (Meter("images", 1),))


@pytest.mark.parametrize(
    ("attempts", "outcome", "usage", "text_bytes", "owed"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_calls_of_hosted_tools_are_owed_beside_it(
    attempts: list[Attempt], outcome: Any, usage: Any, text_bytes: int, owed: Usage | None
) -> None:
    exchange = Exchange("r", attempts=attempts, outcome=outcome, usage=usage, produced=Produced(text_bytes, tools=RAN))
    both = None if owed is None else replace(owed, hosted=RAN.hosted, meters=RAN.meters)
    assert billable_usage(exchange, input_estimate=20) == both
    if both is not None and outcome == "pending":
        assert [usage for _, usage in calls_so_far(exchange, input_estimate=20)] == [both]


# What the terms of a channel decide.

LATE = attempt(dispatched=True, error="upstream_timeout")
UNSENT = attempt(error="upstream_unreachable")
BEGUN = attempt(dispatched=True, status=200, error="upstream_error")
TOLD = attempt(dispatched=True, refused=True, status=200, error="upstream_error", usage=Usage(9, 4))
PROMPT = Usage(20, 0, source="estimated")


@pytest.mark.parametrize(
    ("attempts", "ambiguous", "owed"),
    [
        ([LATE], "void", []),
        ([LATE], "prompt_cost", [Owed(LATE, PROMPT, PROMPT_COST)]),
        ([LATE], "hold", [Owed(LATE, PROMPT, HOLD)]),
        ([LATE, LATE], "hold", [Owed(LATE, PROMPT, HOLD)]),
        ([LATE, REFUSED], "hold", []),
        ([UNSENT], "hold", []),
        ([BEGUN], "void", [Owed(BEGUN, PROMPT)]),
        ([SENT], "void", [Owed(SENT, PROMPT)]),
    ],
    ids=["void", "prompt-cost", "hold", "again", "then-refused", "unsent", "headers-came", "client-gone"],
)
def test_sent_and_no_byte_came_back(attempts: list[Attempt], ambiguous: Any, owed: list[Owed]) -> None:
    exchange = Exchange("r", attempts=attempts)
    assert owed_calls(exchange, input_estimate=20, terms=lambda _: BillingTerms(ambiguous=ambiguous)) == owed


def test_only_the_upstream_makes_an_attempt_ambiguous() -> None:
    assert [is_ambiguous(each) for each in (LATE, UNSENT, BEGUN, SENT, REFUSED)] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("attempts", "usage", "passed_on", "owed"),
    [
        ([TOLD], Usage(9, 4), False, []),
        ([TOLD], Usage(9, 4), True, [Owed(TOLD, Usage(9, 4), FAILED_ATTEMPT)]),
        ([TOLD, SENT], REPORTED, False, [Owed(SENT, REPORTED)]),
        ([TOLD, SENT], REPORTED, True, [Owed(TOLD, Usage(9, 4), FAILED_ATTEMPT), Owed(SENT, REPORTED)]),
        ([REFUSED, SENT], REPORTED, True, [Owed(SENT, REPORTED)]),
        ([TOLD, REFUSED], None, True, [Owed(TOLD, Usage(9, 4), FAILED_ATTEMPT)]),
    ],
)
def test_attempts_that_failed(attempts: list[Attempt], usage: Usage | None, passed_on: bool, owed: list[Owed]) -> None:
    exchange = Exchange("r", attempts=attempts, outcome="complete", usage=usage)
    terms = BillingTerms(bill_failed_attempts=passed_on)
    assert owed_calls(exchange, input_estimate=20, terms=lambda _: terms) == owed


# Reports that cannot be true.


@pytest.mark.parametrize(
    ("told", "estimate", "limit", "relayed", "believed"),
    [
        (Usage(2_000_000, 400_000), 20, 0, 0, (2_000_000, 400_000)),
        (Usage(2_000_001, 7), 20, 0, 0, (2_000_000, 7)),
        (Usage(11, 400_001), 20, 100_000, 0, (11, 400_001)),
        (Usage(11, 400_001), 20, 99_000, 0, (11, 400_000)),
        (Usage(10**9, 10**9), 1_000_000, 200_000, 0, (4_001_000, 801_000)),
        (Usage(11, 10**9), 20, 1000, 200_000, (11, 801_000)),
    ],
    ids=["the-most", "prompt", "below-the-limit", "above-the-limit", "long-ones", "relayed"],
)
def test_reports_are_believed_as_far_as_they_can_be_true(
    told: Usage, estimate: int, limit: int, relayed: int, believed: tuple[int, int]
) -> None:
    produced = Produced(text_bytes=relayed * HUNDRED // 100)
    exchange = Exchange("r", attempts=[SENT], outcome="complete", usage=told, produced=produced)
    for owed in (
        owed_calls(exchange, input_estimate=estimate, output_limit=limit)[0],
        Owed(*calls_so_far(exchange, input_estimate=estimate, output_limit=limit)[0]),
    ):
        assert (owed.usage.input_tokens, owed.usage.output_tokens) == believed
    cut = believed != (told.input_tokens, told.output_tokens)
    assert owed_calls(exchange, input_estimate=estimate, output_limit=limit)[0].flag == ("implausible" if cut else "")


# Several calls.


def test_each_of_several_calls_is_owed_for_itself() -> None:
    one = Exchange("r", attempts=[REFUSED, SENT], outcome="complete", usage=REPORTED, input_estimate=1)
    cut = Exchange("r", attempts=[SENT], outcome="cancelled", produced=Produced(HUNDRED), input_estimate=2)
    late = Exchange("r", attempts=[SENT], input_estimate=3)
    refused = Exchange("r", attempts=[REFUSED], input_estimate=4)
    unsent = Exchange("r", input_estimate=5)
    whole = Exchange("r", attempts=[SENT] * 5, usage=Usage(7, 7), parts=[one, cut, late, refused, unsent])
    assert owed_calls(whole, input_estimate=100) == [
        Owed(SENT, REPORTED),
        Owed(SENT, Usage(2, 100, source="counted")),
        Owed(SENT, Usage(3, 0, source="estimated")),
    ]
    assert [usage.input_tokens for _, usage in calls_so_far(whole, input_estimate=100)] == [100, 2, 3]


def test_one_call_is_owed_by_the_table() -> None:
    exchange = Exchange("r", attempts=[REFUSED, SENT], outcome="complete", usage=REPORTED)
    assert owed_calls(exchange, input_estimate=1) == [Owed(SENT, REPORTED)]
    assert calls_so_far(exchange, input_estimate=1) == [(SENT, REPORTED)]
    assert owed_calls(Exchange("r", attempts=[REFUSED]), input_estimate=1) == []
    assert calls_so_far(Exchange("r"), input_estimate=1) == []


@pytest.mark.parametrize(
    ("attempts", "text_bytes", "owed"),
    [
        ([SENT], 35, REPORTED),
        ([SENT], HUNDRED, Usage(100, 100, cache_read=40, reasoning=5, source="mixed")),
        ([READ], HUNDRED, Usage(100, 100, cache_read=40, reasoning=5, source="mixed")),
    ],
    ids=["enough", "too-little", "read-for-nobody"],
)
def test_text_that_no_report_covers(attempts: list[Attempt], text_bytes: int, owed: Usage) -> None:
    produced = Produced(text_bytes, unreported=True)
    exchange = Exchange("r", attempts=attempts, outcome="complete", usage=REPORTED, produced=produced)
    assert billable_usage(exchange, input_estimate=20) == owed
