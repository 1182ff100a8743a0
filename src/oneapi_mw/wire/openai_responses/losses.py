"""What the settings of a request say that this format cannot: dropped and named, so that nobody loses anything in
silence. What is said in tools and turns is named where they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oneapi_mw.canonical.request import Request, Sampling
from oneapi_mw.wire.losses import EMULATED
from oneapi_mw.wire.openai_responses.content import NAME
from oneapi_mw.wire.target import Target

_ABSENT: tuple[tuple[str, Any], ...] = (
    ("top_k", None),
    ("min_p", 0),
    ("repetition_penalty", 1),
    ("frequency_penalty", 0),
    ("presence_penalty", 0),
    ("seed", None),
    ("logit_bias", None),
)
"""Sampling that this format has no field for, with the value that means nothing."""


def settings_lost(request: Request, target: Target) -> Iterator[str]:
    """Canonical paths of settings that are left out, with `=emulated` of what is done by other means."""
    if request.format == NAME:
        return
    yield from _of_sampling(request.sampling)
    if request.stop:
        yield f"stop{EMULATED}" if target.options.emulate_stop else "stop"
    for name, value in (
        ("prediction", request.prediction),
        ("safety.settings", request.safety.settings),
        ("service.speed", request.service.speed not in (None, "standard")),
        ("service.geo", request.service.geo),
        ("state.store", request.state.store),
    ):
        if value:
            yield name
    yield from request.extras.get(request.format, {})


def _of_sampling(sampling: Sampling) -> Iterator[str]:
    for name, neutral in _ABSENT:
        value = getattr(sampling, name)
        if value is not None and value != neutral and value != {}:
            yield name
