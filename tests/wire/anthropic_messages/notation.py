"""The short notation in which streams of this format are written down.

    M u          message_start with usage u
    Bi x         content_block_start of block i
    di x         content_block_delta
    Ei           content_block_stop
    X d u        message_delta
    S            message_stop
    anything else is the JSON of an event

`u(i,w,h,o)` is a usage with input, cache writes, cache reads and output; `+{...}` adds members.
"""

from __future__ import annotations

import json
import re
from typing import Any

from oneapi_mw.wire.framing.sse import encode_sse, parse_block

_USAGE = re.compile(r"u\((\d+),(\d+),(\d+),(\d+)\)(?:\+(\{.*\}))?")


def usage(text: str) -> dict[str, Any]:
    found = _USAGE.fullmatch(text.strip())
    assert found, text
    fresh, write, read, output = (int(found[number]) for number in (1, 2, 3, 4))
    counts = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": output,
    }
    return {**counts, **json.loads(found[5] or "{}")}


def message(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": report,
    }


def event(line: str) -> dict[str, Any]:
    mark, _, rest = line.strip().partition(" ")
    if mark == "M":
        return {"type": "message_start", "message": message(usage(rest))}
    if mark == "X":
        delta, end = json.JSONDecoder().raw_decode(rest)
        return {"type": "message_delta", "delta": delta, "usage": usage(rest[end:])}
    if mark == "S":
        return {"type": "message_stop"}
    kind, index = mark[:1], mark[1:]
    if index.isdigit() and kind in "BdE":
        if kind == "B":
            return {"type": "content_block_start", "index": int(index), "content_block": json.loads(rest)}
        if kind == "d":
            return {"type": "content_block_delta", "index": int(index), "delta": json.loads(rest)}
        return {"type": "content_block_stop", "index": int(index)}
    found: dict[str, Any] = json.loads(line)
    return found


def events(text: str) -> list[dict[str, Any]]:
    return [event(line) for line in text.strip().splitlines() if line.strip()]


def stream(text: str) -> bytes:
    return wire(events(text))


def wire(found: list[dict[str, Any]]) -> bytes:
    return b"".join(
        encode_sse(json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode(), item["type"].encode())
        for item in found
    )


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The events of a stream; each is named as its type says."""
    found = []
    for item in parse_block(data):
        document = json.loads(item.data)
        assert item.event == document["type"].encode()
        found.append(document)
    return found
