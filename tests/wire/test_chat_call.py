"""What the gateway reads of a chat request, and what it sends on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.errors import InvalidJson, InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.target import ConversionOptions, Target

HELLO = [{"role": "user", "content": "Hi"}]


def call(**body: Any) -> Call:
    return raw_call(orjson.dumps({"model": "m", "messages": HELLO, **body}))


def raw_call(raw: bytes) -> Call:
    return FORMAT.decode_call(raw, operation="chat")


def prepared(call: Call, *, model: str = "m", include_usage: bool = False) -> bytes:
    outgoing = FORMAT.prepare_upstream(call, target=Target(model), include_usage=include_usage)
    assert not outgoing.headers
    assert not outgoing.dropped
    return outgoing.body


def test_what_is_read() -> None:
    found = call(stream=True, max_tokens=10, n=2, stream_options={"include_usage": True})
    assert (found.operation, found.format, found.model) == ("chat", "openai_chat", "m")
    assert (found.stream, found.max_output, found.candidates, found.usage_wanted) == (True, 20, 2, True)
    assert found.raw == orjson.dumps(found.body)


def test_what_is_not_said() -> None:
    found = call(stream=None, n=None, max_tokens=None, temperature=None)
    assert (found.stream, found.max_output, found.candidates, found.usage_wanted) == (False, None, 1, True)
    assert found.outside is BODY_ALONE


def test_what_is_said_outside_is_kept() -> None:
    outside = Outside("/v1/chat/completions", b"a=1", [(b"authorization", b"Bearer secret")])
    found = FORMAT.decode_call(orjson.dumps({"model": "m", "messages": HELLO}), operation="chat", outside=outside)
    assert found.outside is outside
    assert "secret" not in repr(outside)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 0}, 5),
        ({"max_tokens": 7, "max_completion_tokens": 5}, 7),
        ({"max_tokens": 0}, None),
        ({"max_completion_tokens": 7}, 7),
    ],
)
def test_output_limit(limits: dict[str, int], expected: int | None) -> None:
    assert call(**limits).max_output == expected


@pytest.mark.parametrize(
    ("options", "wanted"),
    [(None, False), ({}, False), ({"include_usage": None}, False), ({"include_usage": True}, True)],
)
def test_usage_is_wanted_only_when_asked_for(options: Any, wanted: bool) -> None:
    assert call(stream=True, stream_options=options).usage_wanted is wanted


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [{"role": 5}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user", "content": 5}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": 5}]}]}, "messages[0].content[0]"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream": True, "stream_options": 5}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 2**70}, "max_tokens"),
        ({"max_completion_tokens": 2**31}, "max_completion_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "1"}, "temperature"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], param: str) -> None:
    raw = json.dumps({"model": "m", "messages": HELLO, **body}).encode()
    with pytest.raises(InvalidRequest) as caught:
        raw_call(raw)
    assert caught.value.param == param
    assert caught.value.code == "invalid_text_request"
    assert caught.value.message.startswith(param)


def test_not_json() -> None:
    with pytest.raises(InvalidJson, match="line 1 column"):
        raw_call(b'{"model": NaN}')


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec=None), max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "text", "content", "role", "image_url", "file"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_any_messages_are_read_or_refused(messages: Any) -> None:
    raw = json.dumps({"model": "m", "messages": messages, "tools": messages}).encode()
    error: InvalidRequest | None = None
    try:
        raw_call(raw)
    except InvalidRequest as exc:
        error = exc
    assert error is None or error.param


# Estimates.


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "x" * 300}],
        [{"role": "user", "content": [{"type": "text", "text": "x" * 300}]}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "x" * 300}]}],
        [{"role": "assistant", "content": [{"type": "new", "text": "x" * 300}]}],
        [{"role": "assistant", "content": None, "reasoning_content": "x" * 300}],
        [{"role": "assistant", "tool_calls": [{"function": {"arguments": "x" * 300}}]}],
    ],
)
def test_all_that_is_read_is_estimated(messages: list[dict[str, Any]]) -> None:
    assert 100 <= call(messages=messages).input_estimate < 160


def test_media_is_estimated_by_what_it_costs_not_by_its_size() -> None:
    def estimate(part: dict[str, Any]) -> int:
        return call(messages=[{"role": "user", "content": [part]}]).input_estimate

    data = "A" * 400_000
    assert estimate({"type": "image_url", "image_url": {"url": data, "detail": "low"}}) < 200
    assert 1_000 < estimate({"type": "image_url", "image_url": data}) < 2_000
    assert 1_000 <= estimate({"type": "input_audio", "input_audio": {"data": data}}) < 2_000
    assert 100_000 <= estimate({"type": "file", "file": {"file_data": data}}) < 200_000
    assert 1_000 < estimate({"type": "file", "file": {"file_id": "f"}}) < 10_000


def test_tools_and_schemas_are_estimated() -> None:
    more = {"description": "x" * 3000}
    assert call(tools=[more]).input_estimate > call().input_estimate + 1000
    assert call(response_format=more, prediction=more).input_estimate > call().input_estimate + 2000


def test_halves_of_characters_are_estimated() -> None:
    half = {"a": "x\ud83d"}
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "\ud83d"}], "tools": [half]}).encode()
    assert raw_call(raw).input_estimate > 0


# What is sent on.

ODD = (
    b' {"messages" : [{"role":"user","content":"Hi","vendor":12345678901234567890123}],\n'
    b'"temperature":0.10, "model": "m", "vendor":{"a":[1,{"b":1E2}],"c":"\\u2028\\ud83d"},'
    b'"seed":18446744073709551616}\n'
)


def test_an_unchanged_request_is_sent_as_it_came() -> None:
    assert prepared(raw_call(ODD)) is raw_call(ODD).raw or prepared(raw_call(ODD)) == ODD
    asked = ODD.replace(b'"seed"', b'"stream":true,"stream_options":{ "include_usage":true,"x":1 },"seed"')
    assert prepared(raw_call(asked), include_usage=True) == asked


def test_only_the_model_is_changed() -> None:
    assert prepared(raw_call(ODD), model='up"é') == ODD.replace(b'"model": "m"', '"model":"up\\"é"'.encode())


def test_only_the_stream_options_are_added() -> None:
    streaming = ODD.replace(b'"seed"', b'"stream":true,"seed"')
    sent = prepared(raw_call(streaming), include_usage=True)
    assert sent == streaming.replace(b" {", b' {"stream_options":{"include_usage":true},', 1)
    assert prepared(raw_call(streaming)) == streaming
    assert prepared(raw_call(ODD), include_usage=True) == ODD


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False, "include_obfuscation": True}])
def test_stream_options_that_are_there_are_kept(options: dict[str, Any] | None) -> None:
    sent = orjson.loads(prepared(call(stream=True, stream_options=options, vendor=1), include_usage=True, model="up"))
    assert sent["stream_options"] == {**(options or {}), "include_usage": True}
    assert sent["vendor"] == 1
    assert sent["model"] == "up"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"cheap","messages":[{"role":"user","content":"x"}],"model":"dear"}',
        b'{"model":"cheap","messages":[{"role":"user","content":"x"}],"mod\\u0065l":"dear"}',
        b'{"n":1,"model":"dear","n":9,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"dear","messages":[{"role":"user","content":"x"}],"messages":[{"role":"user","content":"y"}]}',
    ],
)
@pytest.mark.parametrize("model", [None, "up"])
def test_the_upstream_sees_what_was_authorised(raw: bytes, model: str | None) -> None:
    """Of keys that are repeated only the one that was read is sent, whichever a parser takes."""
    found = raw_call(raw)
    sent = prepared(found, model=model or found.model)
    pairs = json.loads(sent, object_pairs_hook=lambda pairs: pairs)
    assert len(pairs) == len(dict(pairs))
    assert orjson.loads(sent) == {**found.body, "model": model or found.model}


def test_a_changed_body_is_written_anew() -> None:
    found = raw_call(ODD).with_body({"model": "m", "messages": HELLO})
    assert found.raw is None
    assert prepared(found) == orjson.dumps(found.body)
    assert prepared(found, model="up") == orjson.dumps({**found.body, "model": "up"})


MEMBERS = st.dictionaries(
    st.text(max_size=3).filter(lambda key: key not in ("n", "model")),
    st.integers() | st.text(st.characters(codec=None), max_size=4) | st.just({"model": "x"}) | st.just(["model"]),
    max_size=3,
)


@given(MEMBERS, MEMBERS, st.booleans(), st.booleans(), st.text('ab"\\é', min_size=1, max_size=4))
def test_edits_mean_what_they_should(
    before: dict[str, Any], after: dict[str, Any], escaped: bool, spaced: bool, model: str
) -> None:
    body = {**before, "model": "m", "messages": HELLO, "stream": True, **after}
    raw = json.dumps(body, ensure_ascii=True, separators=None if spaced else (",", ":")).encode()
    expected = {**json.loads(raw), "model": model, "stream_options": {"include_usage": True}}
    sent = prepared(raw_call(raw), model=model, include_usage=True)
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in body.values()):
        return  # whether it keeps all digits depends on how it had to be written
    assert json.loads(sent) == expected


def test_a_number_keeps_all_its_digits() -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"x"}],"seed":123456789012345678901234567890,"x":0.10}'
    assert prepared(raw_call(raw), model="up") == raw.replace(b'"m"', b'"up"')


def test_calls_are_values() -> None:
    assert replace(call(), model="m") == call()


# The output limit's two names.

REFUSING = Target("m", rules_of("gpt-5"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            b'{ "model": "m", "max_tokens" : 5, "messages": '
            b'[{"role":"user","content":"\\"max_tokens\\":1"}], "x": 1.0 }',
            b'{ "model": "m", "max_completion_tokens" : 5, "messages": '
            b'[{"role":"user","content":"\\"max_tokens\\":1"}], "x": 1.0 }',
        ),
        (
            b'{"model":"m","max_tokens":5,"max_completion_tokens":7,"messages":[{"role":"user","content":"x"}]}',
            b'{"model":"m","max_completion_tokens":7,"messages":[{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model":"m","max_tokens":5,"max_completion_tokens":null,"messages":[{"role":"user","content":"x"}]}',
            b'{"model":"m","max_completion_tokens":5,"messages":[{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model":"m","reasoning":{"max_tokens": 9},"max_tokens":5,"messages":[{"role":"user","content":"x"}]}',
            b'{"model":"m","reasoning":{"max_tokens":9},"max_completion_tokens":5,'
            b'"messages":[{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model": "m", "max_tokens": null, "messages": [{"role":"user","content":"x"}]}',
            b'{"model": "m", "max_tokens": null, "messages": [{"role":"user","content":"x"}]}',
        ),
    ],
    ids=["in place", "both", "both, one null", "another of the name inside", "null"],
)
def test_cv_02_a_limit_the_model_refuses_gets_its_new_name(raw: bytes, expected: bytes) -> None:
    outgoing = FORMAT.prepare_upstream(raw_call(raw), target=REFUSING, include_usage=False)
    assert outgoing.body == expected
    assert not outgoing.dropped


@pytest.mark.parametrize(
    "target",
    [
        Target("m"),
        Target("m", rules_of("gpt-4o")),
        replace(REFUSING, options=ConversionOptions(strict_passthrough=True)),
        replace(REFUSING, provider="openrouter"),
    ],
    ids=["unknown", "takes it", "operator's wish", "host knows no other"],
)
def test_a_limit_that_may_be_taken_stays(target: Target) -> None:
    raw = b'{"model": "m", "max_tokens": 5, "messages": [{"role":"user","content":"x"}]}'
    assert FORMAT.prepare_upstream(raw_call(raw), target=target, include_usage=False).body == raw


OLD_ALONE = Target("m", provider="mistral")
"""A host that knows `max_tokens` and nothing newer."""


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            b'{"model": "m", "max_completion_tokens" : 5, "messages": [{"role":"user","content":"x"}], "y": 1e2}',
            b'{"model": "m", "max_tokens" : 5, "messages": [{"role":"user","content":"x"}], "y": 1e2}',
        ),
        (
            b'{"model":"m","max_tokens":7,"max_completion_tokens":5,"messages":[{"role":"user","content":"x"}]}',
            b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model": "m", "max_tokens": 7, "messages": [{"role":"user","content":"x"}]}',
            b'{"model": "m", "max_tokens": 7, "messages": [{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model": "m", "max_completion_tokens": null, "messages": [{"role":"user","content":"x"}]}',
            b'{"model": "m", "max_completion_tokens": null, "messages": [{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model":"m","max_tokens":7,"max_completion_tokens":0,"messages":[{"role":"user","content":"x"}]}',
            b'{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"x"}]}',
        ),
        (
            b'{"model":"m","max_completion_tokens":0,"messages":[{"role":"user","content":"x"}]}',
            b'{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}',
        ),
    ],
    ids=["in place", "both", "its own", "null", "zero means none", "zero alone"],
)
def test_cv_03_a_limit_the_host_does_not_know_gets_its_old_name(raw: bytes, expected: bytes) -> None:
    outgoing = FORMAT.prepare_upstream(raw_call(raw), target=OLD_ALONE, include_usage=False)
    assert outgoing.body == expected
    assert not outgoing.dropped


@pytest.mark.parametrize(
    "target",
    [Target("m"), replace(OLD_ALONE, options=ConversionOptions(strict_passthrough=True))],
    ids=["unknown", "operator's wish"],
)
def test_a_newer_limit_that_may_be_taken_stays(target: Target) -> None:
    raw = b'{"model": "m", "max_completion_tokens": 5, "messages": [{"role":"user","content":"x"}]}'
    assert FORMAT.prepare_upstream(raw_call(raw), target=target, include_usage=False).body == raw


@pytest.mark.parametrize(
    ("effort", "sent"),
    [({"effort": "low"}, "low"), ({"effort": "low", "summary": "auto"}, "low"), ("low", "low"), ({"x": 1}, {"x": 1})],
    ids=str,
)
def test_cv_08_an_effort_in_an_object_becomes_its_word(effort: Any, sent: Any) -> None:
    """Where Responses has an object chat has a word, which is all any host takes."""
    asked = call(reasoning_effort=effort)
    for provider in ("moonshot", "openai", "openai-compatible"):
        outgoing = FORMAT.prepare_upstream(asked, target=Target("m", provider=provider), include_usage=False)
        assert orjson.loads(outgoing.body)["reasoning_effort"] == sent
    kept = Target("m", options=ConversionOptions(strict_passthrough=True))
    assert FORMAT.prepare_upstream(asked, target=kept, include_usage=False).body == asked.raw


DEEPSEEK = Target("deepseek-chat", rules_of("deepseek-chat"), provider="deepseek")
FUNCTION = {"type": "function", "function": {"name": "f"}}
SEARCH = {"type": "web_search"}
CUSTOM = {"type": "custom", "custom": {"name": "patch"}}
NAMED: Any = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("tools", "choice", "sent_tools", "sent_choice", "dropped"),
    [
        ([FUNCTION, SEARCH], "auto", [FUNCTION], "auto", ("tools[1]",)),
        ([SEARCH, FUNCTION, CUSTOM], NAMED, [FUNCTION], NAMED, ("tools[0]", "tools[2]")),
        ([FUNCTION, SEARCH], {"type": "web_search"}, [FUNCTION], None, ("tools[1]", "tool_choice")),
        ([FUNCTION, CUSTOM], CUSTOM, [FUNCTION], None, ("tools[1]", "tool_choice")),
        ([SEARCH], "required", None, None, ("tools[0]", "tool_choice")),
        ([SEARCH], None, None, None, ("tools[0]",)),
    ],
)
def test_cv_21_hosts_of_functions_alone_get_no_other_tools(
    tools: Any, choice: Any, sent_tools: Any, sent_choice: Any, dropped: tuple[str, ...]
) -> None:
    """Nor a choice that names one of those."""
    asked = call(tools=tools, tool_choice=choice)
    outgoing = FORMAT.prepare_upstream(asked, target=DEEPSEEK, include_usage=False)
    body = orjson.loads(outgoing.body)
    assert (body.get("tools"), body.get("tool_choice")) == (sent_tools, sent_choice)
    assert outgoing.dropped == dropped


@pytest.mark.parametrize(
    ("target", "tools"),
    [
        (DEEPSEEK, [FUNCTION]),
        (DEEPSEEK, "odd"),
        (Target("m"), [SEARCH]),
        (replace(DEEPSEEK, options=ConversionOptions(strict_passthrough=True)), [SEARCH]),
    ],
    ids=["functions", "no list", "unknown", "operator's wish"],
)
def test_tools_that_may_be_taken_stay(target: Target, tools: Any) -> None:
    asked = call(model=target.model, tools=tools)
    outgoing = FORMAT.prepare_upstream(asked, target=target, include_usage=False)
    assert (outgoing.body, outgoing.dropped) == (asked.raw, ())


def test_a_renamed_limit_goes_with_other_edits() -> None:
    raw = b'{"model": "m", "stream": true, "max_tokens": 5, "messages": [{"role":"user","content":"x"}], "y": 1e2}'
    target = replace(REFUSING, model="up")
    outgoing = FORMAT.prepare_upstream(raw_call(raw), target=target, include_usage=True)
    assert outgoing.body == (
        b'{"stream_options":{"include_usage":true},"model":"up", "stream": true, "max_completion_tokens": 5, '
        b'"messages": [{"role":"user","content":"x"}], "y": 1e2}'
    )
