"""Whole answers of Chat Completions, and the stream encoder fed by other formats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from oneapi_mw.canonical.blocks import (
    Audio,
    Citation,
    FileRef,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import (
    BlockEnded,
    BlockStarted,
    CitationAdded,
    CodeDelta,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    ForeignEvent,
    Ping,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import unfold
from oneapi_mw.canonical.frames import Answer
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError, UpstreamInvalidResponse
from oneapi_mw.usage import Usage
from oneapi_mw.wire.framing.sse import SseDecoder
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat.encoder import KEEP_ALIVE
from oneapi_mw.wire.openai_chat.response import decode_response
from tests.canonical.strategies import responses
from tests.wire.golden import Golden, golden, shown

CASES = golden("openai_chat/responses")
CALL = Call(operation="chat", format="openai_chat", model="m", stream=True, body={}, raw=b"{}")


def encode(response: Response, **options: Any) -> Any:
    return orjson.loads(orjson.dumps(FORMAT.encode_response(response, CALL, **options)))


def say(*blocks: Any, finish: FinishReason = "stop", **more: Any) -> Response:
    return Response("chatcmpl-1", "m", 1, (Candidate(blocks, finish, **more),))


def stream(events: list[Event], **options: Any) -> bytes:
    encoder = FORMAT.stream_encoder(CALL, **options)
    return b"".join(encoder.feed([event]) for event in events) + encoder.close()


def chunks(data: bytes) -> list[Any]:
    return [orjson.loads(event.data) for event in SseDecoder().feed(data) if event.data != b"[DONE]"]


def deltas(data: bytes) -> list[Any]:
    return [choice["delta"] for chunk in chunks(data) for choice in chunk["choices"]]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_decoded(case: Golden) -> None:
    assert shown(FORMAT.decode_response(case["body"]))["Response"] == case["response"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoded(case: Golden) -> None:
    encoded = encode(FORMAT.decode_response(case["body"]))
    assert encoded == case["encoded"]
    ChatCompletion.model_validate(encoded)
    assert encode(FORMAT.decode_response(encoded)) == encoded


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_and_its_stream_say_the_same(case: Golden) -> None:
    response = FORMAT.decode_response(case["body"])
    decoder = FORMAT.stream_decoder(full=True, model=None, hide_usage=False)
    frames = decoder.feed(stream(unfold(response))) + decoder.close()
    again = [event for frame in frames for event in frame.events]
    assert [shown(event.content) for event in again if isinstance(event, BlockEnded)] == [
        shown(block)
        for candidate in response.candidates
        for block in candidate.blocks
    ] or "audio" in case.name or "several parts" in case.name  # fmt: skip


@settings(max_examples=50)
@given(responses())
def test_any_answer_can_be_written(response: Response) -> None:
    """Whatever other formats bring is an answer to official clients, whole and streamed."""
    ChatCompletion.model_validate(encode(response))
    data = stream(unfold(response))
    failed = any(candidate.finish == "error" for candidate in response.candidates)
    assert data.endswith(b"data: [DONE]\n\n") != failed
    if failed:
        assert data.rpartition(b"data: ")[2].startswith(b'{"error":')
        return
    for chunk in chunks(data):
        assert chunk["object"] == "chat.completion.chunk"
    roles = [delta for delta in deltas(data) if "role" in delta]
    assert len(roles) <= max(1, len(response.candidates))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": 5},
        {"choices": [5]},
        {"choices": [{"index": -1}]},
        {"choices": [{"index": 0, "message": {"content": 5}}]},
        {"choices": [{"index": 0, "message": {"tool_calls": [5]}}]},
        {"choices": [{"index": 0, "message": {"tool_calls": 5}}]},
    ],
)
def test_what_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        decode_response(body)


def test_a_choice_that_failed_is_an_error() -> None:
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "insufficient_system_resource"}]}
    with pytest.raises(UpstreamError, match="failed in the middle"):
        decode_response(body)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec=None), max_size=4),
        lambda inner: st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["content", "reasoning", "reasoning_details", "tool_calls", "audio", "function", "text"]),
            inner,
            max_size=4,
        ),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_message_is_an_answer_or_an_upstream_error(message: Any) -> None:
    body = {"choices": [{"message": message, "logprobs": message, "finish_reason": "stop"}], "usage": message}
    try:
        response = FORMAT.decode_response(body)
    except UpstreamError:
        return
    FORMAT.encode_response(response, CALL)
    assert FORMAT.answer_said(body).text_bytes >= 0
    FORMAT.read_usage(body)


# Identity.


def test_ids_of_calls_differ_from_answer_to_answer() -> None:
    def call_id(answer: str) -> str:
        calls = [{"function": {"name": "f", "arguments": "{}"}}]
        response = FORMAT.decode_response({"id": answer, "choices": [{"message": {"tool_calls": calls}}]})
        (block,) = response.candidates[0].blocks
        assert isinstance(block, ToolCall)
        return block.id

    assert call_id("a") == call_id("a") != call_id("b")


def test_the_client_sees_its_own_model_and_an_id_of_this_format() -> None:
    encoded = encode(Response("msg_1", "upstream"), request_id="r", created=7)
    assert encoded["model"] == "m"
    assert encoded["id"].startswith("chatcmpl-")
    assert encoded["id"] == encode(Response("msg_1", "other"), request_id="s")["id"]
    assert encoded["created"] == 7
    assert encode(Response(), request_id="r")["id"] != encode(Response(), request_id="s")["id"]
    assert encode(Response("chatcmpl-9", created=3), created=7)["created"] == 3


def test_chunks_have_the_same_identity() -> None:
    data = stream(unfold(say(Text("a"))), created=7)
    heads = {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks(data)}
    assert heads == {("chatcmpl-1", 1, "m")}
    (head,) = {chunk["created"] for chunk in chunks(stream(unfold(Response(candidates=(Candidate(),))), created=7))}
    assert head == 7


def test_the_name_is_restored_in_a_buffered_answer() -> None:
    answer = Answer("openai_chat", b'{"model":"up"}', {"model": "up"})
    assert FORMAT.restore_model(answer, "m") == Answer("openai_chat", b'{"model":"m"}', {"model": "m"})
    assert FORMAT.restore_model(answer, "up") is answer
    nameless = Answer("openai_chat", b"{}", {})
    assert FORMAT.restore_model(nameless, "m") is nameless


# Endings.


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("context_window", "length"),
        ("pause", "length"),
        ("compaction", "length"),
        ("continuation", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("malformed_call", "stop"),
        ("unknown", "stop"),
    ],
)
def test_finish(finish: FinishReason, word: str) -> None:
    assert encode(say(Text("x"), finish=finish))["choices"][0]["finish_reason"] == word
    assert chunks(stream(unfold(say(Text("x"), finish=finish))))[-1]["choices"][0]["finish_reason"] == word


def test_a_refusal_in_words_is_an_answer() -> None:
    response = say(Refusal("No."), finish="refusal")
    assert encode(response)["choices"][0]["finish_reason"] == "stop"
    assert chunks(stream(unfold(response)))[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_blocked_prompt() -> None:
    response = Response("chatcmpl-1", prompt_block="SAFETY", usage=Usage(7, 0))
    (choice,) = encode(response)["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "")
    role, end, usage = chunks(stream(unfold(response)))
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert end["choices"][0]["finish_reason"] == "content_filter"
    assert usage["usage"]["prompt_tokens"] == 7


def test_usage_comes_last_and_only_to_who_asked() -> None:
    events = unfold(Response("chatcmpl-1", usage=Usage(1, 2), candidates=(Candidate((Text("a"),), "stop"),)))
    assert chunks(stream(events))[-1]["usage"]["total_tokens"] == 3
    encoder = FORMAT.stream_encoder(replace(CALL, usage_wanted=False))
    assert b"usage" not in encoder.feed(events)


def test_usage_told_at_the_start_is_replaced() -> None:
    events: list[Event] = [Started(usage=Usage(5, 1)), UsageReported(Usage(5, 2)), Finished(0, "stop"), Ended()]
    assert chunks(stream(events))[-1]["usage"]["completion_tokens"] == 2
    assert chunks(stream([events[0], *events[2:]]))[-1]["usage"]["completion_tokens"] == 1


def test_a_failure_ends_without_done() -> None:
    events: list[Event] = [Started(), BlockStarted(0, 0, "text"), TextDelta(0, 0, "a"), Finished(0, "error")]
    data = stream([*events, Failed(UpstreamError("Broken")), Ended()], request_id="r1")
    assert chunks(data)[-1] == {
        "error": {
            "message": "Broken (request id: r1)",
            "type": "upstream_error",
            "param": None,
            "code": "upstream_error",
        }
    }
    assert b"[DONE]" not in data
    assert b'"finish_reason":"' not in data


def test_other_events() -> None:
    ours, other = ForeignEvent("openai_chat", "x", {"a": 1}), ForeignEvent("gemini", "x", {})
    assert stream([Ping(), CodeDelta(0, 0, "x"), other, ours]) == KEEP_ALIVE + b'data: {"a":1}\n\n'


# Blocks of other formats.


def test_blocks_in_any_order() -> None:
    blocks = (
        Reasoning((ReasoningText("One."),), ReasoningOpaque("S1", "anthropic-claude-v1")),
        Text("a"),
        HostedCall("web_search", "ws", "web_search"),
        HostedResult("ws", "web_search"),
        Reasoning((ReasoningText("Two."),)),
        Text("b"),
        ToolCall("c", "f", ""),
        Image(FileRef("google", "f")),
    )
    (choice,) = encode(say(*blocks, finish="tool_calls"))["choices"]
    message = choice["message"]
    assert message["content"] == "ab"
    assert message["reasoning"] == "One.\n\nTwo."
    assert [entry["text"] for entry in message["reasoning_details"]] == ["One.", "Two."]
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"
    assert "images" not in message
    said = deltas(stream(unfold(say(*blocks, finish="tool_calls"))))
    assert "".join(delta.get("reasoning", "") for delta in said) == "One.\n\nTwo."
    assert "".join(delta.get("content", "") for delta in said) == "ab"


def test_signatures_without_text_and_of_texts() -> None:
    """2.4: a signature alone has an empty text; one of a text has an entry of its own, which its vendor puts back."""
    blocks = (
        Reasoning((), ReasoningOpaque("S1", "anthropic-claude-v1")),
        Reasoning((ReasoningText("Two."),)),
        Reasoning((), ReasoningOpaque("RED", "anthropic-claude-v1", "encrypted")),
        Text("b", opaque=ReasoningOpaque("Q2k9", "google-gemini-v1")),
    )
    entries = [
        {"type": "reasoning.text", "text": "", "signature": "S1", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "RED", "format": "anthropic-claude-v1", "index": 2},
        {"type": "reasoning.text", "text": "", "signature": "Q2k9", "format": "google-gemini-v1", "index": 3},
    ]
    (choice,) = encode(say(*blocks))["choices"]
    assert choice["message"]["reasoning"] == "Two."
    buffered = choice["message"]["reasoning_details"]
    assert [entry for entry in buffered if "signature" in entry or "data" in entry] == entries
    said = deltas(stream(unfold(say(*blocks))))
    assert [entry for delta in said for entry in delta.get("reasoning_details", ())] == entries


def test_text_alone_needs_no_details() -> None:
    blocks = (Reasoning((ReasoningText("One."),)), Text("a"), Reasoning((ReasoningText("Two."),)))
    (choice,) = encode(say(*blocks))["choices"]
    assert choice["message"]["reasoning"] == "One.\n\nTwo."
    assert "reasoning_details" not in choice["message"]


def test_a_citation_covers_its_block_wherever_it_came() -> None:
    """Claude tells citations before or after the text they belong to; only at the end its length is known."""
    citation = Citation("url", url="https://e.org/x")
    text = Text("Paris.", citations=(citation,))
    events: list[Event] = [
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, "é "),
        BlockEnded(0, 0, Text("é ")),
        BlockStarted(0, 1, "text"),
        CitationAdded(0, 1, citation),
        TextDelta(0, 1, "Paris."),
        BlockEnded(0, 1, text),
        Finished(0, "stop"),
        Ended(),
    ]
    expected = [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 2, "end_index": 8, "title": "e.org", "url": "https://e.org/x"},
        }
    ]
    assert deltas(stream(events))[-2] == {"annotations": expected}
    assert encode(say(Text("é "), text))["choices"][0]["message"]["annotations"] == expected


def test_a_signature_goes_with_the_start_of_its_call() -> None:
    call = ToolCall("c", "f", "{}", opaque=ReasoningOpaque("Ci4B", "google-gemini-v1"))
    first = deltas(stream(unfold(say(call, finish="tool_calls"))))[1]["tool_calls"][0]
    assert first["id"] == "c"
    assert first["extra_content"] == {"google": {"thought_signature": "Ci4B"}}


def test_audio_without_an_id() -> None:
    audio = Audio(Inline("audio/wav", "AAAA"), "Hi")
    assert encode(say(audio))["choices"][0]["message"]["audio"] == {
        "id": "",
        "data": "AAAA",
        "expires_at": 0,
        "transcript": "Hi",
    }
