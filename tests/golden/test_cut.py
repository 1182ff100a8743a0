"""Streams of the worked examples, in every wire as if an upstream had sent it, that end anywhere: each client's stream
ends once, and says that all is well only when the upstream had come to its end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from oneapi_mw.canonical.events import Ended, Event, Failed
from oneapi_mw.wire.registry import get_format
from tests.golden.conversion import client, courier, events_of, relayed
from tests.golden.notation import WIRES, Line, StreamExample, parsed, stream_examples, to_bytes

EVERY = list(product(stream_examples(), WIRES.values()))


def is_end(wire: str, line: Line) -> bool:
    """Whether an upstream of `wire` has said with `line` how its answer ends."""
    if isinstance(line, str):
        return True
    match wire:
        case "openai_chat":
            return any(choice["finish_reason"] for choice in line["choices"]) if "choices" in line else False
        case "openai_responses":
            return line["type"] in ("response.completed", "response.incomplete")
        case "anthropic_messages":
            return bool(line["type"] == "message_delta")
        case _:
            blocked = "promptFeedback" in line
            return blocked or any("finishReason" in candidate for candidate in line.get("candidates", ()))


def whole_from(wire: str, lines: Sequence[Line]) -> int | None:
    """How many bytes it takes at least; `None` for a stream that fails."""
    for number, line in enumerate(lines):
        if is_end(wire, line):
            return len(to_bytes(wire, list(lines[: number + 1])).rstrip(b"\n"))
    return None


def terminal(wire: str, line: Line) -> str | None:
    """What the last event of a client's stream says: `success`, `failure`, or `None` when it is no last one."""
    if isinstance(line, str):
        return "success"
    if "error" in line or line.get("type") in ("error", "response.failed"):
        return "failure"
    match wire:
        case "openai_chat":
            return None
        case "openai_responses" | "anthropic_messages":
            ends = ("response.completed", "response.incomplete", "message_stop")
            return "success" if line["type"] in ends else None
        case _:
            return "success" if is_end(wire, line) else None


def written(source: str, target: str, events: Sequence[Event]) -> list[Line]:
    carrier = courier(source, target)
    sealed = events if carrier is None else carrier.seal_events(events)
    encoder = get_format(target).stream_encoder(client(target), request_id="req_1", created=1)
    return parsed(target, encoder.feed(sealed) + encoder.close())


def test_ends_are_told_from_what_comes_before() -> None:
    """The examples' own streams have one each, the last."""
    for example, wire in EVERY:
        found = [terminal(wire, line) for line in example.expected(wire)]
        assert [end for end in found if end] == [found[-1]], (example, wire)
        assert (found[-1] == "success") == (whole_from(wire, example.expected(wire)) is not None)


@pytest.mark.parametrize(("example", "source"), EVERY, ids=str)
def test_every_cut(example: StreamExample, source: str) -> None:
    lines = example.expected(source)
    data = to_bytes(source, lines)
    enough = whole_from(source, lines)
    last: object = None
    for size in range(len(data) + 1):
        events = events_of(source, [data[:size]])
        ends = [event for event in events if isinstance(event, (Ended, Failed))]
        assert ends == events[-1:]
        complete = enough is not None and size >= enough
        assert isinstance(events[-1], Ended) == complete
        same = events[:-1], repr(events[-1])
        if same == last:
            continue
        last = same
        for target in WIRES.values():
            told = [terminal(target, line) for line in written(source, target, events)]
            assert [end for end in told if end] == told[-1:] == ["success" if complete else "failure"]


@pytest.mark.parametrize(("example", "wire"), EVERY, ids=str)
def test_every_cut_between_equals(example: StreamExample, wire: str) -> None:
    """Whole events are passed on, then nothing or one that says that more should have come."""
    lines = example.expected(wire)
    data = to_bytes(wire, lines)
    enough = whole_from(wire, lines)
    for size in range(len(data) + 1):
        if isinstance(events_of(wire, [data[:size]])[0], Failed):
            continue  # nothing was said: an error with a status of its own, or another channel
        found = parsed(wire, relayed(wire, [data[:size]]))
        told = [terminal(wire, line) for line in found]
        complete = enough is not None and size >= enough
        assert told[-1] == ("success" if complete else "failure")
        assert [end for end in told[:-1] if end] == []
        assert found[:-1] == lines[: len(found) - 1]
