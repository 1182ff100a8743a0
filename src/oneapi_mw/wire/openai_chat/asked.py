"""What a chat asks of the model's reasoning, in the words of OpenAI and of every host that has some of its own.

Words of hosts stand at the top level, in `extra_body` where a client did not unfold it, or in `chat_template_kwargs`.
The first that says something counts; what says nothing anybody knows stays a field like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.request import ReasoningAsk
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.openai_chat.content import NAME

__all__ = ["decode_ask", "own_words", "without_words"]

_TYPES = {"enabled": True, "adaptive": True, "disabled": False, "between_tools": False, "auto": None}
"""`thinking.type` of Claude, DeepSeek, GLM, Kimi and Doubao."""
_SHOWN, _HIDDEN = "summarized", "omitted"
_EFFORT = "reasoning_effort"


def decode_ask(fields: Fields) -> ReasoningAsk | None:
    """The ask, with the words it was read from among its extras.

    Raises: `InvalidRequest` for a `reasoning_effort` that is no word.
    """
    effort = _own_effort(fields)
    words: JsonObject = {}
    body = _Words(fields.value, words)
    extra = body.inner("extra_body")
    ask = ReasoningAsk(effort=effort)
    for said in (_of_place(body), ReasoningAsk(effort=extra.text(_EFFORT)), _of_place(extra)):
        ask = ReasoningAsk(
            on=_first(ask.on, said.on),
            effort=_first(ask.effort, said.effort),
            budget=_first(ask.budget, said.budget),
            display=_first(ask.display, said.display),
        )
    words = _pruned(words)
    if ask.on is None and (ask.effort is not None or ask.budget is not None):
        ask = replace(ask, on=ask.effort != "none" if ask.effort is not None else ask.budget != 0)
    if not words:
        return ask if ask != ReasoningAsk() else None
    return replace(ask, extras={NAME: words if effort is None else {_EFFORT: fields.value[_EFFORT], **words}})


def own_words(ask: ReasoningAsk | None) -> Mapping[str, Any]:
    """Members of a body of this format that say `ask`, as the client said it where it was one."""
    if ask is None:
        return {}
    return ask.extras.get(NAME) or ({} if ask.effort is None else {_EFFORT: ask.effort})


def without_words(rest: Mapping[str, Any], words: Mapping[str, Any]) -> JsonObject:
    """Fields nobody read: `rest` without the members of `words`, at every level."""
    left: JsonObject = {}
    for name, value in rest.items():
        if name not in words:
            left[name] = value
        elif isinstance(value, dict) and isinstance(words[name], dict) and (inner := without_words(value, words[name])):
            left[name] = inner
    return left


def _own_effort(fields: Fields) -> str | None:
    value = fields.value.get(_EFFORT)
    effort = fields.inner(_EFFORT).text("effort") if isinstance(value, dict) else value
    if effort is None or isinstance(effort, str):
        return effort
    raise fields.wrong(_EFFORT, "must be a string, like low, medium or high")


class _Words:
    """Members of an object by their type; those that were there are noted."""

    def __init__(self, value: Mapping[str, Any], noted: JsonObject) -> None:
        self._value = value
        self._noted = noted

    def inner(self, name: str) -> _Words:
        value = self._value.get(name)
        return _Words(value if isinstance(value, dict) else {}, self._noted.setdefault(name, {}))

    def flag(self, name: str) -> bool | None:
        value = self._value.get(name)
        return self._note(name, value) if type(value) is bool else None

    def text(self, name: str) -> str | None:
        value = self._value.get(name)
        return self._note(name, value) if isinstance(value, str) and value else None

    def count(self, name: str) -> int | None:
        value = self._value.get(name)
        return self._note(name, value) if type(value) is int else None

    def kind(self, name: str) -> bool | None:
        """Of `_TYPES`."""
        value = self._value.get(name)
        if not isinstance(value, str) or value not in _TYPES:
            return None
        self._note(name, value)
        return _TYPES[value]

    def _note(self, name: str, value: Any) -> Any:
        self._noted[name] = value
        return value


def _of_place(said: _Words) -> ReasoningAsk:
    """What one object says."""
    thinking, reasoning = said.inner("thinking"), said.inner("reasoning")
    template, google = said.inner("chat_template_kwargs"), said.inner("google").inner("thinking_config")
    level = google.text("thinking_level")
    return ReasoningAsk(
        on=_first(
            said.flag("enable_thinking"),
            thinking.kind("type"),
            reasoning.flag("enabled"),
            template.flag("enable_thinking"),
            template.flag("thinking"),
            said.flag("think"),
            True if said.text("prompt_mode") == "reasoning" else None,
        ),
        effort=_first(reasoning.text("effort"), said.text("think"), level.lower() if level else None),
        budget=_first(
            reasoning.count("max_tokens"),
            thinking.count("budget_tokens"),
            said.count("thinking_budget"),
            google.count("thinking_budget"),
        ),
        display=_first(
            _HIDDEN if reasoning.flag("exclude") else None,
            reasoning.text("summary"),
            thinking.text("display"),
            _shown(said.flag("include_reasoning")),
            _shown(google.flag("include_thoughts")),
            _SHOWN if said.flag("reasoning_split") else None,
        ),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _shown(flag: bool | None) -> str | None:
    return None if flag is None else (_SHOWN if flag else _HIDDEN)


def _pruned(words: JsonObject) -> JsonObject:
    """Without objects in which nothing was noted."""
    kept = {name: _pruned(value) if isinstance(value, dict) else value for name, value in words.items()}
    return {name: value for name, value in kept.items() if value != {}}
