"""How a request ends for its payer: a pure decision from what happened on the way upstream."""

from __future__ import annotations

from dataclasses import replace

from oneapi_mw.exchange import Exchange
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.usage import Usage


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
