"""How chat bodies say, in the words of any host, whether the model is to reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["SWITCHES", "asks_to_reason", "switched_off"]

SWITCHES = (
    "reasoning_effort",
    "reasoning",
    "include_reasoning",
    "enable_thinking",
    "thinking_budget",
    "thinking",
    "think",
    "reasoning_split",
    "prompt_mode",
)
"""Words of all hosts for the same thing. Left in beside ours some of them end in a 400."""
_INSIDE = ("extra_body", "chat_template_kwargs")
"""Where hosts and their clients put these fields, if not on top."""
_TELLING = frozenset((*SWITCHES, *_INSIDE))
"""Most bodies have none of these names, which is all there is to find out about them."""


def switched_off(body: Mapping[str, Any]) -> bool:
    """Whether a chat body says in any host's words that the model is not to reason."""
    return not _TELLING.isdisjoint(body) and any(_says_off(place) for place in _places(body))


def asks_to_reason(body: Mapping[str, Any]) -> bool:
    """Whether a chat body asks for reasoning in any host's words."""
    if _TELLING.isdisjoint(body) or switched_off(body):
        return False
    return any(name in place and place[name] not in (None, False) for place in _places(body) for name in SWITCHES)


def _places(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield body
    for name in _INSIDE:
        inner = body.get(name)
        if isinstance(inner, dict):
            yield inner
            if isinstance(deeper := inner.get("chat_template_kwargs"), dict):
                yield deeper


def _says_off(place: Mapping[str, Any]) -> bool:
    if place.get("reasoning_effort") == "none" or place.get("enable_thinking") is False:
        return True
    if place.get("think") is False or place.get("thinking") is False:
        return True
    thinking, reasoning = place.get("thinking"), place.get("reasoning")
    if isinstance(thinking, dict) and thinking.get("type") == "disabled":
        return True
    return isinstance(reasoning, dict) and (reasoning.get("effort") == "none" or reasoning.get("enabled") is False)
