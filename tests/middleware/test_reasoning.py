"""Answers as the client asked for them: inside the pipeline, and alone around a foreign app."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call
from oneapi_mw.canonical.events import BlockStarted, Ended, Event, Failed, TextDelta
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame, Offer
from oneapi_mw.errors import InvalidRequest, UpstreamError, UpstreamInvalidResponse
from oneapi_mw.middleware import reasoning as module
from oneapi_mw.middleware.body import BodyLimits
from oneapi_mw.middleware.reasoning import ReasoningMiddleware
from oneapi_mw.pipeline import build, default_stages, insert_before
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.upstream import Timeouts
from oneapi_mw.routing.channel import Channel
from oneapi_mw.routing.live import LiveRouter
from oneapi_mw.wire.framing.sse import SseCutter
from oneapi_mw.wire.wish import ReasoningWish, read_wish
from tests.relay.stack import (
    HEADERS,
    KEY,
    PATH,
    PRICE,
    SSE_TYPE,
    USAGE,
    Channels,
    Keys,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    body,
    channel,
    principal,
)
from tests.support.harness import Client, Exchanged, call, http_scope

# Inside the pipeline.


class WishStage:
    """Puts the wish of the request into `CALL`, as the convert stage does."""

    requires, provides = (CALL,), ()

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = CALL.get(scope)
        wish = read_wish(found.outside, found.body)
        await self.app(CALL.put(scope, replace(found, wish=wish)), receive, send)


def gateway(upstream: ScriptedUpstream, *channels: Channel, retries: int = 0) -> ASGIApp:
    stages = default_stages(
        principals=Keys({KEY: principal()}),
        router=LiveRouter(Channels(channels or [channel(type=50)]), group_ratios={"default": 1_000_000}),
        ledger=WatchedLedger(),
    )
    stages = insert_before(stages, ReasoningMiddleware, Middleware(WishStage))
    return build(Relay(upstream=upstream, limits=RelayLimits(Timeouts(), retries=retries)), stages)


MESSAGES = "/v1/messages"


async def ask(
    reply: Reply, query: str = "", *, path: str = PATH, to: Channel | None = None, **changes: Any
) -> Exchanged:
    app = gateway(ScriptedUpstream(reply), *([to] if to else []))
    return await call(app, "POST", path, json=body(**changes), headers=HEADERS, query=query.encode())


def answered(message: dict[str, Any], finish: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return Reply([orjson.dumps({"id": "1", "model": "small", "choices": [choice], "usage": USAGE, "extra": 1})])


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "1", "model": "small", "choices": [choice]}) + b"\n\n"


END = chunk({}, "stop") + b"data: [DONE]\n\n"


def streaming(*steps: Any) -> Reply:
    return Reply([*steps, END], headers=SSE_TYPE)


def deltas(exchanged: Exchanged) -> list[dict[str, Any]]:
    events = [line.removeprefix(b"data: ") for line in exchanged.body.split(b"\n\n") if line.startswith(b"data: {")]
    chunks = [orjson.loads(event) for event in events]
    return [choice["delta"] for found in chunks for choice in found.get("choices", ()) if choice["delta"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"content": "2.", "reasoning": "Hm."}),
        ("thinking=1", {"content": "2.", "reasoning": "Hm."}),
        ("reasoning_format=reasoning_content", {"content": "2.", "reasoning_content": "Hm."}),
        ("reasoning_format=raw", {"content": "<think>\nHm.\n</think>\n\n2."}),
        ("reasoning_format=hidden", {"content": "2."}),
        ("thinking=0", {"content": "2."}),
    ],
)
async def test_a_chat_answered_by_a_chat(query: str, expected: dict[str, Any]) -> None:
    exchanged = await ask(answered({"content": "2.", "reasoning": "Hm."}), query)
    document = exchanged.json()
    assert document["choices"][0]["message"] == {"role": "assistant", **expected}
    assert document["extra"] == 1
    assert document["usage"] == USAGE, "CV-45"
    assert exchanged.headers["content-length"] == str(len(exchanged.body))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [{"reasoning": "Hm."}, {"content": "2."}]),
        ("reasoning_format=thinking", [{"thinking": "Hm."}, {"content": "2."}]),
        ("reasoning_format=hidden", [{"content": "2."}]),
        (
            "reasoning_format=raw",
            [{"content": "<think>\nHm."}, {"content": "\n</think>\n\n"}, {"content": "2."}],
        ),
    ],
)
async def test_a_chat_streamed_by_a_chat(query: str, expected: list[dict[str, Any]]) -> None:
    exchanged = await ask(streaming(chunk({"reasoning": "Hm."}), chunk({"content": "2."})), query, stream=True)
    assert deltas(exchanged) == expected
    assert exchanged.body.endswith(b"data: [DONE]\n\n")


async def test_what_is_not_about_reasoning_stays_the_same_bytes() -> None:
    odd = b'data: {"choices":[ {"index":0,"delta":{"content":"2."},"finish_reason":null} ],"odd":1}\n\n'
    exchanged = await ask(streaming(chunk({"reasoning": "Hm."}), odd), "reasoning_format=thinking", stream=True)
    assert odd in exchanged.body


TAGGED = "<think>\nHm.</think>\n\n2."


async def test_tags_are_split_where_reasoning_is_asked_for() -> None:
    split = {"role": "assistant", "content": "2.", "reasoning_content": "Hm."}
    whole = {"role": "assistant", "content": TAGGED}

    async def message(query: str, **changes: Any) -> Any:
        return (await ask(answered({"content": TAGGED}), query, **changes)).json()["choices"][0]["message"]

    assert await message("thinking=1") == split
    assert await message("reasoning_effort=high") == split
    assert await message("", reasoning_effort="high") == split
    assert await message("") == whole
    assert await message("reasoning_format=raw") == whole
    assert await message("thinking=1", logprobs=True) == whole


@pytest.mark.parametrize(
    ("config", "query", "text", "expected"),
    [
        ({"think_tags": "off"}, "thinking=1", TAGGED, {"content": TAGGED}),
        ({"think_tags": "always"}, "", TAGGED, {"content": "2.", "reasoning_content": "Hm."}),
        ({"think_tags": "prefilled"}, "", "Hm.</think>2.", {"content": "2.", "reasoning_content": "Hm."}),
        ({"think_tags": "prefilled"}, "thinking=0", "2.", {"content": "2."}),
        ({"think_tags": "prefilled"}, "thinking=0", "Hm.</think>2.", {"content": "Hm.</think>2."}),
        (
            {"think_tags": "harmony"}, "", "<|channel|>analysis<|message|>Hm.<|end|>2.",
            {"content": "2.", "reasoning_content": "Hm."},
        ),
        ({"think_tags": "odd"}, "", TAGGED, {"content": TAGGED}),
    ],
)  # fmt: skip
async def test_what_the_channel_says_of_tags(
    config: dict[str, Any], query: str, text: str, expected: dict[str, Any]
) -> None:
    exchanged = await ask(answered({"content": text}), query, to=channel(type=50, config=config))
    assert exchanged.json()["choices"][0]["message"] == {"role": "assistant", **expected}


@pytest.mark.parametrize(
    ("model", "text"), [("deepseek-r1-distill-qwen-7b", TAGGED), ("qwq-32b", "\nHm.</think>\n\n2.")]
)
async def test_models_that_are_known_for_tags(model: str, text: str) -> None:
    to = channel(type=50, models=(model,), model_configs={model: PRICE})
    parts = [chunk({"content": letter}) for letter in text]
    exchanged = await ask(streaming(*parts), to=to, model=model, stream=True)
    said = deltas(exchanged)
    assert "".join(delta.get("content", "") for delta in said) == "2."
    assert "".join(delta.get("reasoning_content", "") for delta in said).strip() == "Hm."


async def test_cv_41_a_chat_that_was_told_not_to_reason() -> None:
    for switches in ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}):
        exchanged = await ask(answered({"content": None, "reasoning_content": "2."}), **switches)
        assert exchanged.json()["choices"][0]["message"] == {"role": "assistant", "content": "2."}
        exchanged = await ask(streaming(chunk({"reasoning": "2."})), stream=True, **switches)
        assert deltas(exchanged) == [{"content": "2."}]


CLAUDE_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "small",
                                          "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "2."}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
    {"type": "message_stop"},
]  # fmt: skip
CLAUDE_STREAM = b"".join(
    b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in CLAUDE_EVENTS
)
CLAUDE_CONTENT = [{"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}, {"type": "text", "text": "2."}]
CLAUDE_ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "small",
    "content": CLAUDE_CONTENT,
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 12},
}
CLAUDE = channel(type=52)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("reasoning_format=reasoning_content", {"content": "2.", "reasoning_content": "Hm."}),
        ("reasoning_format=reasoning", {"content": "2.", "reasoning": "Hm."}),
        ("reasoning_format=thinking", {"content": "2.", "thinking": "Hm.", "signature": "EqQB"}),
        ("reasoning_format=raw", {"content": "<think>\nHm.\n</think>\n\n2."}),
        ("reasoning_format=hidden", {"content": "2."}),
    ],
)
async def test_a_chat_answered_by_claude(query: str, expected: dict[str, Any]) -> None:
    exchanged = await ask(Reply([orjson.dumps(CLAUDE_ANSWER)]), query, to=CLAUDE)
    message = exchanged.json()["choices"][0]["message"]
    assert message.pop("reasoning_details")[0]["signature"]
    assert {name: value for name, value in message.items() if value not in (None, [])} == {
        "role": "assistant",
        **expected,
    }


@pytest.mark.parametrize(
    ("query", "text"), [("reasoning_format=raw", "<think>\nHm.\n</think>\n\n2."), ("reasoning_format=hidden", "2.")]
)
async def test_a_chat_streamed_by_claude(query: str, text: str) -> None:
    exchanged = await ask(Reply([CLAUDE_STREAM], headers=SSE_TYPE), query, to=CLAUDE, stream=True)
    said = deltas(exchanged)
    assert "".join(delta.get("content", "") for delta in said) == text
    assert not [delta for delta in said if "Hm." in str(delta.get("reasoning", delta.get("reasoning_content", "")))]
    assert [delta for delta in said if delta.get("reasoning_details")], "what must come back is carried all the same"


async def test_the_name_of_a_field_is_none_of_the_events() -> None:
    events: list[Event] = [BlockStarted(0, 0, "text"), TextDelta(0, 0, "2.")]
    frame = Frame(events)
    message = {"type": EVENTS, "frames": [frame], "more_body": True}
    sent, _ = await passed_on(scope_of(ReasoningWish(fallback="thinking")), message)
    assert sent[0]["frames"] == [frame]


async def test_claude_to_its_own_clients_is_untouched() -> None:
    streamed = Reply([CLAUDE_STREAM], headers=SSE_TYPE)
    assert (await ask(streamed, path=MESSAGES, to=CLAUDE, stream=True)).body == CLAUDE_STREAM
    named = await ask(
        Reply([CLAUDE_STREAM], headers=SSE_TYPE), "reasoning_format=raw", path=MESSAGES, to=CLAUDE, stream=True
    )
    assert named.body == CLAUDE_STREAM, "other formats than chat have one place for reasoning"
    off = await ask(Reply([orjson.dumps(CLAUDE_ANSWER)]), "thinking=0", path=MESSAGES, to=CLAUDE)
    assert off.json() == CLAUDE_ANSWER
    off = await ask(Reply([CLAUDE_STREAM], headers=SSE_TYPE), "thinking=0", path=MESSAGES, to=CLAUDE, stream=True)
    assert off.body == CLAUDE_STREAM


async def test_hidden_from_claudes_own_clients() -> None:
    exchanged = await ask(Reply([orjson.dumps(CLAUDE_ANSWER)]), "reasoning_format=hidden", path=MESSAGES, to=CLAUDE)
    assert exchanged.json()["content"][0] == {"type": "thinking", "thinking": "", "signature": "EqQB"}
    streamed = await ask(
        Reply([CLAUDE_STREAM], headers=SSE_TYPE), "reasoning_format=hidden", path=MESSAGES, to=CLAUDE, stream=True
    )
    assert b"Hm." not in streamed.body
    assert streamed.body.index(b"EqQB") < streamed.body.index(b"content_block_stop"), "CV-34"
    assert b'"text":"2."' in streamed.body


async def test_cv_36_tags_of_a_chat_upstream_are_thinking_to_a_messages_client() -> None:
    exchanged = await ask(answered({"content": TAGGED}), path=MESSAGES)
    assert [(block["type"], block.get("thinking", block.get("text"))) for block in exchanged.json()["content"]] == [
        ("thinking", "Hm."),
        ("text", "2."),
    ]
    parts = [chunk({"content": letter}) for letter in TAGGED]
    streamed = await ask(streaming(*parts), path=MESSAGES, stream=True)
    assert b"thinking_delta" in streamed.body
    assert b"think>" not in streamed.body


# Message by message.


def scope_of(wish: ReasoningWish | None, *, format: str = "openai_chat", offer: bool = True, **changes: Any) -> Scope:
    made = Call("chat", format, "m", True, {}, None, wish=wish, **changes)
    scope = CALL.put(http_scope("POST", PATH), made)
    return Offer(format).put(scope) if offer else scope


async def passed_on(scope: Scope, *messages: Message) -> tuple[list[Message], Offer | None]:
    seen: list[Offer | None] = []
    sent: list[Message] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(Offer.find(scope))
        for message in messages:
            await send(message)

    async def send(message: Message) -> None:
        sent.append(message)

    await ReasoningMiddleware(inner)(scope, Client().receive, send)
    return sent, seen[0]


async def test_without_a_wish_nothing_is_done() -> None:
    message = {"type": EVENTS, "frames": [Frame((), chunk({"reasoning": "Hm."}), "openai_chat")], "more_body": True}
    sent, offer = await passed_on(scope_of(None), message)
    assert sent[0] is message
    assert offer == Offer("openai_chat")
    sent, _ = await passed_on(scope_of(ReasoningWish(format="raw"), offer=False), message)
    assert sent[0] is message, "where nobody takes events there are none"


@pytest.mark.parametrize(
    ("format", "shown", "full"),
    [
        ("openai_chat", "hidden", False),
        ("openai_chat", "raw", False),
        ("anthropic_messages", "hidden", True),
        ("anthropic_messages", "raw", False),
    ],
)
async def test_events_are_asked_for_only_where_bytes_will_not_do(format: str, shown: Any, full: bool) -> None:
    _, offer = await passed_on(scope_of(ReasoningWish(format=shown), format=format))
    assert offer == Offer(format, full)


async def test_cv_31_held_text_comes_before_a_failure() -> None:
    failed = Frame((Failed(UpstreamError("broken")),))
    held = Frame((), chunk({"content": "<thi"}), "openai_chat")
    sent, _ = await passed_on(
        scope_of(ReasoningWish(True)),
        {"type": EVENTS, "frames": [held], "more_body": True},
        {"type": EVENTS, "frames": [failed], "more_body": False},
    )
    assert [frame.raw for frame in sent[0]["frames"]] == [b""]
    assert [frame.raw for frame in sent[1]["frames"]] == [chunk({"content": "<thi"}), None]
    assert sent[1]["frames"][1].events == [*failed.events]


async def test_significant_events_stay_beside_rewritten_bytes() -> None:
    frame = Frame((Ended(),), chunk({"reasoning": "Hm."}) + b"data: [DONE]\n\n", "openai_chat")
    sent, _ = await passed_on(
        scope_of(ReasoningWish(format="thinking")), {"type": EVENTS, "frames": [frame], "more_body": False}
    )
    (shown,) = sent[0]["frames"]
    assert shown.events == (Ended(),)
    assert shown.raw == chunk({"thinking": "Hm."}) + b"data: [DONE]\n\n"


async def test_events_without_bytes_are_viewed() -> None:
    events: list[Event] = [BlockStarted(0, 0, "text"), TextDelta(0, 0, "<think>Hm."), TextDelta(0, 0, "</think>2.")]
    sent, _ = await passed_on(
        scope_of(ReasoningWish(format="hidden")), {"type": EVENTS, "frames": [Frame(events)], "more_body": True}
    )
    (shown,) = sent[0]["frames"]
    assert [event.text for event in shown.events if isinstance(event, TextDelta)] == ["2."]


async def test_an_answer_that_does_not_change_is_the_same() -> None:
    document = {"choices": [{"index": 0, "message": {"content": "2."}, "finish_reason": "stop"}]}
    answer = Answer("openai_chat", orjson.dumps(document), document)
    sent, _ = await passed_on(scope_of(ReasoningWish(format="raw")), {"type": ANSWER, "answer": answer})
    assert sent[0]["answer"] is answer


# Alone.


class ChatApp:
    """A foreign app that speaks Chat Completions in bytes."""

    def __init__(
        self, *bodies: bytes, kind: bytes = b"application/json", status: int = 200, headers: Sequence[Any] = ()
    ) -> None:
        self._bodies = bodies
        self._start = {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(b"".join(bodies))), *headers],
        }
        self.scope: Scope = {}
        self.received = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        more = True
        while more:
            message = await receive()
            self.received += message.get("body", b"")
            more = message.get("more_body", False)
        await send(self._start)
        for place, data in enumerate(self._bodies):
            await send({"type": "http.response.body", "body": data, "more_body": place < len(self._bodies) - 1})


def document(message: dict[str, Any]) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "extra": 1})


async def alone(app: ChatApp, query: str = "", *, headers: dict[str, str] | None = None, **options: Any) -> Exchanged:
    data = options.pop("body", None)
    root_path = options.pop("root_path", "")
    path = options.pop("path", PATH)
    return await call(
        ReasoningMiddleware(app, **options), "POST", path, body=orjson.dumps(body()) if data is None else data,
        headers=headers, query=query.encode(), root_path=root_path,
    )  # fmt: skip


async def test_alone_without_a_wish_it_is_not_there() -> None:
    app = ChatApp(document({"content": TAGGED}))
    exchanged = await alone(app, "other=1", headers={"accept-encoding": "gzip"})
    assert exchanged.body == document({"content": TAGGED})
    assert app.received == orjson.dumps(body())
    assert (b"accept-encoding", b"gzip") in app.scope["headers"]


@pytest.mark.parametrize("root_path", ["", "/llm"])
async def test_alone_answers_are_rewritten(root_path: str) -> None:
    app = ChatApp(*(bytes([byte]) for byte in document({"content": TAGGED})))
    sent = b'{"not": "looked at"'
    exchanged = await alone(app, "reasoning_format=thinking", body=sent, root_path=root_path)
    assert exchanged.json() == orjson.loads(document({"content": "2.", "thinking": "Hm."}))
    assert exchanged.headers["content-length"] == str(len(exchanged.body))
    assert app.received == sent, "a body that need not be edited is not read"


async def test_alone_by_header() -> None:
    exchanged = await alone(ChatApp(document({"content": TAGGED})), headers={"x-oneapi-reasoning-format": "hidden"})
    assert exchanged.json() == orjson.loads(document({"content": "2."}))


async def test_alone_with_the_hosts_own_choice_of_a_field() -> None:
    app = ChatApp(document({"content": "2.", "reasoning": "Hm."}))
    assert (await alone(app, fallback="thinking")).json() == orjson.loads(
        document({"content": "2.", "thinking": "Hm."})
    )


async def test_alone_the_model_is_asked_in_its_hosts_words() -> None:
    for query, provider, model, expected in (
        ("thinking=0", "openai-compatible", "qwen3-8b", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("thinking=0", "deepseek", "deepseek-v4-pro", {"thinking": {"type": "disabled"}}),
        ("reasoning_effort=high", "openai", "gpt-5.4", {"reasoning_effort": "high"}),
    ):
        app = ChatApp(document({"content": "2."}))
        data = gzip.compress(orjson.dumps(body(model=model)))
        headers = {"content-encoding": "gzip", "content-length": str(len(data)), "accept-encoding": "br"}
        await alone(app, query, provider=provider, body=data, headers=headers)
        assert orjson.loads(app.received) == body(model=model) | expected
        assert dict(app.scope["headers"]) == {b"content-length": b"%d" % len(app.received)}


@pytest.mark.parametrize("data", [b"not json", b"[1]", b""])
async def test_alone_a_body_that_is_none_is_the_apps_to_judge(data: bytes) -> None:
    app = ChatApp(b"{}", status=400)
    exchanged = await alone(app, "thinking=1", body=data)
    assert app.received == data
    assert (exchanged.status, exchanged.body) == (400, b"{}")


async def test_alone_events_are_rewritten_however_they_are_cut() -> None:
    stream = chunk({"content": "<think>Hm.</think>"}).replace(b"\n", b"\r\n") + chunk({"content": "2."}) + END
    for size in (1, 7, 10_000):
        pieces = [stream[place : place + size] for place in range(0, len(stream), size)]
        exchanged = await alone(ChatApp(*pieces, kind=b"text/event-stream; charset=utf-8"), "thinking=1")
        assert deltas(exchanged) == [{"reasoning_content": "Hm."}, {"content": "2."}]
        assert exchanged.body.endswith(END)
        assert "content-length" not in exchanged.headers
        assert exchanged.ended


async def test_alone_a_stream_that_is_cut_off() -> None:
    exchanged = await alone(ChatApp(chunk({"content": "<thi"})[:-2], kind=b"text/event-stream"), "thinking=1")
    assert deltas(exchanged) == [{"content": "<thi"}]
    assert exchanged.ended


async def test_alone_several_candidates() -> None:
    stream = chunk({"content": "a"}) + chunk({"content": "<think>Hm."}, index=1) + END
    exchanged = await alone(ChatApp(stream, kind=b"text/event-stream"), "reasoning_format=reasoning")
    assert deltas(exchanged) == [{"content": "a"}, {"reasoning": "Hm."}]
    exchanged = await alone(ChatApp(stream, kind=b"text/event-stream"), "thinking=1", body=orjson.dumps(body(n=2)))
    assert deltas(exchanged) == [{"content": "a"}, {"reasoning_content": "Hm."}]


@pytest.mark.parametrize(
    "options",
    [
        {"status": 500},
        {"kind": b"text/plain"},
        {"headers": [(b"content-encoding", b"gzip")]},
    ],
)
async def test_alone_everything_else_passes(options: dict[str, Any]) -> None:
    data = document({"content": TAGGED})
    exchanged = await alone(ChatApp(data[:5], data[5:], **options), "thinking=1")
    assert exchanged.body == data
    assert exchanged.headers["content-length"] == str(len(data))
    odd = b'{"choices": 5}'
    assert (await alone(ChatApp(odd), "thinking=1")).body == odd
    assert (await alone(ChatApp(b"not json"), "thinking=1")).body == b"not json"


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", "/v1/embeddings")])
async def test_alone_other_requests_pass(method: str, path: str) -> None:
    app = ChatApp(document({"content": TAGGED}))
    exchanged = await call(ReasoningMiddleware(app), method, path, body=b"x", query=b"thinking=maybe")
    assert exchanged.body == document({"content": TAGGED})


async def test_alone_at_a_path_of_ones_own() -> None:
    app = ChatApp(document({"content": TAGGED}))
    exchanged = await alone(app, "thinking=1", path="/chat", paths=["/chat"])
    assert exchanged.json() == orjson.loads(document({"content": "2.", "reasoning_content": "Hm."}))


async def test_cv_47_alone_a_wish_that_is_none() -> None:
    app = ChatApp(b"{}")
    with pytest.raises(InvalidRequest, match="reasoning_format must be one of"):
        await alone(app, "reasoning_format=xml")
    assert app.scope == {}


async def test_websockets_pass() -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    await ReasoningMiddleware(inner)({"type": "websocket", "path": PATH}, Client().receive, Client().send)
    assert seen == [{"type": "websocket", "path": PATH}]


async def test_a_client_that_leaves_is_heard_by_the_app() -> None:
    heard: list[Message] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([await receive(), await receive()])

    client = Client(orjson.dumps(body()))
    client.leave()
    scope = http_scope("POST", PATH, query=b"thinking=1")
    await ReasoningMiddleware(inner)(scope, client.receive, client.send)
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


async def test_a_client_that_leaves_in_its_body_is_not_answered() -> None:
    app = ChatApp(b"{}")

    async def leave() -> Message:
        return {"type": "http.disconnect"}

    client = Client()
    await ReasoningMiddleware(app)(http_scope("POST", PATH, query=b"thinking=1"), leave, client.send)
    assert (client.exchanged.sent, app.scope) == ([], {})


async def test_a_large_answer_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 20)
    data = document({"content": TAGGED})
    for cut in (10, 30, len(data)):
        exchanged = await alone(ChatApp(data[:cut], data[cut:]), "thinking=1")
        assert exchanged.body == data
        assert exchanged.ended
    assert (await alone(ChatApp(data), "thinking=1")).body == data


async def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SseCutter", partial(SseCutter, max_event_bytes=10))
    with pytest.raises(UpstreamInvalidResponse, match="too large"):
        await alone(ChatApp(b"data: " + b"x" * 100, kind=b"text/event-stream"), "thinking=1")


async def test_messages_of_other_kinds_pass_behind_the_start() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.pathsend", "path": "/x"})

    client = Client()
    await ReasoningMiddleware(inner)(
        http_scope("POST", PATH, query=b"reasoning_format=raw"), client.receive, client.send
    )
    assert [item.message["type"] for item in client.exchanged.sent] == [
        "http.response.start",
        "http.response.pathsend",
    ]


async def test_trailers_pass() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.trailers", "headers": []})

    client = Client()
    await ReasoningMiddleware(inner)(
        http_scope("POST", PATH, query=b"reasoning_format=raw"), client.receive, client.send
    )
    assert client.exchanged.sent[-1].message["type"] == "http.response.trailers"


async def test_a_channel_that_takes_no_part() -> None:
    known = channel(1, type=50, config={"think_tags": "always"})
    plain = channel(2, type=50)
    upstream = ScriptedUpstream(
        Reply([b'{"error": {"message": "busy"}}'], status=503), streaming(chunk({"content": TAGGED}))
    )
    exchanged = await call(
        gateway(upstream, known, plain, retries=1), "POST", PATH, json=body(stream=True), headers=HEADERS
    )
    assert deltas(exchanged) == [{"content": TAGGED}], "who serves decides"


async def test_bodies_are_read_within_limits() -> None:
    with pytest.raises(InvalidRequest, match="larger than"):
        await alone(ChatApp(b"{}"), "thinking=1", limits=BodyLimits(max_bytes=10))


async def test_events_leave_as_soon_as_they_come() -> None:
    gate, first = asyncio.Event(), asyncio.Event()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": chunk({"reasoning": "Hm."}), "more_body": True})
        first.set()
        await gate.wait()
        await send({"type": "http.response.body", "body": END})

    client = Client()
    scope = http_scope("POST", PATH, query=b"reasoning_format=thinking")
    task = asyncio.ensure_future(ReasoningMiddleware(inner)(scope, client.receive, client.send))
    await first.wait()
    assert client.exchanged.body == chunk({"thinking": "Hm."})
    gate.set()
    await task
