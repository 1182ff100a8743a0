"""A chat asks for reasoning in any host's words: all of them are understood, and none is lost on the way back."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.canonical.request import ReasoningAsk
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.openai_chat import FORMAT as CHAT
from oneapi_mw.wire.openai_chat.request import decode_request, encode_request
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.wish import read_wish
from oneapi_mw.wire.wish_applied import apply_wish

MESSAGES: Any = [{"role": "user", "content": "Hi"}]


def ask_of(**body: Any) -> tuple[Any, ...] | None:
    ask = decode_request({"messages": MESSAGES, **body}, model="m").reasoning
    return None if ask is None else (ask.on, ask.effort, ask.budget, ask.display)


WORDS = [
    ({"reasoning_effort": "low"}, (True, "low", None, None)),
    ({"reasoning_effort": "none"}, (False, "none", None, None)),
    ({"reasoning_effort": {"effort": "low"}}, (True, "low", None, None)),
    ({"reasoning": {"effort": "high"}}, (True, "high", None, None)),
    ({"reasoning": {"effort": "none"}}, (False, "none", None, None)),
    ({"reasoning": {"max_tokens": 2000}}, (True, None, 2000, None)),
    ({"reasoning": {"enabled": True}}, (True, None, None, None)),
    ({"reasoning": {"enabled": False}}, (False, None, None, None)),
    ({"reasoning": {"exclude": True}}, (None, None, None, "omitted")),
    ({"reasoning": {"exclude": False}}, (None, None, None, None)),
    ({"reasoning": {"summary": "detailed"}}, (None, None, None, "detailed")),
    ({"include_reasoning": True}, (None, None, None, "summarized")),
    ({"include_reasoning": False}, (None, None, None, "omitted")),
    ({"enable_thinking": True}, (True, None, None, None)),
    ({"enable_thinking": False}, (False, None, None, None)),
    ({"enable_thinking": True, "thinking_budget": 4096}, (True, None, 4096, None)),
    ({"thinking_budget": 0}, (False, None, 0, None)),
    ({"chat_template_kwargs": {"enable_thinking": False}}, (False, None, None, None)),
    ({"chat_template_kwargs": {"thinking": True}}, (True, None, None, None)),
    ({"reasoning_split": True}, (None, None, None, "summarized")),
    ({"think": True}, (True, None, None, None)),
    ({"think": "high"}, (True, "high", None, None)),
    ({"prompt_mode": "reasoning"}, (True, None, None, None)),
    ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, (True, None, 2048, None)),
    ({"thinking": {"type": "adaptive", "display": "omitted"}}, (True, None, None, "omitted")),
    ({"thinking": {"type": "disabled"}}, (False, None, None, None)),
    ({"thinking": {"type": "auto"}}, (None, None, None, None)),
    (
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": -1, "include_thoughts": True}}}},
        (True, None, -1, "summarized"),
    ),
    ({"extra_body": {"google": {"thinking_config": {"thinking_level": "LOW"}}}}, (True, "low", None, None)),
    ({"extra_body": {"reasoning_effort": "low"}}, (True, "low", None, None)),
    ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, (False, None, None, None)),
]


@pytest.mark.parametrize(("body", "asked"), WORDS, ids=str)
def test_words(body: dict[str, Any], asked: tuple[Any, ...]) -> None:
    assert ask_of(**body) == asked


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, (True, "low", None, None)),
        ({"reasoning_effort": "high", "enable_thinking": False}, (False, "high", None, None)),
        ({"reasoning_effort": "high", "thinking": {"budget_tokens": 2048}}, (True, "high", 2048, None)),
        ({"enable_thinking": True, "extra_body": {"enable_thinking": False}}, (True, None, None, None)),
    ],
    ids=str,
)
def test_the_first_that_says_something_counts(body: dict[str, Any], asked: tuple[Any, ...]) -> None:
    assert ask_of(**body) == asked


def test_nothing_said_is_nothing_asked() -> None:
    assert ask_of() is None
    assert ask_of(reasoning_effort=None, reasoning=None) is None


NONSENSE = [
    {"reasoning": "a lot"},
    {"reasoning": {"effort": 5}},
    {"enable_thinking": "yes"},
    {"thinking": {"type": "maybe"}},
    {"thinking_budget": "all"},
    {"chat_template_kwargs": {"documents": []}},
    {"extra_body": {"google": {"cached_content": "c"}}},
]


@pytest.mark.parametrize("body", NONSENSE, ids=str)
def test_what_says_nothing_is_a_field_like_any_other(body: dict[str, Any]) -> None:
    request = decode_request({"messages": MESSAGES, **body}, model="m")
    assert request.reasoning is None
    assert request.extras == {"openai_chat": body}
    target = Target("claude-opus-4-8", rules_of("claude-opus-4-8"))
    encoded = get_format("anthropic_messages").encode_request(request, target)
    assert encoded.dropped == tuple(body)


@pytest.mark.parametrize("body", [body for body, _ in WORDS] + NONSENSE, ids=str)
def test_it_comes_back_as_it_was_said(body: dict[str, Any]) -> None:
    whole = {"model": "m", "messages": MESSAGES, **body}
    request = decode_request(whole, model="m")
    again = encode_request(request, Target("m")).body
    if body == {"reasoning_effort": {"effort": "low"}}:
        body = {"reasoning_effort": "low"}  # which every host takes
    assert again == {"model": "m", "messages": MESSAGES, **body}
    assert decode_request(again, model="m") == request


@pytest.mark.parametrize("body", [body for body, asked in WORDS if asked[0] is not None], ids=str)
def test_other_formats_are_told_and_nothing_is_lost(body: dict[str, Any]) -> None:
    request = decode_request({"messages": MESSAGES, "max_tokens": 9000, **body}, model="m")
    target = Target("claude-sonnet-4-6", rules_of("claude-sonnet-4-6"))
    encoded = get_format("anthropic_messages").encode_request(request, target)
    assert encoded.dropped == ()
    assert ("thinking" in encoded.body) == bool(request.reasoning and request.reasoning.on)


def test_a_switch_of_ours_is_no_word_of_a_host() -> None:
    """`thinking` as a plain boolean is a wish, which is applied on top."""
    call = CHAT.decode_call(dumps({"model": "m", "messages": MESSAGES, "thinking": True}), operation="chat")
    request = CHAT.decode_request(call)
    assert request.reasoning is None
    wished = apply_wish(request, read_wish(call.outside, call.body))
    assert wished.reasoning == ReasoningAsk(on=True)
    assert wished.extras == {}


@pytest.mark.parametrize(
    ("value", "param"), [(5, "reasoning_effort"), ({"effort": 5}, "reasoning_effort.effort")], ids=str
)
def test_an_effort_must_be_a_word(value: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask_of(reasoning_effort=value)
    assert caught.value.param == param
