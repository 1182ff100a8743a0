"""Which channels may serve a request, and in which order.

A table is compiled once per change of the channels; a request then costs one dictionary look-up and, when
several channels share a priority, a weighted draw.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from oneapi_mw.errors import InvalidRequest, ModelPriceMissing, NoChannelAvailable
from oneapi_mw.immutable import immutable
from oneapi_mw.operations.registry import OPERATIONS
from oneapi_mw.pricing.book import PriceBook
from oneapi_mw.pricing.groups import GroupRatioMode, smallest_ratio
from oneapi_mw.pricing.price import RATIO_SCALE
from oneapi_mw.providers.base import Provider
from oneapi_mw.providers.catalogue import get_provider
from oneapi_mw.routing.channel import Channel, ChannelStatus
from oneapi_mw.routing.plan import Candidate, Plan
from oneapi_mw.routing.terms import TERMS, BillingTerms
from oneapi_mw.wire.target import ConversionOptions


@immutable
class _Tier:
    """Candidates of one priority."""

    candidates: tuple[Candidate, ...]
    weights: tuple[int, ...]

    def draw(self, rng: random.Random) -> Sequence[Candidate]:
        """All candidates in random order, heavier ones tending to the front; weight 0 comes after any weight."""
        if len(self.candidates) == 1:
            return self.candidates
        # Efraimidis and Spirakis: the order of exponential draws with rate `weight` is a weighted draw
        # without replacement.
        keyed = [
            ((0, rng.expovariate(weight)) if weight else (1, rng.random()), place)
            for place, weight in enumerate(self.weights)
        ]
        keyed.sort()
        return [self.candidates[place] for _, place in keyed]


class RoutingTable:
    """Candidates by (operation, group, model), compiled from a snapshot of channels."""

    def __init__(
        self,
        channels: Iterable[Channel],
        *,
        group_ratios: Mapping[str, int],
        prices: PriceBook | None = None,
        options: ConversionOptions | None = None,
        terms: BillingTerms = TERMS,
        group_ratio_mode: GroupRatioMode = "user",
    ) -> None:
        self._options = options
        self._group_ratio_mode = group_ratio_mode
        self._terms = terms
        self._group_ratios = dict(group_ratios)
        self._prices = prices if prices is not None else PriceBook()
        self._by_id: dict[str, Channel] = {}
        self._unpriced: set[tuple[str, str, str]] = set()
        """(operation, group, model) that some channel serves, but none with a price."""
        self._without_price: dict[str, list[str]] = {}
        gathered: dict[tuple[str, str, str], dict[int, list[Candidate]]] = {}
        for channel in channels:
            self._by_id[channel.uuid] = self._by_id[str(channel.id)] = channel
            if channel.status == ChannelStatus.ENABLED:
                self._gather(channel, gathered)
        self._tiers: dict[tuple[str, str, str], tuple[_Tier, ...]] = {
            key: tuple(_tier(tiers[priority]) for priority in sorted(tiers, reverse=True))
            for key, tiers in gathered.items()
        }

    def _gather(self, channel: Channel, gathered: dict[tuple[str, str, str], dict[int, list[Candidate]]]) -> None:
        provider = get_provider(channel.type)
        if provider is None:
            return
        for model in dict.fromkeys(channel.models):
            if model.lower() in channel.hidden_models:
                continue
            candidate = self._candidate(channel, model, provider)
            if candidate is None:
                self._without_price.setdefault(model, []).append(channel.name)
            for operation in provider.spec.operations:
                charged = candidate is not None and candidate.price.covers(_unit(operation))
                for group in dict.fromkeys(channel.groups):
                    key = (operation, group, model)
                    if candidate is None or not charged:
                        self._unpriced.add(key)
                    else:
                        gathered.setdefault(key, {}).setdefault(channel.priority, []).append(candidate)

    def _candidate(self, channel: Channel, model: str, provider: Provider) -> Candidate | None:
        actual = channel.model_mapping.get(model, model)
        try:
            price = self._prices.price(
                actual,
                provider=provider.spec.name,
                model_configs=channel.model_configs,
                channel_config=channel.config,
            )
        except ValueError:  # a malformed card is refused when it is saved; one that slipped in prices nothing
            price = None
        if price is None:
            return None
        ratio = smallest_ratio(channel.groups, self._group_ratios) if self._group_ratio_mode == "channel_min" else None
        return Candidate.compiled(channel, actual, price, provider, self._options, self._terms, ratio)

    def plan(self, *, operation: str, group: str, model: str, rng: random.Random) -> Plan:
        """The plan of a request.

        Raises: `NoChannelAvailable`; `ModelPriceMissing` when channels serve the model but nobody priced it.
        """
        tiers = self._tiers.get((operation, group, model))
        if tiers is None:
            if (operation, group, model) in self._unpriced:
                raise ModelPriceMissing(
                    f"Model {model!r} has no price: add it to model_configs of a channel that serves it, or set "
                    '"unknown_model_policy": "free" in that channel\'s config',
                    param="model",
                )
            raise NoChannelAvailable(f"No available channels for Model {model} under Group {group}")
        candidates = tuple(candidate for tier in tiers for candidate in tier.draw(rng))
        return Plan(candidates, group, self._group_ratios.get(group, RATIO_SCALE))

    def pinned(self, *, operation: str, group: str, model: str, channel_ref: str) -> Plan:
        """The plan of a request pinned to one channel by uuid or id: no other is tried.

        Raises: `InvalidRequest`, `NoChannelAvailable` or `ModelPriceMissing` saying why that channel cannot serve.
        """
        channel = self._by_id.get(channel_ref)
        if channel is None:
            raise InvalidRequest(f"Invalid Channel Id: {channel_ref}", code="invalid_channel")
        if channel.status != ChannelStatus.ENABLED:
            raise NoChannelAvailable("The channel has been disabled", status=403, code="channel_disabled")
        provider = get_provider(channel.type)
        if provider is None or operation not in provider.spec.operations:
            raise InvalidRequest(f"Channel {channel.name!r} does not serve {operation}", code="invalid_channel")
        if channel.models and model not in channel.models and model not in channel.model_mapping:
            raise InvalidRequest(f"Channel {channel.name!r} does not serve model {model!r}", param="model")
        candidate = self._candidate(channel, model, provider)
        if candidate is None or not candidate.price.covers(_unit(operation)):
            raise ModelPriceMissing(f"Model {model!r} has no price on channel {channel.name!r}", param="model")
        return Plan((candidate,), group, self._group_ratios.get(group, RATIO_SCALE))

    def without_price(self) -> Mapping[str, Sequence[str]]:
        """Models that enabled channels list and nobody has priced, with the names of these channels."""
        return self._without_price

    def models(self, group: str) -> Sequence[tuple[str, int]]:
        """(model, channel type) pairs that `group` may ask for, sorted by name, each model once."""
        found: dict[str, int] = {}
        for (_, its_group, model), tiers in self._tiers.items():
            if its_group == group:
                found.setdefault(model, tiers[0].candidates[0].channel.type)
        return sorted(found.items())


def _tier(candidates: list[Candidate]) -> _Tier:
    return _Tier(tuple(candidates), tuple(max(0, c.channel.weight) for c in candidates))


def _unit(operation: str) -> str:
    """What an operation is metered in; an operation nobody knows, in tokens."""
    known = OPERATIONS.get(operation)
    return known.metered if known is not None else "tokens"
