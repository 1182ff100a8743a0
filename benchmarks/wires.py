"""One streamed answer as the vendor of each wire format writes it, event by event.

Two answers: `text` is words and nothing else; `agent` thinks, then speaks, then calls a tool, a third each. A chunk is
one event with a piece of content; what begins, ends and surrounds these is in the streams and not counted.
"""

from __future__ import annotations

import json
from typing import Any

FORMATS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
ANSWERS = ("text", "agent")
WORDS = (" the", " city", " of", " Oslo", " is", " cold", " today", ", so", " take", " a", " coat")
PIECE = '\\"city\\": \\"Oslo\\", '
"""Of the string in the tool's arguments, as JSON text."""


def words(count: int) -> list[str]:
    """Not one word over and over: some gateways take that for a model that hangs."""
    return [WORDS[index % len(WORDS)] for index in range(count)]


def stream(wire: str, answer: str, chunks: int) -> list[bytes]:
    """The events of an answer of `chunks` chunks."""
    parts = [("text", chunks)] if answer == "text" else _thirds(chunks)
    return {
        "openai_chat": _chat,
        "openai_responses": _responses,
        "anthropic_messages": _messages,
        "gemini": _gemini,
    }[wire](parts, chunks)


def _thirds(chunks: int) -> list[tuple[str, int]]:
    third = chunks // 3
    return [("reasoning", third), ("text", third), ("tool", chunks - 2 * third)]


def _data(value: object, name: str | None = None) -> bytes:
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _chat(parts: list[tuple[str, int]], chunks: int) -> list[bytes]:
    head = {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "deepseek-chat",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }

    def event(delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice], "usage": None})

    def call(arguments: str, **first: object) -> bytes:
        return event({"tool_calls": [{"index": 0, **first, "function": {**_named(first), "arguments": arguments}}]})

    events = [event({"role": "assistant", "content": ""})]
    for kind, count in parts:
        if kind == "tool":
            events += [call('{"q":"', id="call_1", type="function")]
            events += [call(PIECE) for _ in range(count)] + [call('"}')]
        else:
            field = "content" if kind == "text" else "reasoning_content"
            events += [event({field: word}) for word in words(count)]
    usage = {"prompt_tokens": 11, "completion_tokens": chunks, "total_tokens": chunks + 11}
    ending = event({}, "tool_calls" if parts[-1][0] == "tool" else "stop")
    return [*events, ending, _data({**head, "choices": [], "usage": usage}), b"data: [DONE]\n\n"]


def _named(first: dict[str, object]) -> dict[str, object]:
    return {"name": "search"} if first else {}


def _messages(parts: list[tuple[str, int]], chunks: int) -> list[bytes]:
    def event(kind: str, **rest: object) -> bytes:
        return _data({"type": kind, **rest}, kind)

    message: dict[str, object] = {
        "id": "msg_01AbCdEfGhIjKlMnOpQrStUv",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    }
    opened: dict[str, dict[str, object]] = {
        "text": {"type": "text", "text": ""},
        "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
        "tool": {"type": "tool_use", "id": "toolu_1", "name": "search", "input": {}},
    }
    events = [event("message_start", message=message)]
    for index, (kind, count) in enumerate(parts):

        def delta(kind: str, index: int = index, **rest: object) -> bytes:
            return event("content_block_delta", index=index, delta={"type": kind, **rest})

        events.append(event("content_block_start", index=index, content_block=opened[kind]))
        if kind == "text":
            events += [delta("text_delta", text=word) for word in words(count)]
        elif kind == "reasoning":
            events += [delta("thinking_delta", thinking=word) for word in words(count)]
            events.append(delta("signature_delta", signature="EqQBCgIYAhIkMDEyMzQ1Njc4OWFiY2RlZg=="))
        else:
            pieces = ['{"q":"', *[PIECE] * count, '"}']
            events += [delta("input_json_delta", partial_json=piece) for piece in pieces]
        events.append(event("content_block_stop", index=index))
    ending = {"stop_reason": "tool_use" if parts[-1][0] == "tool" else "end_turn", "stop_sequence": None}
    usage = {"output_tokens": chunks}
    return [*events, event("message_delta", delta=ending, usage=usage), event("message_stop")]


