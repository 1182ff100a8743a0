"""How a request ends for its payer: a pure decision from what happened on the way upstream."""

from __future__ import annotations

from dataclasses import replace

from oneapi_mw.exchange import Attempt, Exchange
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.usage import Usage


def owed_calls(exchange: Exchange, *, input_estimate: int) -> list[tuple[Attempt, Usage]]:
    """The upstream calls the payer owes for, mostly one, and what for. Each has a price of its own."""
    if exchange.parts:
        return [owed for part in exchange.parts for owed in owed_calls(part, input_estimate=part.input_estimate)]
    usage = billable_usage(exchange, input_estimate=input_estimate)
    return [] if usage is None else [(exchange.attempts[-1], usage)]


def calls_so_far(exchange: Exchange, *, input_estimate: int) -> list[tuple[Attempt, Usage]]:
    """What upstream calls under way have cost by now."""
    if exchange.parts:
        return [cost for part in exchange.parts for cost in calls_so_far(part, input_estimate=part.input_estimate)]
    tried = [attempt for attempt in exchange.attempts[-1:] if not attempt.refused]
    return [(attempt, usage_so_far(exchange, input_estimate=input_estimate)) for attempt in tried]


def billable_usage(exchange: Exchange, *, input_estimate: int) -> Usage | None:
    """What the payer owes for, or `None` when nothing is owed. Only the last attempt counts.

    | what happened                                          | owed                                   |
    |--------------------------------------------------------|----------------------------------------|
    | nothing was sent upstream, or never arrived            | nothing                                |
    | the upstream refused before any output                 | nothing                                |
    | usage was reported                                     | that                                   |
    | ... and the answer was cut after it                    | that, or what was relayed if more      |
    | ... without the output that was relayed                | what was relayed                       |
    | an answer without usage                                | the prompt and what was relayed        |
    | sent, then no answer: time-out, reset, client gone     | the prompt                             |
    """
    attempt = exchange.attempts[-1] if exchange.attempts else None
    if attempt is None or not attempt.dispatched or attempt.refused:
        return None
    reported = exchange.usage
    if reported is not None and reported.output_tokens and exchange.outcome == "complete":
        return reported
    return usage_so_far(exchange, input_estimate=input_estimate)


def usage_so_far(exchange: Exchange, *, input_estimate: int) -> Usage:
    """What an answer has cost by now: as reported, or as counted where that is more."""
    reported = exchange.usage
    output = estimate_tokens(exchange.produced.text_bytes)
    if reported is None:
        return Usage(input_tokens=input_estimate, output_tokens=output, source="counted" if output else "estimated")
    if output <= reported.output_tokens:
        return reported
    prompt = reported.input_tokens if reported.total_tokens else input_estimate
    return replace(reported, input_tokens=prompt, output_tokens=output, source="mixed")
