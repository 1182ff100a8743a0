"""The relay in its stack, against an upstream that does what it is told."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.exchange import EXCHANGE, Exchange
from oneapi_mw.relay import streaming as streaming_module
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.upstream import (
    BodyCut,
    ClosedBeforeResponse,
    ConnectFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidResponse,
    Timeouts,
    TotalTimeout,
)
from oneapi_mw.scope import MissingStage
from tests.relay.stack import (
    COST,
    DONE,
    FIRST,
    HEADERS,
    JSON_TYPE,
    MODEL,
    PATH,
    SSE_TYPE,
    USAGE,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    ask,
    begin,
    body,
    buffered,
    channel,
    chunk,
    event,
    gateway,
    stream,
    streamed,
    usage_chunk,
)
from tests.support.harness import Exchanged, call, http_scope


def events(exchanged: Exchanged) -> list[Any]:
    """The data of a stream's events, parsed where it is JSON."""
    found = [block.removeprefix(b"data: ") for block in exchanged.body.split(b"\n\n") if block]
    return [data.decode() if data == b"[DONE]" else orjson.loads(data) for data in found]


def text(exchanged: Exchanged) -> str:
    deltas = [e["choices"][0]["delta"] for e in events(exchanged) if isinstance(e, dict) and e.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


# Answers.


async def test_a_buffered_answer_arrives_as_it_was_sent_and_is_charged() -> None:
    upstream, ledger = ScriptedUpstream(buffered()), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger))
    assert exchanged.status == 200
    assert exchanged.body == answer()
    assert exchanged.headers["content-type"] == "application/json"
    assert exchanged.headers["content-length"] == str(len(answer()))
    assert await ledger.check() == COST
    assert upstream.all_closed


async def test_what_goes_upstream() -> None:
    upstream = ScriptedUpstream(buffered())
    await ask(gateway(upstream, WatchedLedger()), seed=7)
    (request,) = upstream.requests
    assert request.url == "http://upstream-1.test/v1/chat/completions"
    assert request.body == body(seed=7)
    assert request.headers == [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("authorization", "Bearer sk-secret-1"),
    ]


async def test_custom_headers_replace_ours() -> None:
    custom = {"Authorization": "Token {{key}}", "X-Team": "blue", "accept": "*/*"}
    upstream = ScriptedUpstream(buffered())
    await ask(gateway(upstream, WatchedLedger(), channels=[channel(config={"custom_headers": custom})]))
    assert sorted(upstream.requests[0].headers) == [
        ("accept", "*/*"),
        ("authorization", "Token sk-secret-1"),
        ("content-type", "application/json"),
        ("x-team", "blue"),
    ]


async def test_credentials_and_hops_stay_where_they_belong() -> None:
    hostile = [
        *JSON_TYPE,
        (b"set-cookie", b"session=1"),
        (b"connection", b"close, openai-version"),
        (b"openai-version", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"www-authenticate", b"Bearer"),
        (b"x-request-id", b"req_1"),
        (b"x-oneapi-request-id", b"forged"),
    ]
    upstream = ScriptedUpstream(buffered(headers=hostile))
    app = gateway(upstream, WatchedLedger())
    private = {"cookie": "a=b", "x-api-key": "sk-abc", "proxy-authorization": "x", "x-forwarded-for": "1.2.3.4"}
    exchanged = await call(app, "POST", PATH, json=body(), headers={**HEADERS, **private})
    assert set(exchanged.headers) == {
        "content-type",
        "content-length",
        "x-upstream-request-id",
        "x-oneapi-request-id",
        "server-timing",
    }
    assert exchanged.headers["x-oneapi-request-id"] != "forged"
    assert {name for name, _ in upstream.requests[0].headers} == {"content-type", "accept", "authorization"}


