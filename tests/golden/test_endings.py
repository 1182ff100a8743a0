"""Why answers end: every reason in every wire, in whole answers and in streams, and every word of a wire read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest

from oneapi_mw.canonical.blocks import Block, Refusal, Text, ToolCall
from oneapi_mw.canonical.events import Failed, FinishReason
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage
from oneapi_mw.wire.registry import get_format
from tests.golden.conversion import client, events_of
from tests.golden.notation import C_HEAD, G_HEAD, WIRES, Line, parsed, to_bytes
from tests.wire.anthropic_messages.notation import message
from tests.wire.openai_responses.support import HEAD, ended

C, R, A, G = WIRES.values()
SAID: tuple[Block, ...] = (Text("a"),)
REFUSED: tuple[Block, ...] = (Refusal("no"),)
CALLED: tuple[Block, ...] = (ToolCall("c", "f", "{}"),)
CLASSIFIED = {"type": "refusal", "category": None, "explanation": None}


@dataclass(frozen=True)
class Ending:
    """A reason; what C says, `status` and the reason of R, `stop_reason` of A, `finishReason` of G."""

    reason: str
    told: tuple[str, str, str | None, str, str]
    blocks: tuple[Block, ...] = SAID

    def __str__(self) -> str:
        return f"{self.reason} {type(self.blocks[0]).__name__}"


ENDINGS = [
    Ending("stop", ("stop", "completed", None, "end_turn", "STOP")),
    Ending("stop_sequence", ("stop", "completed", None, "stop_sequence", "STOP")),
    Ending("tool_calls", ("tool_calls", "completed", None, "tool_use", "STOP"), CALLED),
    Ending("length", ("length", "incomplete", "max_output_tokens", "max_tokens", "MAX_TOKENS")),
    Ending(
        "context_window",
        ("length", "incomplete", "max_output_tokens", "model_context_window_exceeded", "MAX_TOKENS"),
    ),
    Ending("pause", ("length", "incomplete", "max_output_tokens", "pause_turn", "MAX_TOKENS")),
    Ending("compaction", ("length", "incomplete", "max_output_tokens", "pause_turn", "MAX_TOKENS")),
    Ending("continuation", ("length", "incomplete", "max_output_tokens", "pause_turn", "MAX_TOKENS")),
    Ending("refusal", ("stop", "completed", None, "refusal", "STOP"), REFUSED),
    Ending("refusal", ("content_filter", "incomplete", "content_filter", "refusal", "SAFETY")),
    Ending("content_filter", ("content_filter", "incomplete", "content_filter", "refusal", "SAFETY")),
    Ending("malformed_call", ("stop", "completed", None, "end_turn", "MALFORMED_FUNCTION_CALL")),
    Ending("unknown", ("stop", "completed", None, "end_turn", "OTHER")),
]


def answer(ending: Ending) -> Response:
    sequence = "END" if ending.reason == "stop_sequence" else None
    candidate = Candidate(ending.blocks, cast(FinishReason, ending.reason), stop_sequence=sequence)
    return Response("x", "m", 1, (candidate,), Usage(1, 1))


def whole(wire: str, response: Response) -> JsonObject:
    return get_format(wire).encode_response(response, client(wire), request_id="req_1", created=1)


def streamed(wire: str, response: Response) -> list[Line]:
    encoder = get_format(wire).stream_encoder(client(wire), request_id="req_1", created=1)
    return parsed(wire, encoder.feed(unfold(response)) + encoder.close())


def last(wire: str, response: Response) -> JsonObject:
    """The event that says how the stream ends, in the form of a whole answer."""
    lines = [line for line in streamed(wire, response) if not isinstance(line, str)]
    match wire:
        case "openai_chat":
            return next(line for line in lines if line["choices"] and line["choices"][0]["finish_reason"])
        case "openai_responses":
            return cast(JsonObject, lines[-1]["response"])
        case "anthropic_messages":
            return cast(JsonObject, lines[-2]["delta"])
        case _:
            return lines[-1]


def said(wire: str, body: JsonObject) -> tuple[Any, ...]:
    match wire:
        case "openai_chat":
            return (body["choices"][0]["finish_reason"],)
        case "openai_responses":
            return body["status"], (body["incomplete_details"] or {}).get("reason")
        case "anthropic_messages":
            return (body["stop_reason"],)
        case _:
            return (body["candidates"][0]["finishReason"],)


def expected(wire: str, ending: Ending) -> tuple[Any, ...]:
    chat, status, reason, messages, gemini = ending.told
    return {C: (chat,), R: (status, reason), A: (messages,), G: (gemini,)}[wire]


@pytest.mark.parametrize(("ending", "wire"), list(product(ENDINGS, WIRES.values())), ids=str)
def test_every_reason_in_every_wire(ending: Ending, wire: str) -> None:
    for body in (whole(wire, answer(ending)), last(wire, answer(ending))):
        assert said(wire, body) == expected(wire, ending)
        if wire == A:
            assert body["stop_sequence"] == ("END" if ending.reason == "stop_sequence" else None)
            classified = ending.reason == "refusal" and ending.blocks == SAID
            assert body.get("stop_details") == (CLASSIFIED if classified else None)


def test_every_reason_has_its_row() -> None:
    known = set(FinishReason.__args__)  # type: ignore[attr-defined]
    assert {ending.reason for ending in ENDINGS} == known - {"error", "cancelled"}


@pytest.mark.parametrize("wire", WIRES.values())
def test_an_answer_that_ended_in_an_error_is_no_success(wire: str) -> None:
    lines = streamed(wire, answer(Ending("error", ("", "", None, "", ""))))
    *before, end = lines
    assert not isinstance(end, str)
    assert "error" in end.get("response", end)
    assert all("error" not in line for line in before)
    assert not any(isinstance(line, str) for line in before)


def test_a_stop_sequence_that_nobody_told_is_not_guessed() -> None:
    response = Response("x", "m", 1, (Candidate(SAID, "stop_sequence"),), Usage(1, 1))
    for body in (whole(A, response), last(A, response)):
        assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)


# What upstreams say.


def words(reason: str, *found: str) -> list[tuple[str, str]]:
    return [(word, reason) for word in found]


READ: dict[str, list[tuple[str, str]]] = {
    C: [
        *words("stop", "stop", "eos", "eos_token", "normal", "end_turn", "COMPLETE"),
        *words("length", "length", "max_tokens", "model_length"),
        *words("content_filter", "content_filter", "sensitive", "content_filtered", "guardrail_intervened"),
        *words("unknown", "something new"),
    ],
    R: [
        *words("stop", "completed"),
        *words("length", "max_output_tokens", "max_messages"),
        *words("content_filter", "content_filter"),
        *words("pause", "steered"),
    ],
    A: [
        *words("stop", "end_turn"),
        *words("length", "max_tokens"),
        *words("stop_sequence", "stop_sequence"),
        *words("pause", "pause_turn"),
        *words("refusal", "refusal"),
        *words("context_window", "model_context_window_exceeded"),
        *words("compaction", "compaction"),
        *words("unknown", "something new"),
    ],
    G: [
        *words("stop", "STOP"),
        *words("length", "MAX_TOKENS"),
        *words("content_filter", "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        *words("content_filter", "OTHER", "ESCALATION", "PUP_LIMITED_DISABLED", "MODEL_ARMOR"),
        *words("content_filter", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER"),
        *words("content_filter", "NO_IMAGE"),
        *words("malformed_call", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *words("malformed_call", "MALFORMED_RESPONSE"),
        *words("continuation", "CONTINUATION"),
        *words("unknown", "FINISH_REASON_UNSPECIFIED", "SOMETHING_NEW"),
    ],
}
CALLING = [(C, "tool_calls"), (C, "function_call"), (C, "tool_use"), (C, "stop"), (C, "eos")]
CALLING += [(C, "something new"), (R, "completed"), (A, "tool_use"), (A, "end_turn"), (G, "STOP")]
FAILED = [(C, word) for word in ("insufficient_system_resource", "error", "network_error", "abort")]
FAILED += [(G, "MISSING_THOUGHT_SIGNATURE")]


def body(wire: str, word: str, *, calls: bool = False) -> JsonObject:
    """A whole answer of an upstream that ends with `word`."""
    function = {"name": "f", "arguments": "{}"}
    if wire == C:
        said = {"role": "assistant", "content": "a"}
        if calls:
            said["tool_calls"] = [{"id": "c", "type": "function", "function": function}]  # type: ignore[assignment]
        choice = {"index": 0, "message": said, "finish_reason": word}
        return {**C_HEAD, "object": "chat.completion", "choices": [choice]}
    if wire == R:
        item = {"type": "function_call", "id": "fc_1", "call_id": "c", "status": "completed", **function}
        text = {"type": "output_text", "text": "a", "annotations": []}
        shown = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
        details = None if word == "completed" else {"reason": word}
        status = "completed" if details is None else "incomplete"
        output = [item if calls else shown]
        return {**HEAD, "status": status, "incomplete_details": details, "output": output}
    if wire == A:
        block: JsonObject = {"type": "text", "text": "a"}
        if calls:
            block = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
        return {**message({"input_tokens": 1, "output_tokens": 1}), "content": [block], "stop_reason": word}
    part = {"functionCall": {"id": "c", "name": "f", "args": {}}} if calls else {"text": "a"}
    return {"candidates": [{"index": 0, "content": {"parts": [part]}, "finishReason": word}], **G_HEAD}


def stream(wire: str, whole: JsonObject) -> list[Line]:
    """The same as an upstream streams it, in as few events as it may."""
    if wire == C:
        (choice,) = whole["choices"]
        delta = dict(choice["message"])
        if "tool_calls" in delta:
            delta["tool_calls"] = [{"index": 0, **call} for call in delta["tool_calls"]]
        said = {"index": 0, "delta": delta, "finish_reason": None}
        finish = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
        return [{**C_HEAD, "choices": [said]}, {**C_HEAD, "choices": [finish]}, "[DONE]"]
    if wire == R:
        done = {"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]}
        return [done, ended(whole["status"], [done], incomplete_details=whole["incomplete_details"])]
    if wire == A:
        start = {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
        (block,) = whole["content"]
        shown: list[Line] = [{"type": "content_block_start", "index": 0, "content_block": block}]
        shown += [{"type": "content_block_stop", "index": 0}]
        delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        end = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}
        return [start, *shown, end, {"type": "message_stop"}]
    return [whole]


def reasons(wire: str, whole: JsonObject) -> list[str]:
    """As it is read of a whole answer and of a stream."""
    events = events_of(wire, [to_bytes(wire, stream(wire, whole))])
    return [found.candidates[0].finish for found in (get_format(wire).decode_response(whole), fold(events))]


@pytest.mark.parametrize(
    ("wire", "word", "reason"), [(wire, *row) for wire, rows in READ.items() for row in rows], ids=str
)
def test_every_word_of_an_upstream(wire: str, word: str, reason: str) -> None:
    assert reasons(wire, body(wire, word)) == [reason, reason]


@pytest.mark.parametrize(("wire", "word"), CALLING, ids=str)
def test_a_whole_call_is_to_be_run(wire: str, word: str) -> None:
    assert reasons(wire, body(wire, word, calls=True)) == ["tool_calls", "tool_calls"]


CUT = [(C, "length", "length"), (C, "content_filter", "content_filter"), (R, "max_output_tokens", "length")]
CUT += [(A, "max_tokens", "length"), (A, "refusal", "refusal"), (G, "MAX_TOKENS", "length")]
CUT += [(G, "SAFETY", "content_filter")]


@pytest.mark.parametrize(("wire", "word", "reason"), CUT, ids=str)
def test_a_call_that_may_be_half_is_not(wire: str, word: str, reason: str) -> None:
    assert reasons(wire, body(wire, word, calls=True)) == [reason, reason]


@pytest.mark.parametrize(("wire", "word"), [(C, "tool_calls"), (C, "function_call"), (A, "tool_use")], ids=str)
def test_nobody_waits_for_a_call_that_is_not_there(wire: str, word: str) -> None:
    assert reasons(wire, body(wire, word)) == ["stop", "stop"]


@pytest.mark.parametrize(("wire", "word"), FAILED, ids=str)
def test_words_for_failures(wire: str, word: str) -> None:
    failing = body(wire, word)
    with pytest.raises(UpstreamError):
        get_format(wire).decode_response(failing)
    assert isinstance(events_of(wire, [to_bytes(wire, stream(wire, failing))])[-1], Failed)


@pytest.mark.parametrize("name", ["stop_reason", "matched_stop"])
def test_servers_that_tell_which_stop_sequence_it_was(name: str) -> None:
    stopped = body(C, "stop")
    stopped["choices"][0][name] = "END"
    candidate = get_format(C).decode_response(stopped).candidates[0]
    assert (candidate.finish, candidate.stop_sequence) == ("stop_sequence", "END")
