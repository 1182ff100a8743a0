"""What every stage reads of a request, and the bytes that go on to an upstream of the same format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oneapi_mw.canonical.call import Outside
from oneapi_mw.canonical.frames import Answer
from oneapi_mw.errors import InvalidJson, InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.anthropic_messages import FORMAT
from oneapi_mw.wire.base import Outgoing
from oneapi_mw.wire.target import ConversionOptions, Target

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [HI]}


def decode(body: Any, operation: str = "chat", **rest: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return FORMAT.decode_call(raw, operation=operation, **rest)


def prepared(raw: bytes, model: str = "m", headers: Any = (), **rest: Any) -> Outgoing:
    call = FORMAT.decode_call(raw, operation="chat", outside=Outside(headers=headers))
    return FORMAT.prepare_upstream(call, target=Target(model, **rest), include_usage=True)


def test_what_every_stage_reads() -> None:
    call = decode({**BODY, "stream": True})
    assert (call.operation, call.format, call.model, call.stream) == ("chat", "anthropic_messages", "m", True)
    assert (call.max_output, call.candidates, call.usage_wanted) == (9, 1, True)
    assert 0 < call.input_estimate < 20


def test_paths() -> None:
    assert FORMAT.operation_at("/v1/messages") == "chat"
    assert FORMAT.operation_at("/v1/messages/count_tokens") == "count_tokens"
    assert FORMAT.operation_at("/v1/messages/batches") is None
    assert FORMAT.upstream_path("count_tokens", model="m", stream=False) == "/v1/messages/count_tokens"


def test_counting_needs_no_limit_and_never_streams() -> None:
    call = decode({"model": "m", "messages": [HI], "stream": True}, "count_tokens")
    assert (call.stream, call.max_output) == (False, 0)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]"),
        ({"system": 7}, "system"),
        ({"system": ["x"]}, "system[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": ["x"]}]}]},
            "messages[0].content[0].content[0]",
        ),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode({**BODY, **change})
    assert caught.value.param == param


def test_not_json() -> None:
    with pytest.raises(InvalidJson):
        decode(b"{")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "x" * 300},
        {"type": "thinking", "thinking": "x" * 300, "signature": "y"},
        {"type": "redacted_thinking", "data": "x" * 300},
        {"type": "image", "source": {"type": "url", "url": "https://a"}},
        {"type": "document", "source": {"type": "text", "data": "x" * 300}},
        {"type": "document", "source": {"type": "base64", "data": "x" * 300}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "content", "content": "x" * 300}},
        {"type": "document"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "x" * 300}},
        {"type": "tool_result", "tool_use_id": "1", "content": "x" * 300},
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "x" * 300}]},
        {"type": "search_result", "content": [{"type": "text", "text": "x" * 300}]},
        {"type": "web_search_tool_result", "content": ["x" * 300]},
    ],
    ids=lambda block: str(block["type"]),
)
def test_everything_the_model_reads_is_counted(block: dict[str, Any]) -> None:
    more = decode({**BODY, "messages": [{"role": "user", "content": [block]}]}).input_estimate
    assert more > decode(BODY).input_estimate + 60


def test_system_and_tools_are_counted() -> None:
    base = decode(BODY).input_estimate
    assert decode({**BODY, "system": "x" * 300}).input_estimate == base + 100
    assert decode({**BODY, "tools": [{"name": "x" * 300}]}).input_estimate > base + 100


# Going on.


def test_cv_01_the_clients_bytes_go_on_untouched() -> None:
    raw = b'{ "model" : "m", "max_tokens":9, "unknown": 1.10, "messages":[{"role":"user","content":"Hi"}] }'
    assert prepared(raw).body == raw


def test_only_the_models_name_changes() -> None:
    raw = b'{ "model" : "m", "max_tokens":9, "unknown": 1.10, "messages":[{"role":"user","content":"Hi"}] }'
    assert prepared(raw, "up").body == raw.replace(b'"model" : "m"', b'"model":"up"')


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"x","model":"m","messages":[{"role":"user","content":"Hi"}]}',
        b'{"mod\\u0065l":"m","messages":[{"role":"user","content":"Hi"}]}',
    ],
)
@pytest.mark.parametrize("model", ["m", "up"])
def test_a_body_that_could_be_read_in_two_ways_is_written_anew(raw: bytes, model: str) -> None:
    body = prepared(raw, model).body
    assert body.count(b"model") == 1
    assert json.loads(body)["model"] == model


def test_a_changed_body_is_written_anew() -> None:
    call = decode(BODY).with_body({**BODY, "system": "S"})
    outgoing = FORMAT.prepare_upstream(call, target=Target("m"), include_usage=True)
    assert json.loads(outgoing.body) == {**BODY, "system": "S"}


# Tool loops whose thinking the client lost.

HAIKU: dict[str, Any] = {"rules": rules_of("claude-haiku-4-5")}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
REDACTED = {"type": "redacted_thinking", "data": "EqQB"}
TEXT = {"type": "text", "text": "Let me see."}
USE = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "1", "content": "7"}


def said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def told(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def thinking(*messages: Any, kind: str = "enabled") -> bytes:
    """A body whose bytes are not those that writing it anew makes."""
    return json.dumps(
        {**BODY, "thinking": {"type": kind, "budget_tokens": 1024}, "messages": [HI, *messages]}, indent=1
    ).encode()


@pytest.mark.parametrize(
    "messages",
    [
        (said(USE), told(RESULT)),
        (said(TEXT, USE), told(RESULT)),
        (said(TEXT, THOUGHT, USE), told(RESULT)),
        (said(USE), told(RESULT, TEXT)),
        (said(TEXT, USE), told(RESULT), said(USE), told(RESULT)),
        (said(THOUGHT, USE), told(RESULT), said(THOUGHT, TEXT), HI, said(USE), told(RESULT)),
    ],
    ids=["call", "text first", "thinking second", "text beside the result", "two steps", "earlier turns"],
)
def test_cv_54_thinking_is_left_out_of_a_loop_that_lost_it(messages: tuple[Any, ...]) -> None:
    raw = thinking(*messages)
    call = decode(raw)
    outgoing = FORMAT.prepare_upstream(call, target=Target("m", **HAIKU), include_usage=True)
    assert json.loads(outgoing.body) == {**BODY, "messages": [HI, *messages]}
    assert outgoing.dropped == ("thinking",)
    assert "thinking" in call.body


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (said(TEXT), HI),
        ({"role": "assistant", "content": "Hm."}, HI),
        (said(THOUGHT, USE), told(RESULT)),
        (said(REDACTED, USE), told(RESULT)),
        (said(THOUGHT, USE), told(RESULT), said(USE), told(RESULT)),
        (said(USE), told(RESULT), said(THOUGHT, USE), told(RESULT)),
        (said(USE), told(RESULT), said(TEXT), HI),
        (said(USE), told(RESULT), said(TEXT)),
    ],
    ids=[
        "no history",
        "no calls",
        "plain content",
        "thinking",
        "redacted",
        "none between calls",
        "thinking later on",
        "loop is over",
        "ends with the assistant",
    ],
)
def test_cv_54_what_need_not_be_refused_goes_on_as_it_is(messages: tuple[Any, ...]) -> None:
    raw = thinking(*messages)
    outgoing = prepared(raw, **HAIKU)
    assert (outgoing.body, outgoing.dropped) == (raw, ())


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("disabled", HAIKU),
        ("adaptive", HAIKU),
        ("enabled", {}),
        ("enabled", {"rules": rules_of("claude-opus-4-6")}),
        ("enabled", {**HAIKU, "options": ConversionOptions(strict_passthrough=True)}),
    ],
    ids=["off", "adaptive", "unknown model", "adaptive model", "strict"],
)
def test_cv_54_only_manual_thinking_of_models_that_demand_it(kind: str, rest: dict[str, Any]) -> None:
    raw = thinking(said(USE), told(RESULT), kind=kind)
    outgoing = prepared(raw, **rest)
    assert (outgoing.body, outgoing.dropped) == (raw, ())


def test_cv_54_on_other_hosts() -> None:
    outgoing = prepared(thinking(said(USE), told(RESULT)), platform="vertex", **HAIKU)
    assert "thinking" not in json.loads(outgoing.body)
    assert outgoing.dropped == ("thinking",)


BETAS = ((b"anthropic-beta", b"Context-1M-2025-08-07, odd"), (b"anthropic-beta", b"odd,\xff,files-api-2025-04-14"))


def test_betas_of_the_client_go_on() -> None:
    outgoing = prepared(json.dumps(BODY).encode(), headers=BETAS)
    assert outgoing.headers == (("anthropic-beta", "context-1m-2025-08-07,odd,files-api-2025-04-14"),)
    assert outgoing.dropped == ()
    assert prepared(json.dumps(BODY).encode()).headers == ()


def test_hosts_that_refuse_unknown_betas() -> None:
    raw = json.dumps({**BODY, "stream": True}).encode()
    outgoing = prepared(raw, headers=BETAS, platform="bedrock")
    body = json.loads(outgoing.body)
    assert body["anthropic_beta"] == ["context-1m-2025-08-07"]
    assert not {"model", "stream"} & set(body)
    assert (outgoing.headers, outgoing.dropped) == ((), ("betas.odd", "betas.files-api-2025-04-14"))


def test_the_answer_names_the_model_that_was_asked_for() -> None:
    body = {"id": "msg_1", "model": "up"}
    answer = FORMAT.restore_model(Answer("anthropic_messages", b"{}", body), "m")
    assert json.loads(answer.raw) == answer.body == {"id": "msg_1", "model": "m"}
    assert body["model"] == "up"
    assert FORMAT.restore_model(answer, "m") is answer
    counted = Answer("anthropic_messages", b"{}", {"input_tokens": 3})
    assert FORMAT.restore_model(counted, "m") is counted
