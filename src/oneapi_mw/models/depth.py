"""How much reasoning: one scale of efforts, token budgets beside it, and what a client's ask says on that scale.

Numbers: conversion reference for reasoning, section 3, as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable

if TYPE_CHECKING:  # words alone need no model
    from oneapi_mw.canonical.request import ReasoningAsk

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every effort there is, lowest first."""

_RANK = {effort: rank for rank, effort in enumerate(EFFORTS)}
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16_384}
_STEPS = ((16_384, "max"), (8192, "xhigh"), (4096, "high"), (2048, "medium"), (1024, "low"), (1, "minimal"))
HIDDEN_DISPLAYS = ("omitted", "none")
"""Words for reasoning whose text is not to be shown."""


def clamp(effort: str, efforts: Sequence[str]) -> str:
    """The nearest of `efforts` to `effort`: up where possible, never down to none, and `max` only when asked for.

    Args:
        efforts: what the model knows, lowest first, with at least one besides `none`; empty: nobody knows.
    """
    if effort in efforts or not efforts:
        return effort
    if effort == "none":
        return efforts[0]
    levels = [level for level in efforts if level != "none"]
    if effort == "max":
        return levels[-1]
    unforced = [level for level in levels if level != "max"] or levels
    return next((level for level in unforced if _RANK[level] >= _RANK[effort]), unforced[-1])


def coarse(effort: str) -> str:
    """`effort` for a model nobody knows: one of the three words every reasoning model takes."""
    return clamp(effort, ("low", "medium", "high"))


def effort_of_budget(budget: int) -> str | None:
    """The effort that `budget` tokens stand for; `None` when the model is to decide (negative)."""
    if budget < 0:
        return None
    return next((effort for least, effort in _STEPS if budget >= least), "none")


def budget_of_effort(effort: str) -> int:
    return _BUDGETS[effort]


@immutable
class Wanted:
    """What a `ReasoningAsk` comes to."""

    on: bool = False
    off: bool = False
    """Neither on nor off: the client left it to the model."""
    effort: str | None = None
    """A level, never `none`."""
    budget: int | None = None
    """Tokens, more than 0."""
    explicit: bool = False
    """Thinking itself was asked for, not only an effort that implies it."""
    display: str | None = None
    hidden: bool = False
    """The text of the reasoning shall not be shown."""

    @property
    def depth(self) -> str | None:
        """Effort, read from the budget when only that was given; `None`: the model decides."""
        return self.effort or (effort_of_budget(self.budget) if self.budget else None)

    @property
    def tokens(self) -> int | None:
        """Budget, read from the effort when only that was given; `None`: the model decides."""
        return self.budget or (budget_of_effort(self.effort) if self.effort else None)

    @property
    def visible(self) -> bool:
        """Whether its text shall reach the client."""
        return not self.off and not self.hidden and (self.on or self.display is not None)

    def lost(self) -> tuple[str, ...]:
        """Names of what was asked, for a model that cannot reason."""
        if not self.on:
            return ()
        if self.effort:
            return ("reasoning_effort",)
        return ("reasoning.budget",) if self.budget else ("thinking",)


def wanted_of(ask: ReasoningAsk | None) -> Wanted:
    """Raises `InvalidRequest` for an effort that is no effort."""
    if ask is None:
        return Wanted()
    effort = None if ask.effort == "default" else ask.effort
    if effort is not None and effort not in _RANK:
        raise InvalidRequest(
            f"reasoning_effort must be one of {', '.join(EFFORTS)}", param="reasoning_effort", code="invalid_value"
        )
    level = effort if effort != "none" else None
    tokens = ask.budget if ask.budget is not None and ask.budget > 0 else None
    off = ask.on is False or effort == "none" or (level is None and ask.budget == 0)
    asked = bool(ask.on) or level is not None or ask.budget is not None
    return Wanted(
        on=asked and not off,
        off=off,
        effort=level,
        budget=tokens,
        explicit=not off and (ask.budget is not None or (bool(ask.on) and level is None)),
        display=ask.display,
        hidden=ask.display in HIDDEN_DISPLAYS,
    )
