"""How much the grammars of OpenAI and Anthropic hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.wire.schema.columns import Column
from oneapi_mw.wire.schema.values import as_text

_MAX_PROPERTIES = 5_000
_MAX_LEVELS = 10
_MAX_ENUM_VALUES = 1_000
_MAX_NAMED_CHARS = 120_000
_LONG_ENUM, _MAX_LONG_ENUM_CHARS = 250, 15_000
_MAX_OPTIONAL, _MAX_UNIONS = 24, 16


class Tally:
    """What counts against the limits of grammars."""

    def __init__(self) -> None:
        self.optional = 0
        self.unions = 0
        self._properties = 0
        self._levels = 0
        self._values = 0
        self._chars = 0
        self._long = False

    def note(self, out: Mapping[str, Any], depth: int) -> None:
        properties = out.get("properties")
        if isinstance(properties, dict):
            self._properties += len(properties)
            self._chars += sum(map(len, properties))
            required = out.get("required", ())
            self.optional += sum(name not in required for name in properties)
            self._levels = max(self._levels, depth)
        values = out.get("enum")
        if isinstance(values, list):
            chars = sum(len(as_text(value)) for value in values)
            self._values += len(values)
            self._chars += chars
            self._long = self._long or (len(values) > _LONG_ENUM and chars > _MAX_LONG_ENUM_CHARS)
        if "anyOf" in out or isinstance(out.get("type"), list):
            self.unions += 1

    def fits(self, column: Column) -> bool:
        if column == "AN":
            return self.optional <= _MAX_OPTIONAL and self.unions <= _MAX_UNIONS
        if column != "OS":
            return True
        return (
            self._properties <= _MAX_PROPERTIES
            and self._levels < _MAX_LEVELS
            and self._values <= _MAX_ENUM_VALUES
            and self._chars <= _MAX_NAMED_CHARS
            and not self._long
        )
