"""Counting what an upstream has not told: answers that came whole and said nothing of their usage."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.exchange import Exchange
from oneapi_mw.routing.parts import parts_of
from oneapi_mw.routing.plan import Plan
from oneapi_mw.tokens.estimate import estimate_tokens
from oneapi_mw.usage import Usage, UsageSource


class TokenCounter(Protocol):
    """Counts as the model's own tokenizer does, or as near to that as is known."""

    async def count_text(self, text: str, model: str) -> int:
        """Tokens of generated text."""

    async def count_call(self, call: Call, model: str) -> int:
        """Input tokens of a request. Raises `InvalidRequest` for what cannot be read."""


async def count_untold(exchange: Exchange, call: Call, plan: Plan, counter: TokenCounter) -> None:
    """Put into `exchange`, and into its parts, the usage of whole answers whose upstreams have not told it.

    Answers that were cut are not counted like this: thousands of clients may leave at once.
    """
    if exchange.parts:
        for part, its in zip(exchange.parts, parts_of(call, plan), strict=True):
            await count_untold(part, its.call, plan, counter)
        return
    produced, told = exchange.produced, exchange.usage or Usage()
    tells_output, tells_prompt = told.output_tokens > 0 and not produced.unreported, told.input_tokens > 0
    if not produced.text or (tells_output and tells_prompt):
        return
    model, output = exchange.attempts[-1].model, told.output_tokens
    if not tells_output:
        beyond = produced.text_bytes - len(produced.text.encode("utf-8", "surrogatepass"))
        counted = await counter.count_text(produced.text, model) + estimate_tokens(max(beyond, 0))
        output = max(output, counted)
    prompt = told.input_tokens or await _prompt(call, model, counter)
    # counted: a second settlement has nothing to wait for
    exchange.produced = replace(produced, text=None, unreported=False)
    source: UsageSource = "mixed" if tells_output or tells_prompt else "counted"
    exchange.usage = replace(told, input_tokens=prompt, output_tokens=output, source=source)


async def _prompt(call: Call, model: str, counter: TokenCounter) -> int:
    try:
        return await counter.count_call(call, model)
    except InvalidRequest:
        return call.input_estimate