async def test_a_stream_arrives_untouched_and_its_last_byte_after_the_charge() -> None:
    gate = Gate()
    sent = stream("Hel", "lo!")
    upstream, ledger = ScriptedUpstream(streamed(*sent)), WatchedLedger()
    ledger.settling = gate
    asking = begin(gateway(upstream, ledger), stream=True, stream_options={"include_usage": True})
    await gate.reached.wait()
    assert asking.exchanged.body == b"".join(sent[:-1])
    assert not asking.exchanged.ended
    gate.open()
    exchanged = await asking.end()
    assert exchanged.ended
    assert exchanged.body == b"".join(sent)
    assert exchanged.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert exchanged.headers["cache-control"] == "no-cache"
    assert exchanged.headers["x-accel-buffering"] == "no"
    assert await ledger.check() == COST
    assert upstream.responses[0].ended


async def test_a_buffered_answer_waits_for_its_charge() -> None:
    gate = Gate()
    ledger = WatchedLedger()
    ledger.settling = gate
    asking = begin(gateway(ScriptedUpstream(buffered()), ledger))
    await gate.reached.wait()
    assert not asking.exchanged.started
    gate.open()
    assert (await asking.end()).body == answer()


async def test_each_chunk_leaves_when_it_comes() -> None:
    gate = Gate()
    sent = stream("Hel", "lo!")
    asking = begin(gateway(ScriptedUpstream(streamed(*sent[:2], gate, *sent[2:])), WatchedLedger()), stream=True)
    await gate.reached.wait()
    await asking.client.until(lambda exchanged: b"Hel" in exchanged.body)
    assert not asking.exchanged.ended
    gate.open()
    assert text(await asking.end()) == "Hello!"


async def test_a_client_that_does_not_read_holds_the_upstream_back() -> None:
    upstream = ScriptedUpstream(streamed())
    asking = begin(gateway(upstream, WatchedLedger()), pause_after=2, stream=True)
    await asking.client.paused.wait()
    assert not upstream.responses[0].ended
    assert text(asking.exchanged) == "Hel"
    asking.client.resumed.set()
    assert text(await asking.end()) == "Hello!"


async def test_usage_nobody_asked_for_is_asked_for_and_not_shown() -> None:
    upstream, ledger = ScriptedUpstream(streamed()), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), stream=True)
    assert upstream.requests[0].body["stream_options"] == {"include_usage": True}
    assert all(e == "[DONE]" or not e.get("usage") for e in events(exchanged))
    assert events(exchanged)[-1] == "[DONE]"
    assert await ledger.check() == COST


async def test_usage_is_left_alone_when_it_is_not_enforced() -> None:
    limits = RelayLimits(Timeouts(), enforce_usage=False)
    upstream, ledger = ScriptedUpstream(streamed(*stream("Hello!", usage=None))), WatchedLedger()
    await ask(gateway(upstream, ledger, limits=limits), stream=True)
    assert "stream_options" not in upstream.requests[0].body
    charged = await ledger.check()
    assert ledger.log[0].facts.metadata is not None
    assert ledger.log[0].facts.metadata["usage_source"] == "counted"
    assert charged == ledger.log[0].facts.prompt_tokens + 4 * 2  # six bytes are two tokens


CALL_DELTA = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"q":1}'}}


async def test_tool_calls_pass_in_a_stream() -> None:
    sent = [FIRST, chunk({"tool_calls": [CALL_DELTA]}), chunk({}, "tool_calls"), usage_chunk(), DONE]
    exchanged = await ask(
        gateway(ScriptedUpstream(streamed(*sent)), WatchedLedger()), stream=True, stream_options={"include_usage": True}
    )
    assert exchanged.body == b"".join(sent)


async def test_an_answer_to_a_client_that_asked_for_a_stream_is_unfolded() -> None:
    tool = {k: v for k, v in CALL_DELTA.items() if k != "index"}
    ledger = WatchedLedger()
    upstream = ScriptedUpstream(buffered(answer("Hello!", tool_calls=[tool])))
    exchanged = await ask(gateway(upstream, ledger), stream=True)
    assert exchanged.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert text(exchanged) == "Hello!"
    deltas = [choice["delta"] for e in events(exchanged)[:-1] for choice in e["choices"]]
    calls = [called["function"] for delta in deltas for called in delta.get("tool_calls", ())]
    assert "".join(function.get("arguments", "") for function in calls) == '{"q":1}'
    assert events(exchanged)[-1] == "[DONE]"
    assert await ledger.check() == COST


