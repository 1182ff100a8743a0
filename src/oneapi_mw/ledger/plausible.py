"""Reports of usage that cannot be true.

An upstream decides what a request costs by what it reports, and a fault of its counters must not empty a balance. What
it can have read and written is known only roughly: agents and bots have prompts of their own, and search. So reports
are believed far beyond what was asked, and what is beyond that is not charged.
"""

from __future__ import annotations

from dataclasses import replace

from oneapi_mw.usage import Usage

MOST_INPUT, MOST_OUTPUT = 2_000_000, 400_000
"""Tokens that an answer may always report: the largest windows there are, and a few of the longest answers."""
TIMES_KNOWN, MORE = 4, 1000
"""Beyond them, how many times the tokens known of, and how many besides."""


def plausible(usage: Usage, *, input_estimate: int, output_known: int) -> Usage:
    """`usage`, or what of it can be true.

    Args:
        output_known: tokens that the request allows or that were relayed, whichever is more.
    """
    if usage.input_tokens <= MOST_INPUT and usage.output_tokens <= MOST_OUTPUT:
        return usage
    most_input = max(MOST_INPUT, TIMES_KNOWN * input_estimate + MORE)
    most_output = max(MOST_OUTPUT, TIMES_KNOWN * output_known + MORE)
    if usage.input_tokens <= most_input and usage.output_tokens <= most_output:
        return usage
    return replace(
        usage,
        input_tokens=min(usage.input_tokens, most_input),
        output_tokens=min(usage.output_tokens, most_output),
        source="mixed",
    )
