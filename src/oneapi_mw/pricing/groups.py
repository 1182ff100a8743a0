"""The option `GroupRatio`: what each group pays, in terms of list price."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from oneapi_mw.pricing.figures import read_number
from oneapi_mw.pricing.price import RATIO_SCALE

DEFAULT_RATIOS: Mapping[str, int] = {"default": RATIO_SCALE, "vip": RATIO_SCALE, "svip": RATIO_SCALE}
"""Millionths."""
HIGHEST_RATIO = 1000

GroupRatioMode: TypeAlias = Literal["user", "channel_min"]
"""Whose ratio a request is charged at: that of the group it was admitted through, or the smallest among the groups of
the channel that served it."""


def smallest_ratio(groups: Iterable[str], ratios: Mapping[str, int]) -> int | None:
    """Millionths: the smallest ratio among `groups`, of which those that are missing pay list price; `None` when there
    are no groups."""
    return min((ratios.get(group, RATIO_SCALE) for group in groups), default=None)


def decode_group_ratios(text: str) -> dict[str, int]:
    """Millionths by group.

    Raises: `ValueError` when `text` is not a JSON object of numbers from 0 up. What is in force stays then: a
    mistake must not make every group pay list price.
    """
    try:
        given: Any = json.loads(text)
    except ValueError:
        raise ValueError('GroupRatio must be a JSON object such as {"default": 1, "vip": 0.8}') from None
    if not isinstance(given, dict) or not given:
        raise ValueError('GroupRatio must be a JSON object such as {"default": 1, "vip": 0.8}')
    ratios = {}
    for group in given:
        try:
            ratio = read_number(given, group)
        except ValueError as exc:
            raise ValueError(f"GroupRatio: {exc}") from None
        if ratio is None or not 0 <= ratio <= HIGHEST_RATIO:
            raise ValueError(f"GroupRatio: {group!r} must be a number from 0 to {HIGHEST_RATIO}, not {given[group]!r}")
        exact = Fraction(ratio) * RATIO_SCALE
        if exact.denominator != 1:
            raise ValueError(f"GroupRatio: {group!r} has more than six decimals: {given[group]!r}")
        ratios[group] = int(exact)
    return ratios