async def test_a_stream_to_a_client_that_did_not_ask_for_one_is_folded() -> None:
    ledger = WatchedLedger()
    exchanged = await ask(gateway(ScriptedUpstream(streamed()), ledger))
    assert exchanged.headers["content-type"] == "application/json"
    assert exchanged.json()["choices"][0]["message"]["content"] == "Hello!"
    assert exchanged.json()["usage"]["completion_tokens"] == USAGE["completion_tokens"]
    assert await ledger.check() == COST


@pytest.mark.parametrize("as_stream", [False, True])
async def test_the_client_sees_the_model_it_asked_for(as_stream: bool) -> None:
    named = "vendor/small-2"
    mapped = channel(model_mapping={MODEL: named}, model_configs={named: {"input_usd_per_mtok": 2}})
    events_sent = [FIRST, chunk({"content": "Hi"}, model=named), chunk({}, "stop", model=named), DONE]
    reply = streamed(*events_sent) if as_stream else buffered(answer(model=named))
    upstream, ledger = ScriptedUpstream(reply), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, channels=[mapped]), stream=as_stream)
    assert upstream.requests[0].body["model"] == named
    shown = [e["model"] for e in events(exchanged)[:-1]] if as_stream else [exchanged.json()["model"]]
    assert set(shown) == {MODEL}
    assert ledger.log[0].facts.model_name == named
    assert ledger.log[0].facts.origin_model_name == MODEL


async def test_json_that_calls_itself_text_is_json() -> None:
    exchanged = await ask(
        gateway(ScriptedUpstream(buffered(headers=[(b"content-type", b"text/plain")])), WatchedLedger())
    )
    assert exchanged.headers["content-type"] == "application/json"


async def test_an_upstream_that_never_says_it_dispatched_is_paid_all_the_same() -> None:
    ledger = WatchedLedger()
    await ask(gateway(ScriptedUpstream(buffered(), tells=False), ledger))
    assert await ledger.check() == COST


@pytest.mark.parametrize("as_stream", [False, True])
async def test_a_reported_zero_is_not_believed_when_there_is_output(as_stream: bool) -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    reply = streamed(*stream("x" * 350, usage=zero)) if as_stream else buffered(answer("x" * 350, usage=zero))
    ledger = WatchedLedger()
    await ask(gateway(ScriptedUpstream(reply), ledger), stream=as_stream)
    facts = ledger.log[0].facts
    assert facts.completion_tokens == 100
    assert facts.prompt_tokens > 0
    assert await ledger.check() == facts.prompt_tokens + 400


# Errors before the first byte.

REFUSALS = [
    (400, {"error": {"message": "bad seed", "param": "seed", "code": "bad_seed"}}, 400, "bad_seed"),
    (404, {"error": {"message": "no model"}}, 404, None),
    (401, {"error": {"message": "Incorrect API key sk-secret-1"}}, 502, "upstream_auth_failed"),
    (402, {"error": {"message": "pay"}}, 502, "upstream_auth_failed"),
    (403, {"error": {"message": "no"}}, 502, "upstream_auth_failed"),
    (429, {"error": {"message": "slow down"}}, 429, "rate_limit_exceeded"),
    (500, {"error": {"message": "oops"}}, 500, None),
    (503, {}, 503, "bad_response_status_code"),
    (302, {}, 502, "upstream_invalid_response"),
    (204, {}, 502, "upstream_invalid_response"),
]


