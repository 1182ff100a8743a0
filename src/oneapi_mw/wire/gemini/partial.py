"""Arguments of a function call that Vertex streams value by value, each with the path to where it belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject

MAX_ITEMS = 10_000
MAX_STEPS = 64
_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,5})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_ESCAPED = re.compile(r"\\(.)")


class MalformedPathError(ValueError):
    """A path nobody can follow."""


def steps_of(path: str) -> list[str | int]:
    """`$.a[0]['b']` as `a`, 0, `b`. Raises `MalformedPathError`."""
    steps: list[str | int] = []
    place = 1 if path.startswith("$") else 0
    if place == 0:
        path = f".{path}"
    while place < len(path):
        found = _STEP.match(path, place)
        if found is None or len(steps) >= MAX_STEPS:
            raise MalformedPathError(path[:100])
        name, index, single, double = found.groups()
        if index is not None:
            steps.append(int(index))
        else:
            quoted = single if single is not None else double
            steps.append(name if quoted is None else _ESCAPED.sub(r"\1", quoted))
        place = found.end()
    if not steps or isinstance(steps[0], int):
        raise MalformedPathError(path[:100])
    return steps


class PartialArguments:
    """The object, as it has been told so far."""

    def __init__(self) -> None:
        self.args: JsonObject = {}
        self._pieces: dict[tuple[str | int, ...], list[str]] = {}
        """Texts, in the pieces they came in."""

    def add(self, piece: Mapping[str, Any]) -> int:
        """Take one of `partialArgs`; returns how many characters it added. Raises `MalformedPathError`."""
        path = piece.get("jsonPath")
        if not isinstance(path, str):
            raise MalformedPathError("no path")
        steps = steps_of(path)
        text = piece.get("stringValue")
        if isinstance(text, str):
            pieces = self._pieces.setdefault(tuple(steps), [])
            pieces.append(text)
            if len(pieces) == 1:
                self._set(steps, text)
            return len(text) + len(path)
        if type(piece.get("boolValue")) is bool:
            self._set(steps, piece["boolValue"])
        elif type(piece.get("numberValue")) in (int, float):
            number = piece["numberValue"]
            self._set(steps, int(number) if isinstance(number, float) and number.is_integer() else number)
        elif "nullValue" in piece:
            self._set(steps, None)
        return len(path)

    def finished(self) -> JsonObject:
        for steps, pieces in self._pieces.items():
            if len(pieces) > 1:
                self._set(list(steps), "".join(pieces))
        return self.args

    def _set(self, steps: list[str | int], value: Any) -> None:
        here: Any = self.args
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            last = following is None
            default: Any = value if last else ([] if isinstance(following, int) else {})
            if isinstance(here, list) and isinstance(step, int) and step < MAX_ITEMS:
                while len(here) <= step:
                    here.append(None)
                if last or not isinstance(here[step], (dict, list)):
                    here[step] = default
            elif isinstance(here, dict) and isinstance(step, str):
                if last or not isinstance(here.get(step), (dict, list)):
                    here[step] = default
            else:
                raise MalformedPathError(str(step))
            here = here[step]
