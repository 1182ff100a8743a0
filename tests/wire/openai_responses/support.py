"""Streams of Responses as bytes and as events, in the short notation of the worked examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.wire.framing.sse import SseDecoder, encode_sse
from oneapi_mw.wire.openai_responses import FORMAT

Json = dict[str, Any]
HEAD: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


def call_of(body: Json | None = None, *, stream: bool = True) -> Call:
    return Call("chat", "openai_responses", "m", stream, body or {"model": "m", "input": "Hi"}, None)


def part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def at(item_id: str, index: int, content: int | None = None) -> Json:
    place: Json = {"item_id": item_id, "output_index": index}
    return place if content is None else {**place, "content_index": content}


def usage(tokens: int, cached: int, written: int, output: int, reasoning: int, total: int) -> Json:
    return {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": total,
    }


def begun() -> list[Json]:
    response = {**HEAD, "status": "in_progress", "output": []}
    return [{"type": "response.created", "response": response}, {"type": "response.in_progress", "response": response}]


def message(item_id: str, status: str, *content: Json) -> Json:
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": list(content)}


def text_item(item_id: str, index: int, status: str, *deltas: str, annotations: Iterable[Json] = ()) -> list[Json]:
    place, whole = at(item_id, index, 0), {**part("".join(deltas)), "annotations": list(annotations)}
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": message(item_id, "in_progress"),
        },
        {"type": "response.content_part.added", **place, "part": part("")},
        *({"type": "response.output_text.delta", **place, "delta": delta, "logprobs": []} for delta in deltas),
        *(
            {
                "type": "response.output_text.annotation.added",
                **place,
                "annotation_index": number,
                "annotation": annotation,
            }
            for number, annotation in enumerate(annotations)
        ),
        {"type": "response.output_text.done", **place, "text": "".join(deltas), "logprobs": []},
        {"type": "response.content_part.done", **place, "part": whole},
        {"type": "response.output_item.done", "output_index": index, "item": message(item_id, status, whole)},
    ]


def refusal_item(item_id: str, index: int, text: str) -> list[Json]:
    place, whole = at(item_id, index, 0), {"type": "refusal", "refusal": text}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": message(item_id, "in_progress")},
        {"type": "response.content_part.added", **place, "part": {"type": "refusal", "refusal": ""}},
        {"type": "response.refusal.delta", **place, "delta": text},
        {"type": "response.refusal.done", **place, "refusal": text},
        {"type": "response.content_part.done", **place, "part": whole},
        {"type": "response.output_item.done", "output_index": index, "item": message(item_id, "completed", whole)},
    ]


def reasoning_item(item_id: str, index: int, text: str, encrypted: str | None) -> list[Json]:
    place: Json = {**at(item_id, index), "summary_index": 0}
    whole = {"type": "summary_text", "text": text}
    item: Json = {"id": item_id, "type": "reasoning", "status": "completed", "summary": [whole] if text else []}
    if encrypted is not None:
        item["encrypted_content"] = encrypted
    told: list[Json] = [
        {"type": "response.reasoning_summary_part.added", **place, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **place, "delta": text},
        {"type": "response.reasoning_summary_text.done", **place, "text": text},
        {"type": "response.reasoning_summary_part.done", **place, "part": whole},
    ]
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {"id": item_id, "type": "reasoning", "status": "in_progress", "summary": []},
        },
        *(told if text else ()),
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def function_item(item_id: str, index: int, call_id: str, name: str, *deltas: str) -> list[Json]:
    item: Json = {
        "id": item_id,
        "type": "function_call",
        "status": "in_progress",
        "call_id": call_id,
        "name": name,
        "arguments": "",
    }
    arguments = "".join(deltas)
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        *({"type": "response.function_call_arguments.delta", **at(item_id, index), "delta": delta} for delta in deltas),
        {
            "type": "response.function_call_arguments.done",
            **at(item_id, index),
            "name": name,
            "arguments": arguments,
        },
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**item, "status": "completed", "arguments": arguments},
        },
    ]


def custom_item(item_id: str, index: int, call_id: str, name: str, *deltas: str) -> list[Json]:
    item: Json = {
        "id": item_id,
        "type": "custom_tool_call",
        "status": "in_progress",
        "call_id": call_id,
        "name": name,
        "input": "",
    }
    text = "".join(deltas)
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        *({"type": "response.custom_tool_call_input.delta", **at(item_id, index), "delta": delta} for delta in deltas),
        {"type": "response.custom_tool_call_input.done", **at(item_id, index), "input": text},
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**item, "status": "completed", "input": text},
        },
    ]


def ended(kind: str, events: list[Json], **rest: Any) -> Json:
    """The terminal event, with the items that `events` have finished."""
    output = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    return {"type": f"response.{kind}", "response": {**HEAD, "status": kind, "output": output, **rest}}


def whole(*groups: list[Json], kind: str = "completed", **rest: Any) -> list[Json]:
    """A stream of whole items."""
    events = [event for group in (begun(), *groups) for event in group]
    return [*events, ended(kind, events, **rest)]


def to_bytes(events: Iterable[Json]) -> bytes:
    return b"".join(
        [
            encode_sse(orjson.dumps({**event, "sequence_number": number}), event["type"].encode())
            for number, event in enumerate(events)
        ]
    )


def decode(pieces: Iterable[bytes], *, full: bool = True, model: str | None = None) -> list[Frame]:
    decoder = FORMAT.stream_decoder(full=full, model=model, hide_usage=False)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames + decoder.close()


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def raw_of(frames: Iterable[Frame]) -> bytes:
    return b"".join([frame.raw for frame in frames if frame.raw is not None])


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def parsed(data: bytes) -> list[Json]:
    """The events in a stream's bytes; their names must be their types."""
    found = []
    for event in SseDecoder().feed(data):
        value = orjson.loads(event.data)
        assert event.event is not None
        assert event.event.decode() == value["type"]
        found.append(value)
    return found


def plain(events: list[Json]) -> list[Json]:
    """Events as the worked examples show them: numbers checked and left out, ids by their order, no echo."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    known: dict[str, str] = {}
    counts: dict[str, int] = {}

    def shortened(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shortened(item) for key, item in value.items() if key != "sequence_number"}
        if isinstance(value, list):
            return [shortened(item) for item in value]
        if isinstance(value, str) and len(value) > 40 and (prefix := value.partition("_")[0]) in (
            "msg", "rs", "fc", "ctc", "ws", "ci", "ig",
        ):  # fmt: skip
            if value not in known:
                counts[prefix] = counts.get(prefix, 0) + 1
                known[value] = f"{prefix}_{counts[prefix]}"
            return known[value]
        return value

    shown = [shortened(event) for event in events]
    for event in shown:
        if "response" in event:
            names = (*HEAD, "status", "output")
            response = {name: event["response"][name] for name in names}
            for name in ("usage", "error", "incomplete_details"):
                if event["response"].get(name) is not None:
                    response[name] = event["response"][name]
            event["response"] = response
    return shown
