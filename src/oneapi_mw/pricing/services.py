"""Services with prices of their own: what a request asks for, and which price applies in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.usage import service_variant

_KEYS = ("speed", "service_tier", "serviceTier")
_MAY_BE_PRIORITY = "auto"
"""An explicit `auto` leaves it to the account, which may say priority."""


def wished_service(body: Mapping[str, Any]) -> str:
    """The service a request of any format asks for; empty for the usual one."""
    for key in _KEYS:
        variant = service_variant(body.get(key))
        if variant:
            return variant
    return ""


def prices_in_reach(price: CompiledPrice, body: Mapping[str, Any], instant_ms: int) -> Iterable[CompiledPrice]:
    """The prices one of which a request will be charged at: the usual service may always step in."""
    if price.variants:
        wished = {wished_service(body)}
        if any(body.get(key) == _MAY_BE_PRIORITY for key in _KEYS):
            wished.add("priority")
        for name in wished:
            if name in price.variants:
                yield price.variants[name].at(instant_ms)
    yield price.at(instant_ms)


def price_of_service(price: CompiledPrice, *, told: str, wished: str, instant_ms: int) -> CompiledPrice:
    """The price of the service an upstream gave.

    Args:
        told: what the upstream says (`Usage.variant`); empty when it was the usual one or it does not tell.
        wished: what the request asked for. It counts for services that upstreams do not report.
    """
    if price.variants:
        price = price.served(told or (wished if wished in _UNREPORTED else ""))
    return price.at(instant_ms) if price.windows else price


_UNREPORTED = frozenset({"fast"})
"""Tiers are told in every answer, so none told is the usual one, whatever was asked for."""