@pytest.mark.parametrize(("status", "document", "seen", "code"), REFUSALS)
async def test_what_the_upstream_refuses_costs_nothing(status: int, document: Any, seen: int, code: str | None) -> None:
    upstream, ledger = ScriptedUpstream(buffered(orjson.dumps(document), status=status)), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger))
    assert exchanged.status == seen
    error = exchanged.json()["error"]
    assert code is None or error["code"] == code
    assert "sk-secret" not in error["message"]
    assert exchanged.headers["x-should-retry"] == "false"
    assert exchanged.headers["x-oneapi-request-id"] in error["message"]
    assert await ledger.check() == 0
    assert ledger.hold.state == "void"
    assert upstream.all_closed


async def test_retry_after_is_passed_on_within_reason() -> None:
    reply = buffered(b"{}", status=429, headers=[*JSON_TYPE, (b"retry-after", b"900")])
    exchanged = await ask(gateway(ScriptedUpstream(reply), WatchedLedger()))
    assert exchanged.headers["retry-after"] == "60"


PROMPT = 10  # estimated tokens of the prompt, see `test_the_prompt_is_as_long_as_these_tests_think`


async def test_the_prompt_is_as_long_as_these_tests_think() -> None:
    ledger = WatchedLedger()
    await ask(gateway(ScriptedUpstream(buffered()), ledger))
    assert ledger.hold.request.fallback == PROMPT


@pytest.mark.parametrize(
    ("reply", "status", "code", "charged"),
    [
        (Reply(connecting=ConnectFailed()), 500, "do_request_failed", 0),
        (Reply(connecting=ConnectTimeout()), 504, "upstream_timeout", 0),
        (Reply(connecting=TotalTimeout(dispatched=False)), 504, "upstream_timeout", 0),
        (Reply(connecting=ValueError("the value of header 'x' must be printable ASCII")), 502, "upstream_error", 0),
        (Reply(waiting=FirstByteTimeout()), 504, "upstream_timeout", PROMPT),
        (Reply(waiting=ClosedBeforeResponse()), 502, "upstream_error", PROMPT),
        (Reply(waiting=InvalidResponse()), 502, "upstream_invalid_response", PROMPT),
        (buffered(b'{"id"', BodyCut()), 502, "upstream_error", PROMPT),
        (buffered(b'{"id"', IdleTimeout()), 504, "upstream_timeout", PROMPT),
        (buffered(b"<html>"), 502, "upstream_invalid_response", 0),
        (buffered(b"[]"), 502, "upstream_invalid_response", 0),
        (buffered(b'{"error": {"message": "overloaded", "code": 503}}'), 503, "upstream_error", 0),
        (streamed(event({"error": {"message": "overloaded", "code": 503}})), 503, "upstream_error", 0),
        (streamed(DONE), 502, "upstream_invalid_response", 0),
        (streamed(IdleTimeout()), 504, "upstream_timeout", PROMPT),
        (streamed(BodyCut()), 502, "upstream_invalid_response", PROMPT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Reply) else str(value),
)
@pytest.mark.parametrize("as_stream", [False, True])
async def test_what_fails_before_output(reply: Reply, status: int, code: str, charged: int, as_stream: bool) -> None:
    upstream = ScriptedUpstream(reply)
    ledger = WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), stream=as_stream)
    assert exchanged.status == status
    assert exchanged.json()["error"]["code"] == code
    assert exchanged.headers["x-should-retry"] == "false"
    assert await ledger.check() == charged
    assert upstream.all_closed


async def test_a_misconfigured_channel_is_told_to_the_operator_only(caplog: pytest.LogCaptureFixture) -> None:
    upstream = ScriptedUpstream(Reply(connecting=ValueError("header 'x-odd' cannot be sent")), buffered())
    exchanged = await ask(gateway(upstream, WatchedLedger(), retries=1))
    assert exchanged.status == 200
    assert "c-1" in caplog.text
    assert "x-odd" in caplog.text


