"""The plan of a request: the channels that may serve it, best first, each with its compiled price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oneapi_mw.canonical.call import Call
from oneapi_mw.immutable import immutable
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.providers.base import Provider
from oneapi_mw.routing.channel import Channel
from oneapi_mw.routing.options import channel_options
from oneapi_mw.routing.terms import TERMS, BillingTerms, channel_terms
from oneapi_mw.scope import ScopeKey
from oneapi_mw.wire.base import WireFormat
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import ConversionOptions, Target


@immutable
class Route:
    """One way to a channel: a wire format it speaks."""

    wire: WireFormat
    target: Target
    """What codecs need to know of the upstream."""
    addresses: Mapping[tuple[str, bool], str]
    """Full URL by operation, and whether a stream is asked for."""


@immutable
class Candidate:
    """One channel that may serve the request."""

    channel: Channel
    model: str
    """The model's name at this channel's provider."""
    price: CompiledPrice
    provider: Provider
    rules: ModelRules
    routes: Mapping[str, Route]
    """By name of the wire format, the one to prefer first."""
    terms: BillingTerms = TERMS
    group_ratio: int | None = None
    """Millionths, where the channel decides and not the group of the request (`Plan.ratio_of`)."""

    @staticmethod
    def compiled(
        channel: Channel,
        model: str,
        price: CompiledPrice,
        provider: Provider,
        options: ConversionOptions | None = None,
        terms: BillingTerms = TERMS,
        group_ratio: int | None = None,
    ) -> Candidate:
        """All that does not change from one request to the next, worked out once."""
        rules = rules_of(model)
        official = provider.is_official(channel)
        defaults = options or ConversionOptions()
        if not provider.spec.url_media:
            defaults = replace(defaults, inline_urls=True)
        chosen = channel_options(defaults, channel.config)
        routes = {}
        for name in provider.wires(channel, rules):
            wire = get_format(name)
            target = Target(model, rules, wire.vendor, official, provider=provider.spec.name, options=chosen)
            addresses = {
                (operation, stream): provider.url(channel, wire.upstream_path(operation, model=model, stream=stream))
                for operation in provider.spec.operations
                for stream in (False, True)
            }
            routes[name] = Route(wire, target, addresses)
        own = channel_terms(terms, channel.config)
        return Candidate(channel, model, price, provider, rules, routes, own, group_ratio)

    def route(self, call: Call) -> Route:
        """The way `call` takes: in the client's format where the channel speaks it and nothing speaks against it."""
        routes = self.routes
        if len(routes) > 1 and next(iter(routes.values())).target.official:
            chosen = self.provider.choose(call, self.rules, routes)
            if chosen is not None:
                return routes[chosen]
        found = routes.get(call.format)
        return found if found is not None else next(iter(routes.values()))


@immutable
class Plan:
    """Candidates in the order they are tried, and the group ratio frozen at admission."""

    candidates: tuple[Candidate, ...]
    group: str
    group_ratio: int
    """Millionths: 1_000_000 is list price."""

    def ratio_of(self, candidate: Candidate) -> int:
        """What `candidate` is charged at, in millionths: its own ratio, else that of the group."""
        return self.group_ratio if candidate.group_ratio is None else candidate.group_ratio


PLAN: ScopeKey[Plan] = ScopeKey("oneapi_mw.plan")
