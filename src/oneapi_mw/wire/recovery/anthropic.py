"""Repairs of Messages bodies."""

from __future__ import annotations

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.anthropic_messages.betas import needed
from oneapi_mw.wire.recovery.edits import each, lost_text, without
from oneapi_mw.wire.target import Target

_BETA = "anthropic-beta"
_KINDS = ("thinking", "redacted_thinking")


def without_forced_thinking(body: JsonObject, target: Target) -> JsonObject:
    """Thinking is not demanded: its state within a tool loop is that of the loop's first call, which had none.

    Models that decide themselves how much they think take loops without blocks, and keep thinking.
    """
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return body
    if target.rules.thinking == "adaptive":
        return {**body, "thinking": {**without(thinking, "budget_tokens"), "type": "adaptive"}}
    body = without(body, "thinking")
    management = body.get("context_management")
    if not isinstance(management, dict):
        return body
    edited = each(management, "edits", _without_clearing)  # which is refused where nothing is thought
    if edited is management:
        return body
    return {**body, "context_management": edited} if edited["edits"] else without(body, "context_management")


def _without_clearing(edit: JsonObject) -> JsonObject | None:
    return None if str(edit.get("type")).startswith("clear_thinking_") else edit


def without_reasoning(body: JsonObject, target: Target) -> JsonObject:
    """No reasoning of earlier turns: one block that is gone invalidates those behind it."""
    edited = each(body, "messages", lambda message: _without_blocks(message, target))
    return body if edited is body else without_forced_thinking(edited, target)


def without_last_reasoning(body: JsonObject, target: Target) -> JsonObject:
    """None in the last message, which the model is to continue."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return body
    *before, last = messages
    edited = _without_blocks(last, target)
    if edited is last:
        return body
    return {**body, "messages": before if edited is None else [*before, edited]}


def _without_blocks(message: JsonObject, target: Target) -> JsonObject | None:
    if message.get("role") != "assistant":
        return message
    edited = each(message, "content", lambda block: _without_thinking(block, target))
    return edited if edited is message or edited["content"] else None  # an empty message is refused


def _without_thinking(block: JsonObject, target: Target) -> JsonObject | None:
    if block.get("type") not in _KINDS:
        return block
    text = lost_text(block.get("thinking"), target)
    return None if text is None else {"type": "text", "text": text}


def dropping_mismatched(body: JsonObject, target: Target) -> JsonObject:
    """The vendor himself leaves out what was thought in another conversation; where he cannot be told so, all goes."""
    given = body.get("thinking")
    thinking: JsonObject = given if isinstance(given, dict) else {"type": "adaptive"}
    if thinking.get("type") not in ("enabled", "adaptive"):
        return without_reasoning(body, target)
    return {**body, "thinking": {**thinking, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}}


def with_betas(
    body: JsonObject, headers: tuple[tuple[str, str], ...], target: Target
) -> tuple[JsonObject, tuple[tuple[str, str], ...]]:
    """Body and header fields with what a repair needs beside it, where the host of `target` wants that named."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or "block_binding" not in thinking:
        return body, headers
    named = [*body.get("anthropic_beta", ())] if target.platform == "bedrock" else _named(headers)
    missing = [beta for beta in needed({"thinking": thinking, "messages": []}, target) if beta not in named]
    if not missing:
        return body, headers
    if target.platform == "bedrock":
        return {**body, "anthropic_beta": [*named, *missing]}, headers
    others = tuple(field for field in headers if field[0] != _BETA)
    return body, (*others, (_BETA, ",".join([*named, *missing])))


def _named(headers: tuple[tuple[str, str], ...]) -> list[str]:
    return [beta for name, value in headers if name == _BETA for beta in value.split(",")]
