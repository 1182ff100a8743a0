"""What Claude's models take and refuse.

Source: https://platform.claude.com/docs/en/about-claude/models/overview,
https://platform.claude.com/docs/en/build-with-claude/thinking
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Model:
    """One model."""

    thinking: tuple[str, ...] = ()
    """Values of `thinking.type`."""
    thinks: bool = False
    """When nobody says anything."""
    efforts: tuple[str, ...] = ()
    calm: tuple[str, ...] = ()
    """Efforts at which `disabled` and `between_tools` are accepted; empty: at all."""
    sampling: Literal["free", "one_of", "fixed"] = "one_of"
    forced: Literal["yes", "not_with_thinking", "no"] = "not_with_thinking"
    prefill: Literal["yes", "not_with_thinking", "no"] = "not_with_thinking"
    structured: bool = False
    """Output formats and strict tools."""
    shows: bool = True
    """Whether thinking has text when nobody says anything."""
    system_turns: bool = False
    binds: bool = False
    """Thinking belongs to everything before it."""
    max_output: int = 64_000


_UP = ("low", "medium", "high", "xhigh", "max")
_CALM = ("low", "medium", "high")
_OLD = Model(sampling="free", forced="yes", prefill="yes", max_output=8192)
_MANUAL = Model(("enabled", "disabled"))
_4_5 = Model(("enabled", "disabled"), structured=True)
_4_6 = Model(
    ("adaptive", "enabled", "disabled"), efforts=("low", "medium", "high", "max"), prefill="no", structured=True
)


def _new(
    *thinking: str,
    thinks: bool = True,
    calm: tuple[str, ...] = (),
    forced: Literal["yes", "not_with_thinking", "no"] = "yes",
    binds: bool = False,
    system_turns: bool = True,
) -> Model:
    """4.7 and newer."""
    return Model(
        thinking, thinks, _UP, calm, "fixed", forced, "no", True, False, system_turns, binds, max_output=128_000
    )


_ROWS: tuple[tuple[str, Model], ...] = (
    (r"claude-(2|instant|3-haiku|3-sonnet|3-opus|3-5)", _OLD),
    (r"claude-3-7-sonnet", Model(("enabled", "disabled"), sampling="free")),
    (r"claude-(sonnet|opus)-4(-0)?(-\d{8})?$|claude-opus-4-1(-\d{8})?$", _MANUAL),
    (r"claude-(sonnet|haiku)-4-5", _4_5),
    (r"claude-opus-4-5", Model(("enabled", "disabled"), efforts=_CALM, structured=True)),
    (r"claude-(opus|sonnet)-4-6", _4_6),
    (r"claude-opus-4-7", _new("adaptive", thinks=False, forced="not_with_thinking", system_turns=False)),
    (r"claude-opus-4-8", _new("adaptive", thinks=False)),
    (r"claude-opus-5-5", _new("adaptive", forced="no", binds=True)),
    (r"claude-sonnet-5-5", _new("adaptive", "between_tools", calm=_CALM, forced="no", binds=True)),
    (r"claude-haiku-5-5", _new("adaptive", "disabled", calm=_CALM, binds=True)),
    (r"claude-(fable|mythos)-5-[12]", _new("adaptive", forced="no", binds=True)),
    (r"claude-opus-5", _new("adaptive", "disabled", calm=_CALM)),
    (r"claude-sonnet-5", _new("adaptive", "disabled")),
    (r"claude-(fable|mythos)-5|claude-mythos-preview", _new("adaptive")),
)


def model_named(name: str) -> Model | None:
    return next((model for pattern, model in _ROWS if re.match(pattern, name)), None)
