"""Reasoning in the words of Anthropic, Google and OpenAI.

Pure functions of what the client asked and what the model takes. OpenAI-wire hosts with words of their own:
`models.hosts`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.request import ReasoningAsk
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable
from oneapi_mw.models.depth import (
    EFFORTS,
    Wanted,
    budget_of_effort,
    clamp,
    coarse,
    effort_of_budget,
    wanted_of,
)
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.types import JsonObject

__all__ = [
    "EFFORTS",
    "ClaudeThinking",
    "GeminiThinking",
    "OpenAIEffort",
    "budget_of_effort",
    "clamp",
    "claude_thinking",
    "default_output",
    "effort_of_budget",
    "gemini_thinking",
    "openai_effort",
]

_MIN_CLAUDE_BUDGET = 1024
_ROOM_FOR_ANSWER = 4096
"""Tokens left beside a thinking budget when the gateway sets the limit."""
_DEFAULT_OUTPUT, _DEFAULT_OUTPUT_UNKNOWN = 32_000, 8192
_LEVELS = ("minimal", "low", "medium", "high", "xhigh")
"""`thinkingLevel`, in lower case. Whoever else is served through Gemini's format has no other words there."""
_SUMMARIES = ("auto", "concise", "detailed")


@immutable
class ClaudeThinking:
    """For a Messages body."""

    thinking: JsonObject | None = None
    """The field `thinking`."""
    effort: str | None = None
    """`output_config.effort`."""
    max_output: int | None = None
    """`max_tokens` to send: the client's, or a default that holds the budget and an answer."""
    dropped: tuple[str, ...] = ()
    hidden: bool = False
    """Thinking could not be switched off: its text shall not be shown."""
    relax_choice: bool = False
    """The forced tool choice has to become `auto` and a sentence."""

    @property
    def on(self) -> bool:
        """Whether the body asks the model to think."""
        return self.thinking is not None and self.thinking["type"] in ("enabled", "adaptive")


@immutable
class GeminiThinking:
    """For a generateContent body."""

    config: JsonObject | None = None
    """`generationConfig.thinkingConfig`."""
    dropped: tuple[str, ...] = ()
    hidden: bool = False
    """Thinking could not be switched off: its text shall not be shown."""


@immutable
class OpenAIEffort:
    """For a Chat Completions or Responses body."""

    effort: str | None = None
    summary: str | None = None
    """`reasoning.summary`, on Responses only."""
    dropped: tuple[str, ...] = ()
    hidden: bool = False
    """Reasoning could not be switched off: its text shall not be shown."""


def default_output(rules: ModelRules, operator: int | None = None) -> int:
    """Output limit where the format needs one and the client gave none. `operator`: his own setting."""
    if operator is not None:
        return operator
    return min(rules.max_output, _DEFAULT_OUTPUT) if rules.max_output else _DEFAULT_OUTPUT_UNKNOWN


# Anthropic


def claude_thinking(
    ask: ReasoningAsk | None,
    rules: ModelRules,
    *,
    max_output: int | None,
    forced_tool: bool,
    operator_output: int | None = None,
) -> ClaudeThinking:
    """Thinking for a Messages upstream.

    Args:
        max_output: the client's limit; `None` when it gave none.
        forced_tool: whether the tool choice is `any` or one tool.
        operator_output: limit the operator set for clients that give none.

    Raises: `InvalidRequest` for thinking asked for outright within a limit that has no room for it.
    Source: https://platform.claude.com/docs/en/build-with-claude/thinking
    """
    want = wanted_of(ask)
    limit = max_output if max_output is not None else default_output(rules, operator_output)
    yields = forced_tool and rules.forced_tool == "not_with_thinking" and not want.explicit
    if rules.thinking == "none":
        found = ClaudeThinking(max_output=limit, dropped=want.lost())
    elif yields and (want.on or rules.thinks_unasked) and not want.off:
        # Nobody asked for thinking by name: the tool the client insists on comes first.
        found = _claude(replace(want, on=False, off=True), rules, max_output, limit)
        found = replace(found, dropped=("thinking",) if want.on else ())
    else:
        found = _claude(want, rules, max_output, limit)
    refused = rules.forced_tool == "no" or (rules.forced_tool == "not_with_thinking" and found.on)
    return replace(found, relax_choice=forced_tool and refused)


def _claude(want: Wanted, rules: ModelRules, max_output: int | None, limit: int) -> ClaudeThinking:
    if rules.thinking == "adaptive":
        if want.on and rules.also_manual and want.budget and not want.effort:
            return _manual(want, rules, max_output, limit)
        return replace(_adaptive(want, rules), max_output=limit)
    if want.off:
        return replace(_manual_off(rules), max_output=limit)
    return _manual(want, rules, max_output, limit) if want.on else ClaudeThinking(max_output=limit)