@pytest.mark.parametrize("as_stream", [False, True])
async def test_an_endless_answer_is_cut(as_stream: bool) -> None:
    limits = RelayLimits(Timeouts(), max_answer_bytes=1000)
    upstream = ScriptedUpstream(streamed(FIRST, *[chunk({"content": "x" * 100})] * 50, *stream()[-3:]))
    ledger = WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, limits=limits), stream=as_stream)
    if as_stream:
        assert events(exchanged)[-1]["error"]["code"] == "upstream_invalid_response"
    else:
        assert exchanged.status == 502
    assert len(exchanged.body) < 1500
    assert upstream.all_closed
    assert await ledger.check() > 0


# Errors after the first byte.


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ([IdleTimeout()], "upstream_timeout"),
        ([TotalTimeout()], "upstream_timeout"),
        ([BodyCut()], "upstream_stream_truncated"),
        ([], "upstream_stream_truncated"),
        ([event({"error": {"message": "overloaded"}})], "upstream_error"),
    ],
)
async def test_a_stream_that_breaks_ends_in_an_error_and_what_was_relayed_is_charged(end: list[Any], code: str) -> None:
    upstream = ScriptedUpstream(streamed(FIRST, chunk({"content": "x" * 350}), *end), streamed())
    ledger = WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, retries=1), stream=True)
    assert exchanged.status == 200
    assert exchanged.ended
    assert events(exchanged)[-1]["error"]["code"] == code
    assert exchanged.headers["x-oneapi-request-id"] in events(exchanged)[-1]["error"]["message"]
    assert b"[DONE]" not in exchanged.body
    assert len(upstream.requests) == 1, "no retry after the first byte"
    assert await ledger.check() == PROMPT + 100 * 4
    facts = ledger.log[0].facts
    assert facts.metadata is not None
    assert facts.metadata["outcome"] == "failed"
    assert upstream.all_closed


async def test_a_cut_after_the_answer_has_said_it_is_finished_is_a_success() -> None:
    sent = stream("Hello!")[:-1]
    ledger = WatchedLedger()
    exchanged = await ask(gateway(ScriptedUpstream(streamed(*sent)), ledger), stream=True)
    assert events(exchanged)[-1] == "[DONE]"
    assert await ledger.check() == COST


@pytest.mark.parametrize("after", [b": bye\n\n", BodyCut(), IdleTimeout(), event({"error": {"message": "late"}})])
async def test_what_comes_after_the_end_changes_nothing(after: Any) -> None:
    sent = stream("Hello!")
    upstream, ledger = ScriptedUpstream(streamed(*sent, after)), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), stream=True)
    assert events(exchanged)[-1] == "[DONE]"
    assert await ledger.check() == COST
    assert upstream.all_closed


async def test_an_upstream_that_never_ends_its_message_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_module, "DRAIN_SECONDS", 0.001)
    upstream, ledger = ScriptedUpstream(streamed(*stream("Hello!"), Gate())), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger), stream=True)
    assert exchanged.ended
    assert upstream.all_closed
    assert await ledger.check() == COST


# Retry.


@pytest.mark.parametrize(
    "failing",
    [
        lambda: Reply(connecting=ConnectFailed()),
        lambda: Reply(waiting=FirstByteTimeout()),
        lambda: buffered(b"{}", status=500),
        lambda: buffered(b"{}", status=429),
        lambda: buffered(b"{}", status=401),
        lambda: buffered(b"<html>"),
        lambda: streamed(event({"error": {"message": "overloaded"}})),
    ],
)
@pytest.mark.parametrize("as_stream", [False, True])
async def test_the_next_channel_is_tried_under_the_same_hold(failing: Any, as_stream: bool) -> None:
    upstream = ScriptedUpstream(failing(), failing(), streamed() if as_stream else buffered())
    ledger = WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, retries=2), stream=as_stream)
    assert exchanged.status == 200
    assert [request.url[:22] for request in upstream.requests] == [f"http://upstream-{n}.test"[:22] for n in (1, 2, 3)]
    assert await ledger.check() == COST
    assert ledger.log[0].facts.channel_id == 3
    assert upstream.all_closed


