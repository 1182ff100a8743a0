"""The notation of `requests.txt` and `streams.txt`, expanded to exact JSON and to bytes.

Both files are sections that begin with `== number title`; a wire is named by its letter: C Chat Completions,
R Responses, A Messages, G generateContent.

In `requests.txt` `C body` is what a client of Chat Completions sends, and what is sent to an upstream of it whoever
asked; `C<AG body` is what is sent there instead when a client of A or G asked, whose wire says less or other things;
`C<AG: names` is what is then reported as left out or emulated.

In `streams.txt` `-- letter` begins the stream of a wire, `-- letter source` the one an upstream sends, and
`-- letter target` what our encoder of that wire makes of it; each line below is one event:

    C  D delta          chunk of one choice                  G  P parts      chunk of one candidate
       F word           chunk that finishes it                  Q word usage [members]   the last chunk
       U p,c,t,h,r      usage: prompt, completion, total,    A  see `tests.wire.anthropic_messages.notation`
                        cached, reasoning (`-`: not told)
    R  name members     event `response.<name>`
       R0               `created` and `in_progress`
       TEXT i,o,s d...  a whole message item: id, output index, last status, deltas
       CALL i,o,c,n d...  a whole function call: id, output index, call id, name, deltas
       within members: `@i,o[,c]` place of an item and its content, `t("x"[,annotations])` a text part, `L` no log
       probabilities, `u(i,h,w,o,r,t)` usage (input, cached, written, output, reasoning, total), `I0` the finished item
       of that output index

Any other line is the JSON of an event, or `[DONE]`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.wire.anthropic_messages import notation as messages
from tests.wire.openai_responses import support as responses

Json = dict[str, Any]
Line = Json | str

HERE = Path(__file__).parent
WIRES = {"C": "openai_chat", "R": "openai_responses", "A": "anthropic_messages", "G": "gemini"}
C_HEAD: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
G_HEAD: Json = {"modelVersion": "m", "responseId": "r1"}


@dataclass(frozen=True)
class RequestExample:
    """One request in every wire, by its name."""

    number: str
    bodies: dict[str, Json]
    instead: dict[tuple[str, str], Json]
    """By target and source."""
    reported: dict[tuple[str, str], tuple[str, ...]]

    def __str__(self) -> str:
        return self.number


@dataclass(frozen=True)
class StreamExample:
    """One answer in every wire, by its name; `<name> target` where our encoder writes another than the upstream."""

    number: str
    wires: dict[str, list[Line]]
    source: str
    """The wire that the upstream speaks."""

    def __str__(self) -> str:
        return self.number

    def given(self) -> bytes:
        """What the upstream sends."""
        return to_bytes(self.source, self.wires[self.source])

    def expected(self, target: str) -> list[Line]:
        """What a client of `target` gets."""
        return self.wires.get(f"{target} target", self.wires[target])

    @property
    def estimate(self) -> int:
        """Input tokens before anybody has counted them, as the stream of Messages begins with them."""
        start = self.expected("anthropic_messages")[0]
        assert not isinstance(start, str)
        return int(start["message"]["usage"]["input_tokens"])


def request_examples() -> list[RequestExample]:
    found = []
    for number, lines in _sections("requests.txt"):
        example = RequestExample(number, {}, {}, {})
        for line in lines:
            key, _, rest = line.partition(" ")
            target, _, sources = key.rstrip(":").partition("<")
            if not sources:
                example.bodies[WIRES[target]] = json.loads(rest)
            for source in sources:
                pair = WIRES[target], WIRES[source]
                if key.endswith(":"):
                    example.reported[pair] = tuple(rest.split(", "))
                else:
                    example.instead[pair] = json.loads(rest)
        found.append(example)
    return found


def stream_examples() -> list[StreamExample]:
    found = []
    for number, lines in _sections("streams.txt"):
        wires: dict[str, list[str]] = {}
        source = ""
        for line in lines:
            if line.startswith("-- "):
                letter, _, role = line[3:].partition(" ")
                source = WIRES[letter] if role == "source" else source
                wires[" ".join([WIRES[letter], *([role] if role == "target" else [])])] = current = []
            else:
                current.append(line)
        expanded = {name: EXPAND[name.split(" ")[0]](lines) for name, lines in wires.items()}
        found.append(StreamExample(number, expanded, source))
    return found


def _sections(name: str) -> list[tuple[str, list[str]]]:
    text = (HERE / name).read_text()
    found = []
    for section in text.split("== ")[1:]:
        head, *lines = section.splitlines()
        found.append((head.partition(" ")[0], [line for line in lines if line.strip()]))
    return found


# Chat Completions.


def _chat(lines: list[str]) -> list[Line]:
    return [_chat_line(line) for line in lines]


def _chat_line(line: str) -> Line:
    mark, _, rest = line.partition(" ")
    if mark == "D":
        return {**C_HEAD, "choices": [{"index": 0, "delta": json.loads(rest), "finish_reason": None}]}
    if mark == "F":
        return {**C_HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": rest}]}
    if mark == "U":
        return {**C_HEAD, "choices": [], "usage": _chat_usage(rest)}
    return line if line == "[DONE]" else json.loads(line)


def _chat_usage(text: str) -> Json:
    if text.startswith("{"):
        return json.loads(text)  # type: ignore[no-any-return]
    prompt, completion, total, cached, reasoning = text.split(",")
    usage: Json = {
        "prompt_tokens": int(prompt),
        "completion_tokens": int(completion),
        "total_tokens": int(total),
        "prompt_tokens_details": {"cached_tokens": int(cached)},
    }
    if reasoning != "-":
        usage["completion_tokens_details"] = {"reasoning_tokens": int(reasoning)}
    return usage


# Responses.

_STRING = r'"(?:[^"\\]|\\.)*"'
_PLACE = re.compile(r"^@(\w+),(\d+)(?:,(\d+))?")
_PART = re.compile(rf"\bt\(({_STRING})(?:,(\[.*?\]))?\)")
_USAGE = re.compile(r"\bu\((\d+(?:,\d+){5})\)")
_ITEM = re.compile(r"\bI(\d)\b")


def _responses(lines: list[str]) -> list[Line]:
    events: list[Json] = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if name == "R0":
            events += responses.begun()
        elif name in ("TEXT", "CALL"):
            places, _, deltas = rest.partition(" ")
            events += _item(name, places.split(","), _strings(deltas))
        else:
            events.append(_event(name, rest, events))
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _strings(text: str) -> list[str]:
    return [json.loads(found) for found in re.findall(_STRING, text)]


def _item(name: str, places: list[str], deltas: list[str]) -> list[Json]:
    if name == "TEXT":
        item_id, index, status = places
        return responses.text_item(item_id, int(index), status, *deltas)
    item_id, index, call_id, called = places
    return responses.function_item(item_id, int(index), call_id, called, *deltas)


def _event(name: str, rest: str, before: list[Json]) -> Json:
    done = [event["item"] for event in before if event["type"] == "response.output_item.done"]
    text = _PLACE.sub(_members, rest)
    text = _PART.sub(_part, text)
    text = _USAGE.sub(lambda found: json.dumps(responses.usage(*map(int, found[1].split(",")))), text)
    text = _ITEM.sub(lambda found: json.dumps(done[int(found[1])]), text)
    text = re.sub(r",L$", ',"logprobs":[]', text)
    members: Json = json.loads("{" + text + "}")
    if name in ("completed", "incomplete", "failed"):
        return {"type": f"response.{name}", "response": {**responses.HEAD, "status": name, **members}}
    return {"type": f"response.{name}", **members}


def _members(found: re.Match[str]) -> str:
    """The place of an item, without braces."""
    content = None if found[3] is None else int(found[3])
    return json.dumps(responses.at(found[1], int(found[2]), content))[1:-1]


def _part(found: re.Match[str]) -> str:
    return json.dumps({**responses.part(json.loads(found[1])), "annotations": json.loads(found[2] or "[]")})


# Messages and generateContent.


def _messages(lines: list[str]) -> list[Line]:
    return [messages.event(line) for line in lines]


def _gemini(lines: list[str]) -> list[Line]:
    return [_gemini_line(line) for line in lines]


def _gemini_line(line: str) -> Line:
    mark, _, rest = line.partition(" ")
    if mark == "P":
        content = {"role": "model", "parts": json.loads(f"[{rest}]")}
        return {"candidates": [{"index": 0, "content": content}], **G_HEAD}
    if mark == "Q":
        word, _, rest = rest.partition(" ")
        usage, end = json.JSONDecoder().raw_decode(rest)
        more = json.loads(rest[end:] or "{}")
        candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": word, **more}
        return {"candidates": [candidate], "usageMetadata": usage, **G_HEAD}
    return json.loads(line)  # type: ignore[no-any-return]


EXPAND = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic_messages": _messages,
    "gemini": _gemini,
}


# Bytes.


def to_bytes(wire: str, events: list[Line]) -> bytes:
    """The stream as it is on the wire."""
    if wire in ("openai_responses", "anthropic_messages"):
        named = [event for event in events if not isinstance(event, str)]
        return responses.to_bytes(named) if wire == "openai_responses" else messages.wire(named)
    data = [event.encode() if isinstance(event, str) else orjson.dumps(event) for event in events]
    return b"".join([b"data: " + line + b"\n\n" for line in data])


def parsed(wire: str, data: bytes) -> list[Line]:
    """The events of a stream; what carries a name carries its own."""
    if wire == "anthropic_messages":
        return list(messages.parsed(data))
    if wire == "openai_responses":
        return list(responses.parsed(data))
    *lines, rest = data.split(b"\n\n")
    assert rest == b""
    assert all(line.startswith(b"data: ") for line in lines), data
    return ["[DONE]" if line == b"data: [DONE]" else orjson.loads(line[6:]) for line in lines]