def _adaptive(want: Wanted, rules: ModelRules) -> ClaudeThinking:
    effort = clamp(want.depth, rules.efforts) if want.depth else None
    if want.off:
        if rules.thinking_off == "lowest":
            return ClaudeThinking(None, rules.efforts[0], dropped=("reasoning_effort",), hidden=True)
        if rules.thinking_off == "omit":
            return ClaudeThinking(None, effort)
        if effort and rules.off_up_to:
            effort = min(effort, rules.off_up_to, key=EFFORTS.index)
        # `between_tools` still thinks, between the calls of a loop.
        return ClaudeThinking({"type": rules.thinking_off}, effort, hidden=rules.thinking_off == "between_tools")
    thinking: JsonObject = {"type": "adaptive"}
    if want.hidden:
        thinking["display"] = "omitted"
    elif want.visible:
        thinking["display"] = "summarized"
    asked = want.on or (rules.thinks_unasked and "display" in thinking)
    return ClaudeThinking(thinking if asked else None, effort)


def _manual(want: Wanted, rules: ModelRules, max_output: int | None, limit: int) -> ClaudeThinking:
    if not rules.known and want.effort:
        want = replace(want, effort=coarse(want.effort))
    budget = max(want.tokens or budget_of_effort("high"), _MIN_CLAUDE_BUDGET)
    if max_output is None:
        limit = max(limit, budget + _ROOM_FOR_ANSWER)
        limit = min(limit, rules.max_output) if rules.max_output else limit
    elif max_output <= _MIN_CLAUDE_BUDGET:
        if want.explicit:
            raise InvalidRequest(
                f"max_tokens must be greater than {_MIN_CLAUDE_BUDGET} when using extended thinking",
                param="max_tokens",
                code="invalid_value",
            )
        return ClaudeThinking(max_output=limit, dropped=("reasoning_effort",))
    budget = max(min(budget, limit * 4 // 5), _MIN_CLAUDE_BUDGET)
    return ClaudeThinking({"type": "enabled", "budget_tokens": budget}, max_output=limit)


def _manual_off(rules: ModelRules) -> ClaudeThinking:
    """Claude's manual models think only when told to; others speak this format too and may think unasked."""
    if rules.thinking_off == "lowest":
        return ClaudeThinking(dropped=("reasoning_effort",), hidden=True)
    says_so = rules.thinks_unasked or not rules.known
    return ClaudeThinking({"type": "disabled"} if says_so else None)


# Google


def gemini_thinking(ask: ReasoningAsk | None, rules: ModelRules) -> GeminiThinking:
    """Thinking for a Gemini upstream: a budget or a level, never both.

    Source: https://ai.google.dev/gemini-api/docs/thinking
    """
    want = wanted_of(ask)
    if rules.thinking == "none":
        return GeminiThinking(dropped=want.lost())
    if want.off:
        return _gemini_off(rules)
    config: JsonObject = _gemini_depth(want, rules) if want.on else {}
    if want.visible:
        config["includeThoughts"] = True
    return GeminiThinking(config or None)


def _gemini_depth(want: Wanted, rules: ModelRules) -> dict[str, Any]:
    if rules.thinking == "budget":
        tokens = want.tokens
        if tokens is None:
            return {} if rules.thinks_unasked else {"thinkingBudget": -1}
        if want.budget is None and want.effort == "minimal":
            tokens = rules.min_budget
        elif want.budget is None and want.effort == "max":
            tokens = rules.max_budget
        return {"thinkingBudget": min(max(tokens, rules.min_budget), rules.max_budget)}
    depth = want.depth
    if depth is None:
        return {}
    levels = _gemini_levels(rules)
    level = clamp(depth, levels) if levels else coarse(depth)
    return {"thinkingLevel": level.upper()}


def _gemini_levels(rules: ModelRules) -> tuple[str, ...]:
    return tuple(effort for effort in rules.efforts if effort in _LEVELS)


def _gemini_off(rules: ModelRules) -> GeminiThinking:
    lost = ("reasoning_effort",)
    if rules.thinking == "budget":
        if rules.thinking_off == "zero":
            return GeminiThinking({"thinkingBudget": 0})
        return GeminiThinking({"thinkingBudget": rules.min_budget}, lost, hidden=True)
    levels = _gemini_levels(rules)
    return GeminiThinking({"thinkingLevel": levels[0].upper()} if levels else None, lost, hidden=True)


# OpenAI


def openai_effort(ask: ReasoningAsk | None, rules: ModelRules) -> OpenAIEffort:
    """Effort in OpenAI's words.

    Source: https://developers.openai.com/api/docs/guides/reasoning
    """
    want = wanted_of(ask)
    if rules.thinking in ("none", "switch"):  # the field itself is refused
        if want.off and rules.thinks_unasked and rules.thinking == "switch":
            return OpenAIEffort(dropped=("reasoning_effort",), hidden=True)
        return OpenAIEffort(dropped=want.lost())
    efforts = rules.efforts
    if want.off:
        if "none" in efforts or (rules.thinking == "budget" and rules.thinking_off == "zero"):
            return OpenAIEffort("none")
        if rules.known and rules.thinking_off == "omit" and not rules.thinks_unasked:
            return OpenAIEffort()
        return OpenAIEffort(efforts[0] if efforts else None, dropped=("reasoning_effort",), hidden=True)
    depth = want.depth
    if depth is None and want.on and rules.default_effort == "none":
        depth = "high"  # left out it would mean none
    effort = (clamp(depth, efforts) if efforts else coarse(depth)) if depth else None
    summary = None
    if want.visible and (rules.known or effort):
        summary = want.display if want.display in _SUMMARIES else "auto"
    return OpenAIEffort(effort, summary)
