"""Which sampling settings a model takes: what it would refuse is removed and named, and nothing is added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from oneapi_mw.canonical.request import Sampling
from oneapi_mw.immutable import immutable
from oneapi_mw.models.rules import ModelRules

_DEFAULTS: dict[str, Any] = {
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "min_p": 0,
    "logit_bias": {},
}
"""What a field says that says nothing: removed without a word."""
_FIXED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
)
_CLAUDE_TOP_P = 0.95
"""Least `top_p` accepted beside thinking."""


@immutable
class AllowedSampling:
    """What is left."""

    sampling: Sampling
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    dropped: tuple[str, ...] = ()
    """Canonical names of what was removed and meant something."""


def effective_effort(sent: str | None, rules: ModelRules) -> str | None:
    """The effort an upstream works with: what is sent, else the model's default, which need not be `none`."""
    return sent or rules.default_effort


def allowed_sampling(
    sampling: Sampling,
    stop: tuple[str, ...],
    rules: ModelRules,
    *,
    effort: str | None,
    thinking: bool,
    logprobs: int | None = None,
    blank_stops: bool = True,
) -> AllowedSampling:
    """What the model takes of the client's settings.

    Args:
        effort: as it will be sent; `none` also where reasoning is switched off by another field.
        thinking: whether a field of the request switches thinking on (Claude, DeepSeek).
        blank_stops: whether the format takes stop sequences of nothing but white space. Claude never does.
    """
    refused = dict.fromkeys(_refused(sampling, rules, effort, thinking))
    values = {member.name: getattr(sampling, member.name) for member in fields(sampling)}
    removed = {name for name in refused if values.get(name) is not None}
    dropped = [name for name in refused if name in removed and values[name] != _DEFAULTS.get(name)]
    if logprobs is not None and "logprobs" in refused:
        logprobs = None
        dropped.append("logprobs")
    stops = _allowed_stop(stop, rules, blank_stops)
    if stops != tuple(dict.fromkeys(entry for entry in stop if entry)):
        dropped.append("stop")
    kept = replace(sampling, **dict.fromkeys(removed)) if removed else sampling
    return AllowedSampling(kept, stops, logprobs, tuple(dropped))


def _refused(sampling: Sampling, rules: ModelRules, effort: str | None, thinking: bool) -> Iterator[str]:
    yield from (name for name in (*_FIXED, "seed") if name in rules.refuses)
    reasons = thinking or effective_effort(effort, rules) != "none"
    fixed = rules.sampling == "fixed" or (rules.sampling == "at_effort_none" and reasons)
    if fixed:
        keeps = rules.keeps_default_temperature and sampling.temperature == 1
        yield from (name for name in _FIXED if not (keeps and name == "temperature"))
        return
    if thinking and rules.thinking in ("manual", "adaptive"):
        yield from ("temperature", "top_k")
        if sampling.top_p is not None and not _CLAUDE_TOP_P <= sampling.top_p <= 1:
            yield "top_p"
    elif rules.sampling == "one_of" and sampling.temperature is not None:
        yield "top_p"


def _allowed_stop(stop: tuple[str, ...], rules: ModelRules, blank_stops: bool) -> tuple[str, ...]:
    if "stop" in rules.refuses:
        return ()
    blank = blank_stops and rules.family != "claude"
    return tuple(dict.fromkeys(entry for entry in stop if entry and (blank or not entry.isspace())))
