"""How a request ends for its payer: a pure decision from what happened on the way upstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.ledger.plausible import plausible
from oneapi_mw.routing.terms import TERMS, BillingTerms
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.usage import NOTHING, Usage, with_tools

FAILED_ATTEMPT = "failed_attempt"
BACKGROUND = "background"
HOLD = "ambiguous:hold"
PROMPT_COST = "ambiguous:prompt_cost"
IMPLAUSIBLE = "implausible"

AT_LEAST_THE_HOLD = frozenset({HOLD, BACKGROUND})


class Owed(NamedTuple):
    """One upstream call that is charged."""

    attempt: Attempt
    usage: Usage
    flag: str = ""
    """Why it is although it was of no use: `FAILED_ATTEMPT`, `PROMPT_COST`, or `HOLD`; or `BACKGROUND`, as nobody knows
    what it was of. Of these, `AT_LEAST_THE_HOLD` are charged all that was set aside. Or `IMPLAUSIBLE`: its upstream has
    reported more than can be true, and that is not charged."""


def _usual(attempt: Attempt) -> BillingTerms:
    return TERMS


def owed_calls(
    exchange: Exchange,
    *,
    input_estimate: int,
    output_limit: int = 0,
    terms: Callable[[Attempt], BillingTerms] = _usual,
) -> list[Owed]:
    """The upstream calls the payer owes for, mostly one, and what for. Each has a price of its own.

    Args:
        output_limit: tokens the request allows; 0 when it does not say.
        terms: what the channel of an attempt says.
    """
    if exchange.parts:
        return [
            owed
            for part in exchange.parts
            for owed in owed_calls(part, input_estimate=part.input_estimate, output_limit=output_limit, terms=terms)
        ]
    known = max(output_limit, estimate_tokens(exchange.produced.text_bytes))
    return [
        _believed(owed, input_estimate=input_estimate, output_known=known)
        for owed in _owed(exchange, input_estimate=input_estimate, terms=terms)
    ]


def _believed(owed: Owed, *, input_estimate: int, output_known: int) -> Owed:
    usage = plausible(owed.usage, input_estimate=input_estimate, output_known=output_known)
    return owed if usage is owed.usage else owed._replace(usage=usage, flag=owed.flag or IMPLAUSIBLE)


def _owed(exchange: Exchange, *, input_estimate: int, terms: Callable[[Attempt], BillingTerms]) -> list[Owed]:
    if not exchange.attempts:
        return []
    failed: list[Owed] = []
    for attempt in exchange.attempts:
        told = attempt.usage
        if told is not None and told != NOTHING and terms(attempt).bill_failed_attempts:
            failed.append(Owed(attempt, told, FAILED_ATTEMPT))
    attempt = exchange.attempts[-1]
    if failed and failed[-1].attempt is attempt:
        return failed
    usage = billable_usage(exchange, input_estimate=input_estimate)
    if usage is None:
        return failed
    flag = ""
    if is_ambiguous(attempt):
        policy = terms(attempt).ambiguous
        if policy == "void":
            return failed
        flag = HOLD if policy == "hold" else PROMPT_COST
    elif attempt.goes_on and (exchange.usage is None or not (attempt.whole or exchange.outcome == "complete")):
        flag = BACKGROUND  # it is worked at, and its end does not pass by here
    return [*failed, Owed(attempt, usage, flag)]


def is_ambiguous(attempt: Attempt) -> bool:
    """Whether the upstream failed in such a way that nobody knows if it has read the request: it was sent, and not
    one byte came back. A client that leaves makes nothing ambiguous: its prompt was sent, and is paid."""
    return attempt.dispatched and attempt.status is None and attempt.error is not None


def calls_so_far(exchange: Exchange, *, input_estimate: int, output_limit: int = 0) -> list[tuple[Attempt, Usage]]:
    """What upstream calls under way have cost by now. Arguments as those of `owed_calls`."""
    if exchange.parts:
        return [
            cost
            for part in exchange.parts
            for cost in calls_so_far(part, input_estimate=part.input_estimate, output_limit=output_limit)
        ]
    if not exchange.attempts or exchange.attempts[-1].refused:
        return []
    usage = usage_so_far(exchange, input_estimate=input_estimate)
    known = max(output_limit, estimate_tokens(exchange.produced.text_bytes))
    return [(exchange.attempts[-1], plausible(usage, input_estimate=input_estimate, output_known=known))]


def billable_usage(exchange: Exchange, *, input_estimate: int) -> Usage | None:
    """What was consumed by the last attempt, the only one that counts, or `None` when nothing is owed for it.

    | what happened                                          | owed                                   |
    |--------------------------------------------------------|----------------------------------------|
    | nothing was sent upstream, or never arrived            | nothing                                |
    | the upstream refused before any output                 | nothing                                |
    | usage was reported, be it zero                         | that                                   |
    | ... without a prompt, though there was output          | the prompt as estimated                |
    | ... and the answer was cut, or went on, after it       | that, or what was relayed if more      |
    | ... and the client had left, the answer was read whole | that                                   |
    | ... without the output that was relayed                | what was relayed                       |
    | an answer without usage                                | the prompt and what was relayed        |
    | sent, then no answer: time-out, reset                  | the prompt; the channel's terms decide |
    | sent, then the client left or the gateway stopped      | the prompt                             |

    Whatever row it is, calls of hosted tools that the answer shows are owed beside it.
    """
    attempt = exchange.attempts[-1] if exchange.attempts else None
    if attempt is None or not attempt.dispatched or attempt.refused:
        return None
    reported = exchange.usage
    whole = attempt.whole or exchange.outcome == "complete"
    if reported is not None and reported.output_tokens and whole and not exchange.produced.unreported:
        return with_tools(_with_prompt(reported, input_estimate), exchange.produced.tools)
    return usage_so_far(exchange, input_estimate=input_estimate)


def usage_so_far(exchange: Exchange, *, input_estimate: int) -> Usage:
    """What an answer has cost by now: as reported, or as counted where that is more. Calls of hosted tools that it
    shows are owed either way."""
    reported = exchange.usage
    output = estimate_tokens(exchange.produced.text_bytes)
    if reported is None:
        used = Usage(input_tokens=input_estimate, output_tokens=output, source="counted" if output else "estimated")
    elif output <= reported.output_tokens:
        used = _with_prompt(reported, input_estimate)
    else:
        used = _with_prompt(replace(reported, output_tokens=output, source="mixed"), input_estimate)
    return with_tools(used, exchange.produced.tools)


def _with_prompt(usage: Usage, input_estimate: int) -> Usage:
    """`usage` with the prompt that every output has: some servers tell of none, or in a way that nobody can read."""
    if usage.input_tokens or not usage.output_tokens:
        return usage
    return replace(usage, input_tokens=input_estimate, source="mixed")
