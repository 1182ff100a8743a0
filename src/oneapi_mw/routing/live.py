"""The routing table of channels that change while the gateway runs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Protocol

from oneapi_mw.canonical.call import Call
from oneapi_mw.pricing.groups import GroupRatioMode
from oneapi_mw.pricing.live import LivePrices, PriceSource
from oneapi_mw.principal import Principal
from oneapi_mw.routing.channel import Channel
from oneapi_mw.routing.plan import Plan
from oneapi_mw.routing.router import RoutingTable
from oneapi_mw.routing.terms import TERMS, BillingTerms
from oneapi_mw.routing.tools import with_tools_allowed
from oneapi_mw.wire.target import ConversionOptions


class ChannelSource(Protocol):
    def snapshot(self) -> Sequence[Channel]:
        """All usable channels now; never changed in place."""

    def version(self) -> int:
        """Another number whenever `snapshot` would return something else."""


class LiveRouter:
    """Plans requests over the newest snapshot; compiles it once per version.

    Args:
        group_ratios: millionths per group; groups that are missing bill at list price. Without `prices` only.
        prices: without it there are prices only for what a channel prices itself.
        group_ratio_mode: whose ratio requests are charged at.
    """

    def __init__(
        self,
        channels: ChannelSource,
        *,
        group_ratios: Mapping[str, int] | None = None,
        prices: PriceSource | None = None,
        options: ConversionOptions | None = None,
        terms: BillingTerms = TERMS,
        group_ratio_mode: GroupRatioMode = "user",
        rng: random.Random | None = None,
    ) -> None:
        self._channels = channels
        self._prices: PriceSource = LivePrices(group_ratios=group_ratios) if prices is None else prices
        self._options = options
        self._terms = terms
        self._group_ratio_mode: GroupRatioMode = group_ratio_mode
        self._rng = rng or random.Random()  # noqa: S311 -- spreads load, protects nothing
        self._compiled: tuple[tuple[int, int], RoutingTable] | None = None

    def table(self) -> RoutingTable:
        """The table for the newest snapshot."""
        prices = self._prices
        version = (self._channels.version(), prices.version)
        if self._compiled is None or self._compiled[0] != version:
            table = RoutingTable(
                self._channels.snapshot(),
                group_ratios=prices.group_ratios,
                prices=prices.book,
                options=self._options,
                terms=self._terms,
                group_ratio_mode=self._group_ratio_mode,
            )
            self._compiled = (version, table)
        return self._compiled[1]

    def plan(self, principal: Principal, call: Call) -> Plan:
        """The plan of `call`. Raises as `RoutingTable.plan`, `RoutingTable.pinned` and `with_tools_allowed` do."""
        return with_tools_allowed(self._whole_plan(principal, call), call)

    def _whole_plan(self, principal: Principal, call: Call) -> Plan:
        if principal.channel_pin is not None:
            return self.table().pinned(
                operation=call.operation, group=principal.group, model=call.model, channel_ref=principal.channel_pin
            )
        return self.table().plan(operation=call.operation, group=principal.group, model=call.model, rng=self._rng)
