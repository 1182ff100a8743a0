"""A wish about reasoning, written into the request: the canonical one, or the body for an upstream that speaks the
client's own format.

Everything else in a body stays as it is; what the client asked in the vendor's words stays unless the wish says
otherwise. Bodies are copied where they change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from oneapi_mw.canonical.request import ReasoningAsk, Request, Sampling
from oneapi_mw.immutable import immutable
from oneapi_mw.models.effort import claude_thinking, gemini_thinking, openai_effort
from oneapi_mw.models.hosts import provider_effort
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.models.sampling import allowed_sampling
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.switches import SWITCHES, asks_to_reason
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.wish import FIELDS, ReasoningWish, without_own

__all__ = [
    "BodyEdit",
    "apply_to_body",
    "apply_to_chat_body",
    "apply_to_gemini_body",
    "apply_to_messages_body",
    "apply_to_responses_body",
    "apply_wish",
    "merged_ask",
]


def merged_ask(ask: ReasoningAsk | None, wish: ReasoningWish) -> ReasoningAsk | None:
    """What is asked of the model in the end, by the body and by the wish above it."""
    ask = ask or ReasoningAsk()
    if wish.off:
        effort = "none" if wish.effort == "none" else None
        return ReasoningAsk(False, effort, context=ask.context, mode=ask.mode)
    if wish.effort is not None:
        ask = replace(ask, on=True, effort=wish.effort, budget=None)
    elif wish.thinking:
        effort = None if ask.effort == "none" else ask.effort
        ask = replace(ask, on=True, effort=effort, budget=ask.budget or None)
    if wish.format == "hidden":
        ask = replace(ask, display="omitted")
    elif wish.format is not None and ask.display is None and ask.on is not False:
        ask = replace(ask, display="summarized")
    return ask if ask != ReasoningAsk() else None


def apply_wish(request: Request, wish: ReasoningWish | None) -> Request:
    """A canonical request with the wish in it, and without our own fields."""
    if wish is None:
        return request
    ask = merged_ask(request.reasoning, wish)
    rest = {name: without_own(fields) for name, fields in request.extras.items()}
    return replace(request, reasoning=ask, extras={name: fields for name, fields in rest.items() if fields})


# Bodies


@immutable
class BodyEdit:
    """A body as it goes out."""

    body: JsonObject
    dropped: tuple[str, ...] = ()
    """What was asked and cannot be had (the `X-Oneapi-Dropped` header)."""
    hidden: bool = False
    """Reasoning could not be switched off: its text shall not be shown."""


# Chat Completions

_TEMPLATE_SWITCHES = ("enable_thinking", "thinking")
_PARSING_HOSTS = ("groq", "cerebras")


def apply_to_chat_body(
    body: JsonObject, wish: ReasoningWish, target: Target, *, provider: str = "openai-compatible"
) -> BodyEdit:
    """`body` for `provider`, by its name in the catalogue.

    Raises: `InvalidRequest` for an effort in the body that is no effort.
    """
    edited = without_own(body)
    if provider in _PARSING_HOSTS and isinstance(body.get("reasoning_format"), str):
        word = body["reasoning_format"]
        edited = {**edited, "reasoning_format": "parsed" if word in FIELDS else word}
    if not wish.asks or (wish.thinking and wish.effort is None and asks_to_reason(edited)):
        return BodyEdit(edited)
    found = provider_effort(provider, merged_ask(_depth_of(edited), wish), target.rules)
    return BodyEdit(_merged_over(_without_switches(edited), found.fields), found.dropped, found.hidden)


def _depth_of(body: JsonObject) -> ReasoningAsk | None:
    """The effort of a body that a wish switches on without naming one."""
    effort = body.get("reasoning_effort")
    return ReasoningAsk(effort=effort) if isinstance(effort, str) else None


def _without_switches(body: JsonObject) -> JsonObject:
    rest = {name: value for name, value in body.items() if name not in SWITCHES}
    for name in ("chat_template_kwargs", "extra_body"):
        inner = rest.get(name)
        if not isinstance(inner, dict):
            continue
        if name == "extra_body":
            inner = _without_google(_without_switches(inner))
        else:
            inner = {key: value for key, value in inner.items() if key not in _TEMPLATE_SWITCHES}
        rest[name] = inner
        if not inner:
            del rest[name]
    return rest


def _without_google(extra: JsonObject) -> JsonObject:
    google = extra.get("google")
    if not isinstance(google, dict) or "thinking_config" not in google:
        return extra
    kept = {name: value for name, value in google.items() if name != "thinking_config"}
    rest = {name: value for name, value in extra.items() if name != "google"}
    return {**rest, "google": kept} if kept else rest


def _merged_over(body: JsonObject, fields: JsonObject) -> JsonObject:
    """`body` with `fields` in it, at every level."""
    return merged({**fields}, body) if fields else body


# Messages

_SAMPLING = ("temperature", "top_p", "top_k")


def apply_to_messages_body(body: JsonObject, wish: ReasoningWish, target: Target, *, provider: str = "") -> BodyEdit:
    """Raises: `InvalidRequest` for thinking asked for within an output limit that has no room for it."""
    edited = without_own(body)
    thinking = edited.get("thinking")
    thinking = thinking if isinstance(thinking, dict) else {}
    kind = thinking.get("type")
    if not wish.asks or (wish.thinking and wish.effort is None and kind in ("enabled", "adaptive")):
        return BodyEdit(edited)
    config = edited.get("output_config")
    config = config if isinstance(config, dict) else {}
    choice = edited.get("tool_choice")
    forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
    native = ReasoningAsk(
        on=None if kind is None else kind in ("enabled", "adaptive"),
        effort=_text(config.get("effort")),
        budget=_count(thinking.get("budget_tokens")),
        display=_text(thinking.get("display")),
    )
    limit = _count(edited.get("max_tokens"))
    found = claude_thinking(merged_ask(native, wish), target.rules, max_output=limit, forced_tool=forced)
    written = {name: value for name, value in edited.items() if name not in ("thinking", "output_config")}
    if found.thinking is not None:
        written["thinking"] = found.thinking
    config = {name: value for name, value in config.items() if name != "effort"}
    if found.effort is not None:
        config["effort"] = found.effort
    if config:
        written["output_config"] = config
    if found.max_output is not None:
        written["max_tokens"] = found.max_output
    dropped = found.dropped
    if found.on:
        dropped = (*dropped, *_remove_refused(written, target.rules, found.effort))
    if found.relax_choice:
        dropped = (*dropped, "tool_choice")
        written["tool_choice"] = {**choice, "type": "auto"} if isinstance(choice, dict) else {"type": "auto"}
        written["tool_choice"].pop("name", None)
    return BodyEdit(written, dropped, found.hidden)


def _remove_refused(body: JsonObject, rules: ModelRules, effort: str | None) -> tuple[str, ...]:
    """Take out the sampling settings that are refused beside thinking. Returns those that meant something."""
    given = Sampling(**{name: body[name] for name in _SAMPLING if name in body})
    allowed = allowed_sampling(given, (), rules, effort=effort, thinking=True)
    for name in _SAMPLING:
        if name in body and getattr(allowed.sampling, name) is None:
            del body[name]
    return allowed.dropped


# Responses


def apply_to_responses_body(body: JsonObject, wish: ReasoningWish, target: Target, *, provider: str = "") -> BodyEdit:
    edited = without_own(body)
    if not wish.asks:
        return BodyEdit(edited)
    reasoning = edited.get("reasoning")
    reasoning = reasoning if isinstance(reasoning, dict) else {}
    summary = _text(reasoning.get("summary")) or _text(reasoning.get("generate_summary"))
    native = ReasoningAsk(effort=_text(reasoning.get("effort")), display=summary)
    found = openai_effort(merged_ask(native, wish), target.rules)
    rest = {name: value for name, value in edited.items() if name != "reasoning"}
    kept = {name: value for name, value in reasoning.items() if name not in ("effort", "summary", "generate_summary")}
    words = {"effort": found.effort, "summary": found.summary}
    kept.update({name: value for name, value in words.items() if value is not None})
    return BodyEdit({**rest, "reasoning": kept} if kept else rest, found.dropped, found.hidden)


# Gemini


def apply_to_gemini_body(body: JsonObject, wish: ReasoningWish, target: Target, *, provider: str = "") -> BodyEdit:
    edited = without_own(body)
    if not wish.asks:
        return BodyEdit(edited)
    place = "generation_config" if "generation_config" in edited else "generationConfig"
    generation = edited.get(place)
    generation = generation if isinstance(generation, dict) else {}
    member = "thinking_config" if "thinking_config" in generation else "thinkingConfig"
    native = generation.get(member)
    native = native if isinstance(native, dict) else {}
    level = _text(native.get("thinkingLevel", native.get("thinking_level")))
    shows = native.get("includeThoughts", native.get("include_thoughts"))
    ask = ReasoningAsk(
        effort=level.lower() if level else None,
        budget=_count(native.get("thinkingBudget", native.get("thinking_budget"))),
        display="summarized" if shows is True else None,
    )
    found = gemini_thinking(merged_ask(ask, wish), target.rules)
    kept = {name: value for name, value in generation.items() if name != member}
    if found.config is not None:
        kept[member] = found.config
    rest = {name: value for name, value in edited.items() if name != place}
    return BodyEdit({**rest, place: kept} if kept else rest, found.dropped, found.hidden)


# Text completions


def _apply_to_prompt_body(body: JsonObject, wish: ReasoningWish, target: Target, *, provider: str) -> BodyEdit:
    """A text completion model does not reason."""
    asked = "thinking" if wish.effort is None else "reasoning_effort"
    return BodyEdit(without_own(body), (asked,) if wish.asks and not wish.off else ())


# All of them

_Editor: TypeAlias = Callable[..., BodyEdit]

_EDITORS: Mapping[str, _Editor] = {
    "openai_chat": apply_to_chat_body,
    "anthropic_messages": apply_to_messages_body,
    "openai_responses": apply_to_responses_body,
    "gemini": apply_to_gemini_body,
    "openai_completions": _apply_to_prompt_body,
}


def apply_to_body(
    format: str, body: JsonObject, wish: ReasoningWish | None, target: Target, *, provider: str
) -> BodyEdit:
    """`body`, which is in `format`, for an upstream of that format; the very same object where nothing changes."""
    if wish is None:
        return BodyEdit(body)
    return _EDITORS[format](body, wish, target, provider=provider)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if type(value) is int else None
