"""Prices while the gateway runs: the shipped table with what the options say on top."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from oneapi_mw.pricing.book import OPTION, PriceBook, UnknownModelPolicy, decode_overrides
from oneapi_mw.pricing.groups import DEFAULT_RATIOS, decode_group_ratios
from oneapi_mw.pricing.table import EMPTY, PriceTable

log = logging.getLogger("oneapi_mw.billing")

GROUP_RATIO = "GroupRatio"
"""Key of the option with what groups pay."""

T = TypeVar("T")


class PriceSource(Protocol):
    """Prices as routing needs them. `version` is another number whenever one of the others has changed."""

    @property
    def version(self) -> int: ...
    @property
    def book(self) -> PriceBook: ...
    @property
    def group_ratios(self) -> Mapping[str, int]: ...


class LivePrices:
    """Implements `PriceSource`. A new option is read, checked and only then put in force; a wrong one is logged, and
    what was in force before stays.

    Args:
        table: the shipped prices.
        group_ratios: millionths, until the options say something else.
    """

    def __init__(
        self,
        table: PriceTable = EMPTY,
        *,
        policy: UnknownModelPolicy = "reject",
        tools_use_group_ratio: bool = False,
        group_ratios: Mapping[str, int] | None = None,
    ) -> None:
        self.version = 0
        self.group_ratios: Mapping[str, int] = dict(DEFAULT_RATIOS if group_ratios is None else group_ratios)
        self.book = PriceBook(table, policy=policy, tools_use_group_ratio=tools_use_group_ratio)
        self._tools_grouped = tools_use_group_ratio
        self._seen: dict[str, str] = {}

    def take(self, options: Mapping[str, str]) -> None:
        """Put in force what changed in `options`."""
        ratios = self._changed(options, GROUP_RATIO, decode_group_ratios)
        overrides = self._changed(options, OPTION, decode_overrides)
        if ratios is not None:
            self.group_ratios = ratios
        if overrides is not None:
            self.book = PriceBook(
                self.book.table, overrides, policy=self.book.policy, tools_use_group_ratio=self._tools_grouped
            )
        if ratios is not None or overrides is not None:
            self.version += 1

    def _changed(self, options: Mapping[str, str], key: str, decode: Callable[[str], T]) -> T | None:
        text = options.get(key)
        if text is None or self._seen.get(key) == text:
            return None
        self._seen[key] = text
        try:
            return decode(text)
        except ValueError as exc:
            log.error("option %s is not in force, what was before stays: %s", key, exc)
            return None
