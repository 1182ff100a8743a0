"""JSON as upstreams and clients send it: orjson, and the standard library where orjson is stricter than the world.

orjson refuses lone surrogates, which real programs emit when they cut an emoji in two. Both directions end at
`MAX_DEPTH`: what was read here can be walked and written again without running out of stack.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

MAX_DEPTH = 200
"""Below what orjson writes (254) and what a recursive reader of ours survives."""


def loads(data: bytes) -> Any:
    """Parse `data`. Raises `ValueError`."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
        value = _loads_surrogates(data)
    if len(data) > 2 * MAX_DEPTH and data.count(b"[") + data.count(b"{") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return value


def _loads_surrogates(data: bytes) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def deeper_than(value: Any, limit: int) -> bool:
    """Whether `value` has more than `limit` levels of objects and lists. Needs no stack."""
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(limit):
        if not level:
            return False
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    return bool(level)


def dumps(value: Any) -> bytes:
    """`value` as compact JSON. Lone surrogates are kept as escapes."""
    try:
        return orjson.dumps(value)
    except TypeError:  # JSONEncodeError is one
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def dumps_well_formed(value: Any) -> bytes:
    """`value` as compact JSON that any parser takes: lone surrogates become U+FFFD, halves that meet are joined."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return well_formed(json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)).encode()


def well_formed(text: str) -> str:
    """`text` with lone surrogates replaced by U+FFFD, and halves that meet joined."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
