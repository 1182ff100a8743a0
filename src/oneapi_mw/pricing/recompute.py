"""A bill worked out again, years later, from the log row and the card it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from oneapi_mw.pricing.card import Card
from oneapi_mw.pricing.charge import bill
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.facts import CALLS, COLUMNS, PARTS, PRICE
from oneapi_mw.pricing.price import RATIO_SCALE
from oneapi_mw.types import Quota
from oneapi_mw.usage import Meter, Usage


def usage_of_row(row: Mapping[str, Any], facts: Mapping[str, Any]) -> Usage:
    """The usage a row was charged for.

    Args:
        row: a log row's columns, or one of its calls: `prompt_tokens`, `completion_tokens` and `cached_prompt_tokens`.
        facts: what `price_facts` returned.
    """
    told = facts.get("usage", {})
    return Usage(
        input_tokens=row["prompt_tokens"],
        output_tokens=row["completion_tokens"],
        cache_read=row["cached_prompt_tokens"],
        hosted=tuple(told.get("hosted", {}).items()),
        meters=tuple(Meter(*reading) for reading in told.get("meters", ())),
        **{name: told[name] for name in PARTS if name in told},
    )


def recompute(row: Mapping[str, Any], facts: Mapping[str, Any], card: Card) -> Quota:
    """The quota of a log row, from what it keeps and the card it names.

    Raises: `ValueError` when the card has no such window.
    """
    price = compile_card(card, layer=facts["layer"])
    price = price.served(facts.get("variant", ""))
    window = facts.get("window", "")
    if window:
        found = [its_price for span, its_price in price.windows if span.name == window]
        if not found:
            raise ValueError(f"card {price.card_id} has no time window {window!r}")
        price = found[0]
    return bill(usage_of_row(row, facts), price, group_ratio=facts.get("group_ratio", RATIO_SCALE)).quota


def recompute_row(row: Mapping[str, Any], metadata: Mapping[str, Any], card_of: Callable[[str], Card]) -> Quota:
    """The quota of a log row: the sum over its upstream calls, mostly one.

    Args:
        card_of: a card by its id.

    Raises: as `recompute`.
    """
    calls = metadata.get(CALLS) or [{**{name: row[name] for name in COLUMNS}, PRICE: metadata[PRICE]}]
    return sum(recompute(call, call[PRICE], card_of(call[PRICE]["card_id"])) for call in calls)
