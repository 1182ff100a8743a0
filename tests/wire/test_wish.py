"""What a client wants of the model's reasoning: read from query, headers and body, and applied to requests."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.canonical.call import Outside
from oneapi_mw.canonical.request import ReasoningAsk, Request
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.depth import EFFORTS
from oneapi_mw.wire.switches import switched_off
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.wish import FIELDS, FORMATS, FieldName, ReasoningWish, read_wish
from oneapi_mw.wire.wish_applied import (
    BodyEdit,
    apply_to_body,
    apply_to_chat_body,
    apply_to_gemini_body,
    apply_to_messages_body,
    apply_to_responses_body,
    apply_wish,
    merged_ask,
)

Wish = ReasoningWish


def read(query: str = "", body: dict[str, Any] | None = None, **headers: str) -> ReasoningWish | None:
    fields = [(f"x-oneapi-{name.replace('_', '-')}".encode(), value.encode()) for name, value in headers.items()]
    return read_wish(Outside("/v1/chat/completions", query.encode(), [(b"accept", b"*/*"), *fields]), body or {})


@pytest.mark.parametrize("word", ["1", "true", "yes", "on", "TRUE", "%20Yes+"])
def test_words_for_on(word: str) -> None:
    assert read(f"thinking={word}") == Wish(True)


@pytest.mark.parametrize("word", ["0", "false", "no", "off", "False", "+NO"])
def test_cv_10_words_for_off(word: str) -> None:
    assert read(f"thinking={word}") == Wish(False)


@pytest.mark.parametrize(
    ("query", "headers", "body", "expected"),
    [
        ("", {}, {}, None),
        ("model=x&key=%20", {}, {"model": "m", "reasoning_effort": "high"}, None),
        ("thinking=&reasoning_effort=default", {}, {"thinking": {"type": "enabled"}}, None),
        ("reasoning_effort=high", {}, {}, Wish(effort="high")),
        ("%74hinking=1", {}, {}, Wish(True)),
        ("thinking=0&thinking=1", {}, {}, Wish(True)),
        ("reasoning_format=raw&reasoning_format=hidden", {}, {}, Wish(format="hidden")),
        (
            "",
            {"thinking": "1", "reasoning_format": "thinking", "reasoning_effort": "low"},
            {},
            Wish(True, "thinking", "low"),
        ),
        ("", {}, {"thinking": False}, Wish(False)),
        ("", {}, {"extra_body": {"thinking": True, "reasoning_format": "raw"}}, Wish(True, "raw")),
        ("", {}, {"reasoning_format": "hidden", "extra_body": {"reasoning_format": "raw"}}, Wish(format="hidden")),
        ("", {}, {"reasoning_format": "parsed"}, Wish(format="reasoning")),
        ("", {}, {"reasoning_format": "none"}, None),
        ("", {}, {"extra_body": [1]}, None),
        # the query counts, then the header, then the body
        ("thinking=0", {"thinking": "1"}, {}, Wish(False)),
        ("", {"thinking": "0"}, {"thinking": True}, Wish(False)),
        ("reasoning_format=raw", {"reasoning_format": "hidden"}, {"reasoning_format": "thinking"}, Wish(format="raw")),
        ("reasoning_effort=low", {"reasoning_effort": "high"}, {}, Wish(effort="low")),
        # an effort implies on; off beats every weaker effort
        ("thinking=0", {"reasoning_effort": "high"}, {}, Wish(False)),
        ("thinking=0&reasoning_effort=high", {}, {}, Wish(False)),
        ("reasoning_effort=high", {"thinking": "0"}, {}, Wish(effort="high")),
        ("thinking=1", {"reasoning_effort": "high"}, {}, Wish(True, None, "high")),
        ("thinking=1", {"reasoning_effort": "none"}, {}, Wish(True)),
        ("reasoning_effort=none", {"thinking": "1"}, {}, Wish(effort="none")),
    ],
)
def test_reading(query: str, headers: dict[str, str], body: dict[str, Any], expected: ReasoningWish | None) -> None:
    assert read(query, body, **headers) == expected


@pytest.mark.parametrize(
    ("query", "headers", "body", "param", "message"),
    [
        ("thinking=maybe", {}, {}, "thinking", "thinking must be one of 1, true, yes, on, 0, false, no, off"),
        ("reasoning_format=xml", {}, {}, "reasoning_format", f"reasoning_format must be one of {', '.join(FORMATS)}"),
        ("reasoning_effort=huge", {}, {}, "reasoning_effort", f"reasoning_effort must be one of {', '.join(EFFORTS)}"),
        ("", {"thinking": "2"}, {}, "thinking", "thinking must be one of"),
        ("", {"reasoning_effort": "lots"}, {}, "reasoning_effort", "reasoning_effort must be one of"),
        ("", {}, {"reasoning_format": "xml"}, "reasoning_format", "reasoning_format must be one of"),
        ("", {}, {"reasoning_format": ["raw"]}, "reasoning_format", "reasoning_format must be one of"),
    ],
)
def test_cv_47_unknown_words_are_refused(
    query: str, headers: dict[str, str], body: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(query, body, **headers)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_value", param)
    assert caught.value.message.startswith(message)


def test_the_operators_field_asks_for_nothing() -> None:
    wish = read_wish(Outside(), {}, fallback="thinking")
    assert wish == Wish(fallback="thinking")
    assert (wish.asks, wish.shown_as, wish.field) == (False, "thinking", "thinking")
    assert merged_ask(None, wish) is None
    named = read_wish(Outside(query=b"reasoning_format=raw"), {}, fallback="thinking")
    assert named is not None
    assert (named.shown_as, named.field) == ("raw", None)
    assert [Wish(format=shown).field for shown in FORMATS] == [*FIELDS, None, None]
    fields: tuple[FieldName, ...] = FIELDS
    assert set(fields) < set(FORMATS)


Ask = ReasoningAsk


@pytest.mark.parametrize(
    ("ask", "wish", "expected"),
    [
        (None, Wish(True), Ask(True)),
        (Ask(True, "low"), Wish(True), Ask(True, "low")),
        (Ask(False, "none"), Wish(True), Ask(True)),
        (Ask(False, budget=0), Wish(True), Ask(True)),
        (Ask(True, budget=2000), Wish(True), Ask(True, budget=2000)),
        (Ask(True, "low", 2000), Wish(effort="high"), Ask(True, "high")),
        (Ask(False), Wish(effort="high"), Ask(True, "high")),
        (
            Ask(True, "high", 2000, "summarized", "all_turns", "pro"),
            Wish(False),
            Ask(False, None, None, None, "all_turns", "pro"),
        ),
        (Ask(True, "high"), Wish(effort="none"), Ask(False, "none")),
        (None, Wish(format="reasoning"), Ask(display="summarized")),
        (None, Wish(format="raw"), Ask(display="summarized")),
        (Ask(True, display="concise"), Wish(format="reasoning"), Ask(True, display="concise")),
        (Ask(False), Wish(format="reasoning"), Ask(False)),
        (Ask(True, display="summarized"), Wish(format="hidden"), Ask(True, display="omitted")),
        (None, Wish(False, "raw"), Ask(False)),
    ],
)
def test_merging_with_what_the_body_asks(ask: Ask | None, wish: ReasoningWish, expected: Ask | None) -> None:
    assert merged_ask(ask, wish) == expected


def test_apply_wish_takes_our_own_fields_out() -> None:
    extras: dict[str, dict[str, Any]] = {
        "openai_chat": {"reasoning_format": "raw", "thinking": True, "extra_body": {"reasoning_format": "raw"}, "x": 1},
        "gemini": {"thinking": True},
        "anthropic_messages": {"thinking": {"type": "enabled"}},
    }
    request = apply_wish(Request("openai_chat", "m", extras=extras), Wish(True, "raw"))
    assert request.reasoning == Ask(True, display="summarized")
    assert request.extras == {"openai_chat": {"x": 1}, "anthropic_messages": {"thinking": {"type": "enabled"}}}
    assert extras["openai_chat"]["extra_body"] == {"reasoning_format": "raw"}
    same = Request("openai_chat", "m")
    assert apply_wish(same, None) is same


# Bodies for upstreams of the client's own format.


def target(model: str) -> Target:
    return Target(model, rules_of(model))


BASE = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("provider", "model", "given", "wish", "added"),
    [
        ("openai", "gpt-5.4", {}, Wish(True), {"reasoning_effort": "high"}),
        ("openai", "gpt-5.4", {"reasoning_effort": "low"}, Wish(True), {"reasoning_effort": "low"}),
        ("openai", "gpt-5.4", {"reasoning_effort": "low"}, Wish(effort="high"), {"reasoning_effort": "high"}),
        ("openai", "gpt-5.4", {"reasoning_effort": "low"}, Wish(False), {"reasoning_effort": "none"}),
        ("openai", "gpt-5.4", {"reasoning_effort": "low"}, Wish(format="raw"), {"reasoning_effort": "low"}),
        ("deepseek", "deepseek-v4-pro", {}, Wish(False), {"thinking": {"type": "disabled"}}),
        (
            "deepseek",
            "deepseek-v4-pro",
            {"thinking": {"type": "disabled"}},
            Wish(effort="max"),
            {"reasoning_effort": "max"},
        ),
        (
            "openrouter",
            "anthropic/claude-opus-4.6",
            {"reasoning": {"max_tokens": 9}},
            Wish(effort="low"),
            {"reasoning": {"effort": "low"}},
        ),
        ("openrouter", "x/y", {"include_reasoning": True}, Wish(True), {"include_reasoning": True}),
        (
            "openai-compatible",
            "qwen3-8b",
            {"chat_template_kwargs": {"enable_thinking": True, "a": 1}},
            Wish(False),
            {"chat_template_kwargs": {"enable_thinking": False, "a": 1}},
        ),
        (
            "openai-compatible",
            "qwen3-8b",
            {"extra_body": {"enable_thinking": False, "reasoning_format": "raw"}},
            Wish(True),
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
        (
            "geminiopenaicompatible",
            "gemini-2.5-flash",
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": 9}, "b": 1}}},
            Wish(False),
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}, "b": 1}}},
        ),
        ("openai", "gpt-4o", {"thinking": True, "reasoning_format": "raw"}, Wish(True, "raw"), {}),
        (
            "groq",
            "qwen/qwen3-32b",
            {"reasoning_format": "parsed"},
            Wish(format="reasoning"),
            {"reasoning_format": "parsed"},
        ),
        (
            "groq",
            "qwen/qwen3-32b",
            {"reasoning_format": "thinking"},
            Wish(format="thinking"),
            {"reasoning_format": "parsed"},
        ),
        ("openai", "gpt-4o", {"extra_body": {"thinking": True, "a": 1}}, Wish(True), {"extra_body": {"a": 1}}),
    ],
)
def test_chat_bodies(
    provider: str, model: str, given: dict[str, Any], wish: ReasoningWish, added: dict[str, Any]
) -> None:
    body = {**BASE, **given}
    before = repr(body)
    found = apply_to_chat_body(body, wish, target(model), provider=provider)
    assert found.body == {**BASE, **added}
    assert repr(body) == before, "the client's own object is not changed"


def test_cv_11_effort_without_thinking() -> None:
    wish = read("reasoning_effort=high")
    assert wish is not None
    assert apply_to_chat_body(BASE, wish, target("gpt-5.4"), provider="openai").body["reasoning_effort"] == "high"


def test_what_cannot_be_had_is_named() -> None:
    cannot = apply_to_chat_body(BASE, Wish(True), target("gpt-4o"), provider="openai")
    assert cannot == BodyEdit(BASE, ("thinking",))
    stuck = apply_to_chat_body(BASE, Wish(False), target("o3"), provider="openai")
    assert (stuck.dropped, stuck.hidden) == (("reasoning_effort",), True)


@pytest.mark.parametrize(
    ("body", "off"),
    [
        ({}, False),
        ({"reasoning_effort": "low"}, False),
        ({"reasoning_effort": "none"}, True),
        ({"enable_thinking": False}, True),
        ({"thinking": {"type": "disabled"}}, True),
        ({"thinking": {"type": "enabled"}}, False),
        ({"reasoning": {"effort": "none"}}, True),
        ({"reasoning": {"enabled": False}}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, True),
        ({"chat_template_kwargs": {"thinking": False}}, True),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, True),
        ({"extra_body": 5, "chat_template_kwargs": []}, False),
        ({"think": False}, True),
    ],
)
def test_off_in_every_hosts_words(body: dict[str, Any], off: bool) -> None:
    assert switched_off(body) is off


@pytest.mark.parametrize(
    ("model", "given", "wish", "expected"),
    [
        (
            "claude-sonnet-4-5",
            {},
            Wish(True),
            {"thinking": {"type": "enabled", "budget_tokens": 4096}, "max_tokens": 9000},
        ),
        (
            "claude-sonnet-4-5",
            {},
            Wish(effort="low"),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 9000},
        ),
        (
            "claude-opus-4-7",
            {},
            Wish(True),
            {"thinking": {"type": "adaptive", "display": "summarized"}, "max_tokens": 9000},
        ),
        (
            "claude-opus-4-7",
            {},
            Wish(effort="high"),
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "high"},
                "max_tokens": 9000,
            },
        ),
        (
            "claude-opus-5",
            {"thinking": {"type": "adaptive"}, "output_config": {"format": 1}},
            Wish(False),
            {"thinking": {"type": "disabled"}, "output_config": {"format": 1}, "max_tokens": 9000},
        ),
        (
            "claude-opus-4-7",
            {"thinking": {"type": "adaptive"}},
            Wish(True),
            {"thinking": {"type": "adaptive"}, "max_tokens": 9000},
        ),
        (
            "claude-opus-4-7",
            {"thinking": {"type": "adaptive"}},
            Wish(format="raw"),
            {"thinking": {"type": "adaptive"}, "max_tokens": 9000},
        ),
        (
            "claude-opus-4-7",
            {"thinking": {"type": "disabled"}},
            Wish(True),
            {"thinking": {"type": "adaptive", "display": "summarized"}, "max_tokens": 9000},
        ),
    ],
)
def test_messages_bodies(model: str, given: dict[str, Any], wish: ReasoningWish, expected: dict[str, Any]) -> None:
    found = apply_to_messages_body({**BASE, "max_tokens": 9000, **given}, wish, target(model))
    assert found == BodyEdit({**BASE, **expected})


def test_thinking_takes_out_what_is_refused_beside_it() -> None:
    body = {**BASE, "max_tokens": 9000, "temperature": 0.2, "top_k": 5, "top_p": 0.5, "tool_choice": {"type": "any"}}
    found = apply_to_messages_body(body, Wish(True), target("claude-sonnet-4-5"))
    assert not found.body.keys() & {"temperature", "top_k", "top_p"}
    assert found.body["tool_choice"] == {"type": "auto"}
    assert set(found.dropped) == {"temperature", "top_k", "top_p", "tool_choice"}


def test_thinking_without_room_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="max_tokens must be greater than 1024"):
        apply_to_messages_body({**BASE, "max_tokens": 1000}, Wish(True), target("claude-sonnet-4-5"))


@pytest.mark.parametrize(
    ("given", "wish", "expected"),
    [
        ({}, Wish(True), {"reasoning": {"effort": "high", "summary": "auto"}}),
        (
            {"reasoning": {"context": "all_turns", "summary": "concise"}},
            Wish(effort="low"),
            {"reasoning": {"context": "all_turns", "effort": "low", "summary": "concise"}},
        ),
        ({"reasoning": {"effort": "high"}}, Wish(False), {"reasoning": {"effort": "none"}}),
        ({"reasoning": {"effort": "high"}}, Wish(format="hidden"), {"reasoning": {"effort": "high"}}),
    ],
)
def test_responses_bodies(given: dict[str, Any], wish: ReasoningWish, expected: dict[str, Any]) -> None:
    assert apply_to_responses_body({"model": "m", **given}, wish, target("gpt-5.4")).body == {"model": "m", **expected}


@pytest.mark.parametrize(
    ("model", "given", "wish", "expected"),
    [
        ("gemini-2.5-flash", {}, Wish(True), {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}),
        (
            "gemini-2.5-flash",
            {"generationConfig": {"topK": 1}},
            Wish(False),
            {"generationConfig": {"topK": 1, "thinkingConfig": {"thinkingBudget": 0}}},
        ),
        (
            "gemini-3-pro",
            {"generation_config": {"thinking_config": {"thinking_level": "LOW"}}},
            Wish(effort="high"),
            {"generation_config": {"thinking_config": {"thinkingLevel": "HIGH", "includeThoughts": True}}},
        ),
        ("gemini-2.5-flash", {}, Wish(format="raw"), {}),
        ("gemini-2.0-flash", {}, Wish(True), {}),
    ],
)
def test_gemini_bodies(model: str, given: dict[str, Any], wish: ReasoningWish, expected: dict[str, Any]) -> None:
    assert apply_to_gemini_body({"contents": [], **given}, wish, target(model)).body == {"contents": [], **expected}


@pytest.mark.parametrize("format", ["openai_chat", "anthropic_messages", "openai_responses", "gemini"])
def test_a_body_nobody_wishes_anything_of_is_the_same(format: str) -> None:
    assert apply_to_body(format, BASE, None, target("m"), provider="openai").body is BASE
    assert apply_to_body(format, BASE, Wish(format="raw"), target("m"), provider="openai").body is BASE