async def test_the_channel_that_served_decides_the_price() -> None:
    dear = channel(1, model_configs={MODEL: {"input_usd_per_mtok": 200}})
    upstream, ledger = ScriptedUpstream(buffered(b"{}", status=500), buffered()), WatchedLedger()
    await ask(gateway(upstream, ledger, channels=[dear, channel(2)], retries=1))
    assert ledger.hold.request.amount >= 100 * (PROMPT + 50)
    assert await ledger.check() == COST


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_fault_of_the_request_is_not_tried_elsewhere(status: int) -> None:
    upstream = ScriptedUpstream(buffered(b'{"error": {"message": "no"}}', status=status), buffered())
    exchanged = await ask(gateway(upstream, WatchedLedger(), retries=1))
    assert exchanged.status == status
    assert len(upstream.requests) == 1


async def test_retries_end_with_the_candidates_and_show_the_last_error() -> None:
    replies = [buffered(b"{}", status=status) for status in (500, 503, 504)]
    upstream, ledger = ScriptedUpstream(*replies), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, retries=9))
    assert exchanged.status == 504
    assert len(upstream.requests) == 3
    assert await ledger.check() == 0


async def test_only_the_last_attempt_counts() -> None:
    """What an abandoned attempt has cost is the operator's loss."""
    half = streamed(FIRST, chunk({"content": "x" * 350}), BodyCut())
    upstream, ledger = ScriptedUpstream(half, Reply(connecting=ConnectFailed())), WatchedLedger()
    exchanged = await ask(gateway(upstream, ledger, retries=1))
    assert exchanged.status == 500
    assert await ledger.check() == 0


async def test_usage_of_an_abandoned_attempt_is_forgotten() -> None:
    usage = {"prompt_tokens": 500, "completion_tokens": 500, "total_tokens": 1000}
    lost = streamed(FIRST, usage_chunk(usage), BodyCut())
    upstream, ledger = ScriptedUpstream(lost, Reply(waiting=FirstByteTimeout())), WatchedLedger()
    await ask(gateway(upstream, ledger, retries=1))
    assert await ledger.check() == PROMPT


async def test_all_attempts_share_one_deadline() -> None:
    gate = Gate()
    asyncio.get_running_loop().call_later(0.005, gate.open)  # the loop's clock has milliseconds
    upstream = ScriptedUpstream(buffered(b"{}", status=500, waiting=gate), buffered())
    await ask(gateway(upstream, WatchedLedger(), limits=RelayLimits(Timeouts(total=100), retries=1)))
    first, second = (request.timeouts.total for request in upstream.requests)
    assert first == 100
    assert 0 < second < 100


# Money.


async def test_a_charge_that_cannot_be_confirmed_holds_the_end_back_and_is_kept() -> None:
    ledger = WatchedLedger()
    ledger.away = StoreUnavailable("away", retry_after=1)
    exchanged = await ask(gateway(ScriptedUpstream(streamed()), ledger), stream=True)
    assert b"[DONE]" not in exchanged.body
    assert exchanged.ended
    assert events(exchanged)[-1]["error"]["code"] == "store_unavailable"
    assert await ledger.check() == COST


async def test_nobody_is_told_to_repeat_an_answer_that_is_charged() -> None:
    ledger = WatchedLedger()
    ledger.away = StoreUnavailable("away", retry_after=1)
    exchanged = await ask(gateway(ScriptedUpstream(buffered()), ledger))
    assert exchanged.status == 503
    assert exchanged.headers["x-should-retry"] == "false"
    assert "charged once" in exchanged.json()["error"]["message"]
    assert await ledger.check() == COST


async def test_a_ledger_that_is_late_does_not_hide_the_error(caplog: pytest.LogCaptureFixture) -> None:
    ledger = WatchedLedger()
    ledger.away = StoreUnavailable("away", retry_after=1)
    exchanged = await ask(gateway(ScriptedUpstream(buffered(b"{}", status=500)), ledger))
    assert exchanged.status == 500
    assert await ledger.check() == 0
    assert "voided as soon as" in caplog.text


