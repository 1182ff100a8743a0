"""The plan of a request: the channels that may serve it, best first, each with its compiled price."""

from __future__ import annotations

from dataclasses import dataclass

from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.routing.channel import Channel
from oneapi_mw.scope import ScopeKey


@dataclass(frozen=True, slots=True)
class Candidate:
    """One channel that may serve the request."""

    channel: Channel
    model: str
    """The model's name at this channel's provider."""
    price: CompiledPrice


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates in the order they are tried, and the group ratio frozen at admission."""

    candidates: tuple[Candidate, ...]
    group: str
    group_ratio: int
    """Millionths: 1_000_000 is list price."""


PLAN: ScopeKey[Plan] = ScopeKey("oneapi_mw.plan")
