"""Services with prices of their own: what a request asks for, and which price applies in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.usage import service_variant

_KEYS = ("speed", "service_tier", "serviceTier")
_TELLING = frozenset(_KEYS)
_MAY_BE_PRIORITY = "auto"
"""An explicit `auto` leaves it to the account, which may say priority."""


def wished_service(body: Mapping[str, Any]) -> str:
    """The service a request of any format asks for; empty for the usual one."""
    if _TELLING.isdisjoint(body):
        return ""
    for key in _KEYS:
        if key in body and (variant := service_variant(body[key])):
            return variant
    return ""


def prices_in_reach(price: CompiledPrice, body: Mapping[str, Any], instant_ms: int) -> Sequence[CompiledPrice]:
    """The prices one of which a request will be charged at: the usual service may always step in."""
    usual = price.at(instant_ms)
    if not price.variants or _TELLING.isdisjoint(body):
        return (usual,)
    wished = {wished_service(body)}
    if any(body[key] == _MAY_BE_PRIORITY for key in _KEYS if key in body):
        wished.add("priority")
    return (*(price.variants[name].at(instant_ms) for name in wished if name in price.variants), usual)


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
