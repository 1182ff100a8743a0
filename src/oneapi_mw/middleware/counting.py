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
from oneapi_mw.usage import Usage


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
    produced, told = exchange.produced, exchange.usage
    if not produced.text or (told is not None and told.output_tokens):
        return
    model = exchange.attempts[-1].model
    beyond = produced.text_bytes - len(produced.text.encode("utf-8", "surrogatepass"))
    output = await counter.count_text(produced.text, model) + estimate_tokens(max(beyond, 0))
    produced.text = None  # counted: a second settlement has nothing to wait for
    if told is not None and told.input_tokens:
        exchange.usage = replace(told, output_tokens=output, source="mixed")
        return
    try:
        prompt = await counter.count_call(call, model)
    except InvalidRequest:
        prompt = call.input_estimate
    exchange.usage = Usage(prompt, output, source="counted")