async def test_a_ledger_that_is_late_does_not_hide_a_time_out(caplog: pytest.LogCaptureFixture) -> None:
    ledger = WatchedLedger()
    ledger.away = StoreUnavailable("away", retry_after=1)
    exchanged = await ask(gateway(ScriptedUpstream(Reply(waiting=FirstByteTimeout())), ledger))
    assert exchanged.status == 504
    assert await ledger.check() == PROMPT
    assert "charged as soon as" in caplog.text


async def test_nothing_is_sent_without_a_hold() -> None:
    upstream, ledger = ScriptedUpstream(), WatchedLedger(funds=PROMPT)
    exchanged = await ask(gateway(upstream, ledger))
    assert exchanged.status == 403
    assert exchanged.json()["error"]["code"] == "insufficient_user_quota"
    assert upstream.requests == []
    assert ledger.holds == {}


LONG = 40  # chunks of 10,000 bytes: about 2,857 tokens and 11,429 units each


def long_stream() -> Reply:
    return streamed(FIRST, *[chunk({"content": "x" * 10_000})] * LONG, chunk({}, "stop"), DONE)


async def test_a_long_stream_raises_its_hold() -> None:
    ledger = WatchedLedger(funds=10_000_000)
    exchanged = await ask(gateway(ScriptedUpstream(long_stream()), ledger), stream=True, max_tokens=None)
    assert events(exchanged)[-1] == "[DONE]"
    charged = await ledger.check()
    assert charged > 400_000
    assert ledger.hold.amount >= charged
    assert ledger.hold.mark > 200_000


async def test_a_stream_ends_when_the_balance_does() -> None:
    funds = 120_000
    upstream, ledger = ScriptedUpstream(long_stream()), WatchedLedger(funds=funds)
    exchanged = await ask(gateway(upstream, ledger), stream=True, max_tokens=None)
    assert events(exchanged)[-1]["error"]["code"] == "insufficient_user_quota"
    assert b"[DONE]" not in exchanged.body
    charged = await ledger.check()
    checkpoint = 8 * 11_429  # what one checkpoint interval can bring
    assert funds < charged <= funds + checkpoint
    assert ledger.log[0].facts.metadata is not None
    assert ledger.log[0].facts.metadata["outcome"] == "failed"
    assert upstream.all_closed


async def test_a_stream_ends_when_the_token_may_spend_no_more() -> None:
    ledger = WatchedLedger(funds=10_000_000, token=100_000)
    exchanged = await ask(gateway(ScriptedUpstream(long_stream()), ledger), stream=True, max_tokens=None)
    assert events(exchanged)[-1]["error"]["code"] in ("token_exhausted", "pre_consume_token_quota_failed")


async def test_a_disabled_user_is_cut_off_at_the_next_checkpoint() -> None:
    gate = Gate()
    steps = list(long_stream().body)
    ledger = WatchedLedger(funds=10_000_000)
    asking = begin(
        gateway(ScriptedUpstream(streamed(*steps[:2], gate, *steps[2:])), ledger), stream=True, max_tokens=None
    )
    await gate.reached.wait()
    ledger.set_enabled(user_id=1, enabled=False)
    gate.open()
    exchanged = await asking.end()
    assert events(exchanged)[-1]["error"]["code"] == "invalid_api_key"


async def test_a_running_stream_outlives_the_ledger_as_long_as_its_hold_lasts() -> None:
    ledger = WatchedLedger(funds=10_000_000)
    ledger.extending = StoreUnavailable("away", retry_after=1)
    covered = await ask(gateway(ScriptedUpstream(long_stream()), ledger), stream=True, max_tokens=120_000)
    assert events(covered)[-1] == "[DONE]"
    ledger = WatchedLedger(funds=10_000_000)
    ledger.extending = StoreUnavailable("away", retry_after=1)
    cut = await ask(gateway(ScriptedUpstream(long_stream()), ledger), stream=True, max_tokens=None)
    assert events(cut)[-1]["error"]["code"] == "store_unavailable"
    assert await ledger.check() > 0


