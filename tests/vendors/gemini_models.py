"""What Gemini's models take and refuse.

Source: https://ai.google.dev/gemini-api/docs/models, https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Model:
    """One model."""

    budget: tuple[int, int] | None = None
    """Least and most tokens of thinking."""
    can_stop: bool = False
    """Whether a budget of 0 switches thinking off."""
    levels: tuple[str, ...] = ()
    thinks: bool = False
    """When nobody says anything."""
    signed: bool = False
    """Whether calls have to come back with their signature."""
    ids: bool = False
    """Whether calls have ids, results may hold media, and search may stand beside functions (Gemini 3)."""
    penalties: bool = True
    json_with_tools: bool = False
    json_schema: bool = True
    """Takes JSON Schema for answers; for tools see `tool_schema`."""
    tool_schema: bool = True
    model_last: bool = True
    """Whether the last content may be the model's."""

    @property
    def can_think(self) -> bool:
        return self.budget is not None or bool(self.levels)


_2_0 = Model(tool_schema=False)
_2_5 = Model(budget=(0, 24_576), can_stop=True, thinks=True, penalties=False)
_3 = Model(levels=("LOW", "MEDIUM", "HIGH"), thinks=True, signed=True, ids=True, penalties=False, json_with_tools=True)
_3_FLASH = replace(_3, levels=("MINIMAL", *_3.levels))

_ROWS: tuple[tuple[str, Model], ...] = (
    (r"gemini-1\.5", replace(_2_0, json_schema=False)),
    (r"gemini-2\.0", _2_0),
    (r"gemini-2\.5-pro", replace(_2_5, budget=(128, 32_768), can_stop=False)),
    (r"gemini-2\.5-flash-lite", replace(_2_5, budget=(512, 24_576), thinks=False)),
    (r"gemini-2\.5-flash", _2_5),
    (r"gemini-3-pro", replace(_3, levels=("LOW", "HIGH"))),
    (r"gemini-3\.1-pro", _3),
    (r"gemini-3-flash|gemini-3\.1-flash-lite|gemini-3\.5-flash$|gemini-3\.6-flash", _3_FLASH),
    (r"gemini-3\.5-flash-lite", replace(_3_FLASH, model_last=False)),
    (r"gemini-3\.[78]-flash", replace(_3, model_last=False)),
    (r"aurora", _3),  # a name that says nothing
)


def model_named(name: str) -> Model | None:
    return next((model for pattern, model in _ROWS if re.match(pattern, name)), None)
