"""Golden cases: JSON files of inputs beside what must come out.

Chunks are written as their `choices` alone, or as whatever else differs from an ordinary chunk. A line that is a
string stands for itself. Canonical values are written as `{"Type": {field: value}}` without defaults.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from oneapi_mw.errors import GatewayError

ROOT = Path(__file__).parents[1] / "golden"
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


@dataclass(frozen=True)
class Golden:
    """One case; `given` and `expected` by their names in the file."""

    name: str
    case: dict[str, Any]

    def __str__(self) -> str:
        return self.name

    def __getitem__(self, key: str) -> Any:
        return self.case[key]


def golden(name: str) -> list[Golden]:
    """The cases in `tests/golden/<name>.json`."""
    return [Golden(case["name"], case) for case in json.loads((ROOT / f"{name}.json").read_text())]


def stream_bytes(lines: Iterable[str | list[Any] | dict[str, Any]]) -> bytes:
    """The upstream's bytes that a case stands for."""
    return b"".join(b"data: " + _data(line) + b"\n\n" for line in lines)


def _data(line: str | list[Any] | dict[str, Any]) -> bytes:
    if isinstance(line, str):
        return line.encode()
    return orjson.dumps({**HEAD, "choices": line} if isinstance(line, list) else {**HEAD, **line})


def shown(value: Any) -> Any:
    """A canonical value as golden files have it."""
    if isinstance(value, GatewayError):
        return {type(value).__name__: {"status": value.status, "code": value.code, "message": value.message}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: _members(value)}
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return value


def _members(value: Any) -> dict[str, Any]:
    members = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.default is not dataclasses.MISSING:
            default = field.default
        else:
            default = (
                field.default_factory() if field.default_factory is not dataclasses.MISSING else dataclasses.MISSING
            )
        if item != default:
            members[field.name] = shown(item)
    return members
