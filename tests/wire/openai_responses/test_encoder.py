"""Canonical events as Responses streams, and what official clients make of them. The worked examples are in
`tests.golden`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given
from openai import OpenAI
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from oneapi_mw.canonical.blocks import (
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import (
    ArgumentsDelta,
    BlockEnded,
    BlockStarted,
    Ended,
    Event,
    Failed,
    Finished,
    LogprobsAdded,
    PartialImage,
    Ping,
    ReasoningDelta,
    Started,
    TextDelta,
    UsageReported,
)
from oneapi_mw.canonical.fold import unfold
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import RateLimited, UpstreamError
from oneapi_mw.usage import Usage
from oneapi_mw.wire.openai_responses import FORMAT
from tests.canonical import strategies
from tests.wire.openai_responses.support import (
    Json,
    begun,
    call_of,
    function_item,
    parsed,
    plain,
    reasoning_item,
    refusal_item,
    text_item,
    usage,
    whole,
)

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
START = Started("resp_1", "upstream", 1)
END: list[Event] = [Ended()]


def encoded(events: list[Event], body: Json | None = None) -> list[Json]:
    encoder = FORMAT.stream_encoder(call_of(body))
    data = b"".join([encoder.feed([event]) for event in events])
    assert encoder.close() == b""
    return parsed(data)


def text(block: int, *deltas: str, **members: Any) -> list[Event]:
    return [
        BlockStarted(0, block, "text"),
        *(TextDelta(0, block, delta) for delta in deltas),
        BlockEnded(0, block, Text("".join(deltas), **members)),
    ]


def called(block: int, call_id: str, name: str, *deltas: str) -> list[Event]:
    return [
        BlockStarted(0, block, "tool_call", call_id=call_id, name=name),
        *(ArgumentsDelta(0, block, delta) for delta in deltas),
        BlockEnded(0, block, ToolCall(call_id, name, "".join(deltas))),
    ]


def told(tokens: int, output: int, **parts: Any) -> UsageReported:
    return UsageReported(Usage(tokens, output, **parts))


@pytest.mark.parametrize(
    ("reason", "word"), [("length", "max_output_tokens"), ("refusal", "content_filter"), ("pause", "max_output_tokens")]
)
def test_examples_5_and_6_what_was_cut_is_incomplete(reason: Any, word: str) -> None:
    events = [START, *text(0, "Once upon"), Finished(0, reason), told(9, 2), *END]
    assert plain(encoded(events)) == whole(
        text_item("msg_1", 0, "incomplete", "Once upon"),
        kind="incomplete",
        usage=usage(9, 0, 0, 2, 0, 11),
        incomplete_details={"reason": word},
    )


def test_examples_8_and_9_failure_leaves_the_item_open() -> None:
    events: list[Event] = [
        START,
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, "Hi"),
        Failed(UpstreamError("Overloaded", status=503, code="overloaded")),
        Finished(0, "stop"),
        *END,
    ]
    open_item = text_item("msg_1", 0, "completed", "Hi")[:3]
    written = plain(encoded(events))
    assert written[:-1] == [*begun(), *open_item]
    assert written[-1]["type"] == "response.failed"
    assert written[-1]["response"]["error"] == {"code": "server_error", "message": "Overloaded"}
    assert written[-1]["response"]["output"] == []
    assert written[-1]["response"]["id"] == written[0]["response"]["id"]


def test_example_10_signature_of_a_call_joins_the_reasoning_before_it() -> None:
    signature = ReasoningOpaque("oa1.gemini.Y", "google-gemini-v1")
    events: list[Event] = [
        START,
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, "Look it up."),
        BlockEnded(0, 0, Reasoning((ReasoningText("Look it up."),))),
        BlockStarted(0, 1, "tool_call", call_id="call_1", name="get_weather", opaque=signature),
        ArgumentsDelta(0, 1, '{"city":"Oslo"}'),
        BlockEnded(0, 1, ToolCall("call_1", "get_weather", '{"city":"Oslo"}', opaque=signature)),
        Finished(0, "tool_calls"),
        told(31, 62, reasoning=40),
        *END,
    ]
    expected = whole(
        reasoning_item("rs_1", 0, "Look it up.", "oa1.gemini.Y"),
        function_item("fc_1", 1, "call_1", "get_weather", '{"city":"Oslo"}'),
        usage=usage(31, 0, 0, 62, 40, 93),
    )
    assert plain(encoded(events)) == expected
    without = [event for event in events if getattr(event, "block", 1) == 1]
    assert plain(encoded(without))[2:4] == reasoning_item("rs_1", 0, "", "oa1.gemini.Y")


def test_a_call_of_a_tool_in_a_namespace() -> None:
    call = ToolCall("c", "f", "{}", namespace="crm")
    item = encoded(unfold(Response("resp_1", "m", 1, (Candidate((call,), "tool_calls"),))))[-2]["item"]
    assert (item["name"], item["namespace"]) == ("f", "crm")


def test_searches_are_counted() -> None:
    searched = told(90, 7, hosted=(("web_search", 2),))
    response = encoded([START, *text(0, "x"), Finished(0, "stop"), searched, *END])[-1]["response"]
    assert response["tool_usage"]["web_search"] == {"num_requests": 2}
    SdkResponse.model_validate(response)


def test_texts_in_a_row_are_parts_of_one_message() -> None:
    done = encoded([START, *text(0, "a"), *text(1, "b"), Finished(0, "stop"), *END])[-2]["item"]
    assert [entry["text"] for entry in done["content"]] == ["a", "b"]


def test_texts_of_two_messages_stay_apart() -> None:
    blocks = (Text("a", item_id="msg_a", phase="commentary"), Text("b", item_id="msg_b"))
    output = encoded(unfold(Response("resp_1", "m", 1, (Candidate(blocks, "stop"),))))[-1]["response"]["output"]
    assert [(item["id"], item.get("phase")) for item in output] == [("msg_a", "commentary"), ("msg_b", None)]


def test_an_empty_answer() -> None:
    written = plain(encoded([START, Finished(0, "stop"), told(1, 0), *END]))
    assert written == whole(usage=usage(1, 0, 0, 0, 0, 1))


def test_arguments_are_never_empty() -> None:
    written = plain(encoded([START, *called(0, "c", "f"), Finished(0, "tool_calls"), told(1, 1), *END]))
    assert written[2:6] == function_item("fc_1", 0, "c", "f", "{}")


def test_a_call_cut_by_the_limit_is_incomplete() -> None:
    item = encoded([START, *called(0, "c", "f", '{"a":'), Finished(0, "length"), *END])[-2]["item"]
    assert item["status"] == "incomplete"


def test_missing_usage_is_estimated() -> None:
    """Coding agents take an answer without usage for a broken stream."""
    response = encoded([START, *text(0, "x" * 35), Finished(0, "stop"), *END])[-1]["response"]
    assert response["usage"]["output_tokens"] == 10


def test_hosted_search_and_code() -> None:
    blocks = (
        HostedCall("web_search", "srvtoolu_1", "web_search", {"query": "oslo"}),
        HostedResult("srvtoolu_1", "web_search"),
        HostedCall("code", "srvtoolu_2", "code_execution", {"code": "print(1)"}),
        HostedResult("srvtoolu_2", "code", blocks=(Text("1\n"),)),
        HostedCall("text_editor", "srvtoolu_3", "text_editor", {}),
        Text("1"),
    )
    events = encoded(unfold(Response("resp_1", "m", 1, (Candidate(blocks, "stop"),), Usage(1, 1))))
    search, code, said = events[-1]["response"]["output"]
    assert search["action"] == {"type": "search", "query": "oslo"}
    assert code["outputs"] == [{"type": "logs", "logs": "1\n"}]
    assert said["type"] == "message"
    steps = [event["type"].removeprefix("response.") for event in events]
    assert steps[2:7] == [
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
    ]
    assert "code_interpreter_call_code.done" in steps
    for event in events:
        EVENTS.validate_python(event)


def test_a_picture_and_its_previews() -> None:
    events: list[Event] = [
        START,
        BlockStarted(0, 0, "image"),
        PartialImage(0, 0, 0, "AAAA"),
        BlockEnded(0, 0, Image(Inline("image/png", "iVBORw0KGgo="))),
        Finished(0, "stop"),
        *END,
    ]
    written = encoded(events)
    assert written[-1]["response"]["output"][0]["result"] == "iVBORw0KGgo="
    assert "response.image_generation_call.partial_image" in [event["type"] for event in written]
    for event in written:
        EVENTS.validate_python(event)


def test_items_of_this_format_come_back_as_they_were() -> None:
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "x"}
    response = Response(
        "resp_1", "m", 1, (Candidate((Opaque("compaction", FORMAT.name, "compaction", item),), "stop"),)
    )
    assert encoded(unfold(response))[-1]["response"]["output"] == [item]


def test_log_probabilities_go_with_their_text() -> None:
    entry = {"token": "é", "logprob": -0.5, "top_logprobs": []}
    events: list[Event] = [
        START,
        BlockStarted(0, 0, "text"),
        TextDelta(0, 0, "é"),
        LogprobsAdded(0, 0, (entry,)),
        BlockEnded(0, 0, Text("é", logprobs=(entry,))),
        Finished(0, "stop"),
        *END,
    ]
    encoder = FORMAT.stream_encoder(call_of())
    written = parsed(encoder.feed(events))
    delta = next(event for event in written if event["type"] == "response.output_text.delta")
    assert delta["logprobs"] == [entry]
    told_whole = written[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert told_whole == [{**entry, "bytes": [195, 169]}]


def test_a_refusal_that_only_its_explanation_tells() -> None:
    events: list[Event] = [START, Finished(0, "refusal", explanation="Declined."), told(1, 1), *END]
    assert plain(encoded(events)) == whole(refusal_item("msg_1", 0, "Declined."), usage=usage(1, 0, 0, 1, 0, 2))


def test_the_answer_waits_for_something_to_say() -> None:
    encoder = FORMAT.stream_encoder(call_of())
    assert encoder.feed([START]) == b""
    assert encoder.feed([Ping()]) == b": keepalive\n\n"
    assert encoder.feed([TextDelta(0, 0, "x")]).startswith(b"event: response.created\n")


def test_the_request_is_echoed() -> None:
    body: Json = {
        "model": "m",
        "input": "Hi",
        "instructions": "Be brief.",
        "temperature": 0.5,
        "store": False,
        "metadata": {"a": "b"},
        "text": {"verbosity": "low"},
        "conversation": "conv_1",
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
        "tool_choice": "required",
    }
    for event in encoded([START, *text(0, "x"), Finished(0, "stop"), *END], body):
        if "response" in event:
            response = event["response"]
            for name in ("instructions", "temperature", "store", "metadata", "tools", "tool_choice"):
                assert response[name] == body[name]
            assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
            assert response["conversation"] == {"id": "conv_1"}
            SdkResponse.model_validate(response)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RateLimited("slow", retry_after=1), "rate_limit_exceeded"),
        (UpstreamError("x", status=400, code="context_length_exceeded"), "context_length_exceeded"),
        (UpstreamError("x", status=400, code="odd"), "invalid_prompt"),
    ],
)
def test_codes_that_clients_read(error: Any, code: str) -> None:
    assert encoded([START, Failed(error)])[-1]["response"]["error"]["code"] == code
    (event,) = parsed(FORMAT.encode_stream_error(error, request_id="r"))
    assert event["response"]["error"]["code"] == code
    assert event["response"]["error"]["message"].endswith("(request id: r)")
    EVENTS.validate_python(event) if code != "context_length_exceeded" else None


# What the official client makes of it.


@pytest.fixture(name="ask")
def ask_fixture() -> Iterator[Any]:
    replies: list[bytes] = []

    def reply(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=replies.pop(), headers={"content-type": "text/event-stream"})

    with OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(reply))) as client:

        def ask(data: bytes) -> Any:
            replies.append(data)
            with client.responses.stream(model="m", input="Hi") as stream:
                for _ in stream:
                    pass
                return stream.get_final_response()

        yield ask


def test_the_official_helper_understands_a_stream(ask: Any) -> None:
    opaque = ReasoningOpaque("c", "openai-responses-v1", "encrypted")
    blocks = (
        Reasoning((ReasoningText("Think.", True),), opaque),
        Text("Hello"),
        Refusal("no"),
        ToolCall("c1", "f", '{"a":1}'),
        ToolCall("c2", "g", "free", "custom"),
        HostedCall("web_search", "w", "web_search", {"query": "q"}),
        Image(Inline("image/png", "iVBORw0KGgo=")),
        Text("bye"),
    )
    response = Response("resp_1", "m", 1, (Candidate(blocks, "stop"),), Usage(3, 4))
    data = FORMAT.stream_encoder(call_of()).feed(unfold(response))
    for event in parsed(data):
        EVENTS.validate_python(event)
    final = ask(data)
    assert final.output_text == "Hellobye"
    assert [item.type for item in final.output] == [
        "reasoning",
        "message",
        "function_call",
        "custom_tool_call",
        "web_search_call",
        "image_generation_call",
        "message",
    ]


# Whatever comes.


def with_known_phases(response: Response) -> Response:
    """Phases of messages are a closed list to the SDK."""
    return replace(
        response,
        candidates=tuple(
            replace(
                candidate,
                blocks=tuple(replace(b, phase=None) if isinstance(b, Text) else b for b in candidate.blocks),
            )
            for candidate in response.candidates
        ),
    )


@given(strategies.responses().map(with_known_phases))
def test_any_answer_ends_once_and_satisfies_the_sdk(response: Response) -> None:
    call = call_of()
    written = parsed(FORMAT.stream_encoder(call, request_id="r").feed(unfold(response)))
    terminal = [event for event in written if event["type"].rpartition(".")[2] in ("completed", "incomplete", "failed")]
    ends = [event for event in terminal if "response" in event]
    assert [event["sequence_number"] for event in written] == list(range(len(written)))
    assert ends == written[-1:]
    SdkResponse.model_validate(ends[0]["response"])
    added = [event["output_index"] for event in written if event["type"] == "response.output_item.added"]
    done = [event["output_index"] for event in written if event["type"] == "response.output_item.done"]
    assert added == done == list(range(len(added)))


@given(strategies.responses())
def test_buffered_and_streamed_answers_are_equal(response: Response) -> None:
    buffered = FORMAT.encode_response(response, call_of(), request_id="r")
    if len(response.candidates) < 2 and not (not response.candidates and response.prompt_block):
        streamed = parsed(FORMAT.stream_encoder(call_of(), request_id="r").feed(unfold(response)))[-1]["response"]
        assert orjson.loads(orjson.dumps(buffered)) == streamed