def _gemini(parts: list[tuple[str, int]], chunks: int) -> list[bytes]:
    def usage(so_far: int) -> dict[str, int]:
        return {"promptTokenCount": 11, "candidatesTokenCount": so_far, "totalTokenCount": 11 + so_far}

    def event(so_far: int, part: dict[str, object], **rest: object) -> bytes:
        candidate = {"content": {"parts": [part], "role": "model"}, **rest, "index": 0}
        return _data(
            {
                "candidates": [candidate],
                "usageMetadata": usage(so_far),
                "modelVersion": "gemini-2.5-flash",
                "responseId": "AbCdEfGhIjKl",
            }
        )

    events: list[bytes] = []
    for kind, count in parts:
        if kind == "tool":  # a call comes whole
            arguments = json.loads('{"q":"' + PIECE * count + '"}')
            events.append(event(len(events), {"functionCall": {"name": "search", "args": arguments}}))
        elif kind == "reasoning":
            events += [event(index, {"text": word, "thought": True}) for index, word in enumerate(words(count))]
        else:
            events += [event(index, {"text": word}) for index, word in enumerate(words(count))]
    return [*events, event(chunks, {"text": ""}, finishReason="STOP")]


def _responses(parts: list[tuple[str, int]], chunks: int) -> list[bytes]:
    events: list[bytes] = []

    def event(kind: str, **rest: object) -> None:
        events.append(_data({"type": f"response.{kind}", **rest, "sequence_number": len(events)}, f"response.{kind}"))

    head: dict[str, Any] = {
        "id": "resp_0123456789abcdef0123456789abcdef",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-4o-2024-08-06",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }
    event("created", response=head)
    event("in_progress", response=head)
    items = [_ITEMS[kind](event, index, count) for index, (kind, count) in enumerate(parts)]
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": chunks,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": chunks + 11,
    }
    event("completed", response={**head, "status": "completed", "output": items, "usage": usage})
    return events


def _message_item(event: Any, index: int, count: int) -> dict[str, Any]:
    place = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant"}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    text = "".join(words(count))
    event("output_item.added", output_index=index, item={**item, "status": "in_progress", "content": []})
    event("content_part.added", **place, part=empty)
    for word in words(count):
        event("output_text.delta", **place, delta=word, logprobs=[], obfuscation="aBcDeFgHiJk")
    event("output_text.done", **place, text=text, logprobs=[])
    event("content_part.done", **place, part={**empty, "text": text})
    done = {**item, "status": "completed", "content": [{**empty, "text": text}]}
    event("output_item.done", output_index=index, item=done)
    return done


def _reasoning_item(event: Any, index: int, count: int) -> dict[str, Any]:
    place = {"item_id": "rs_1", "output_index": index, "summary_index": 0}
    item: dict[str, Any] = {"id": "rs_1", "type": "reasoning", "summary": []}
    text = "".join(words(count))
    event("output_item.added", output_index=index, item={**item, "status": "in_progress"})
    event("reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""})
    for word in words(count):
        event("reasoning_summary_text.delta", **place, delta=word, obfuscation="aBcDeFgHiJk")
    event("reasoning_summary_text.done", **place, text=text)
    event("reasoning_summary_part.done", **place, part={"type": "summary_text", "text": text})
    done = {**item, "status": "completed", "summary": [{"type": "summary_text", "text": text}]}
    event("output_item.done", output_index=index, item=done)
    return done


def _call_item(event: Any, index: int, count: int) -> dict[str, Any]:
    place = {"item_id": "fc_1", "output_index": index}
    item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "search"}
    pieces = ['{"q":"', *[PIECE] * count, '"}']
    arguments = "".join(pieces)
    event("output_item.added", output_index=index, item={**item, "status": "in_progress", "arguments": ""})
    for piece in pieces:
        event("function_call_arguments.delta", **place, delta=piece, obfuscation="aBcDeFgHiJk")
    event("function_call_arguments.done", **place, arguments=arguments)
    done = {**item, "status": "completed", "arguments": arguments}
    event("output_item.done", output_index=index, item=done)
    return done


_ITEMS = {"text": _message_item, "reasoning": _reasoning_item, "tool": _call_item}