async def test_short_streams_ask_the_ledger_for_nothing_more() -> None:
    ledger = WatchedLedger()
    ledger.extending = AssertionError("not for a short stream")
    exchanged = await ask(gateway(ScriptedUpstream(streamed()), ledger), stream=True, max_tokens=1)
    assert events(exchanged)[-1] == "[DONE]"


async def test_usage_beyond_all_bounds_is_charged_at_the_hold(caplog: pytest.LogCaptureFixture) -> None:
    reply = buffered(answer(usage={"prompt_tokens": 10**9, "completion_tokens": 10**9, "total_tokens": 2 * 10**9}))
    upstream, ledger = ScriptedUpstream(reply), WatchedLedger(funds=10**15)
    dear = channel(model_configs={MODEL: {"input_usd_per_mtok": 10_000}})
    exchanged = await ask(gateway(upstream, ledger, channels=[dear], group_ratio=2_000_000 * 10**6))
    assert exchanged.status == 200
    assert await ledger.check() == ledger.hold.amount
    assert "check usage and price" in caplog.text


# Where it stands.


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_other_methods_are_told_which_one_it_is(method: str) -> None:
    upstream = ScriptedUpstream()
    exchanged = await call(gateway(upstream, WatchedLedger()), method, PATH, headers=HEADERS)
    assert exchanged.status == 405
    assert exchanged.headers["allow"] == "POST"
    assert exchanged.json()["error"]["code"] == "method_not_allowed"
    assert upstream.requests == []


async def test_an_unknown_path_is_not_found() -> None:
    exchanged = await call(gateway(ScriptedUpstream(), WatchedLedger()), "POST", "/v1/nothing", headers=HEADERS)
    assert exchanged.status == 404
    assert exchanged.json()["error"]["message"].startswith("Invalid URL (POST /v1/nothing)")


async def test_the_relay_alone_says_which_stage_is_missing() -> None:
    relay = Relay(upstream=ScriptedUpstream(), limits=RelayLimits(Timeouts()))
    scope = EXCHANGE.put(http_scope("POST", PATH), Exchange("r"))
    with pytest.raises(MissingStage):
        await relay(scope, asyncio.Event().wait, None)  # type: ignore[arg-type]


async def test_no_channel_at_all() -> None:
    exchanged = await ask(gateway(ScriptedUpstream(), WatchedLedger(), channels=[]))
    assert exchanged.status == 503
    assert exchanged.json()["error"]["code"] == "no_channel_available"
    assert exchanged.headers["x-should-retry"] == "true"


async def test_a_server_that_fails_to_send_is_a_client_that_left() -> None:
    upstream, ledger = ScriptedUpstream(streamed()), WatchedLedger()
    app = gateway(upstream, ledger)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            raise OSError("the client is gone")

    async def receive() -> Any:
        if sent:
            await asyncio.Event().wait()
        sent.append(None)
        return {"type": "http.request", "body": orjson.dumps(body(stream=True))}

    await app(http_scope("POST", PATH, headers=HEADERS), receive, send)
    assert len(sent) == 3
    assert upstream.all_closed
    assert await ledger.check() == PROMPT
    assert ledger.log[0].facts.metadata is not None
    assert ledger.log[0].facts.metadata["outcome"] == "client_gone"


async def test_sse_type_is_what_makes_a_stream() -> None:
    reply = Reply(stream("Hello!"), headers=[(b"content-type", b"Text/Event-Stream")])
    assert reply.headers != SSE_TYPE
    exchanged = await ask(gateway(ScriptedUpstream(reply), WatchedLedger()), stream=True)
    assert text(exchanged) == "Hello!"
