"""The client's side of a request: checked as far as the gateway reads it, and sent on with as few edits as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.tokens.estimate import MESSAGE_TOKENS, REPLY_TOKENS, text_tokens
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.body import parse_object
from oneapi_mw.wire.openai_chat.call import (
    MAX_CANDIDATES,
    MAX_OUTPUT,
    read_head,
    read_integer,
    split_candidates,
    wants_usage,
    write_body,
    wrong,
)
from oneapi_mw.wire.target import Target

Prompt: TypeAlias = str | list[int]
"""Text, or ids of tokens."""

DEFAULT_OUTPUT = 16
"""Tokens of one answer where the client gave no limit: the format's own default."""
MAX_BEST_OF = 20
MAX_LOGPROBS = 20

_KEYS = tuple(
    b'"%s"' % name
    for name in (
        b"model",
        b"prompt",
        b"suffix",
        b"stream",
        b"stream_options",
        b"max_tokens",
        b"n",
        b"best_of",
        b"include_usage",
    )
)
"""What decides who may be asked, what it may cost and how it is answered."""


def decode_call(
    raw: bytes, *, operation: str, format: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
) -> Call:
    """Check and read a body. Raises `InvalidRequest` and its kin, naming the field and what to send instead."""
    body = parse_object(raw) if body is None else body
    model, stream = read_head(body)
    prompts = prompts_of(body)
    each = read_integer(body, "n", 1, MAX_CANDIDATES) or 1
    drafts = max(each, drafts_of(body))
    limit = read_integer(body, "max_tokens", 0, MAX_OUTPUT)
    read_integer(body, "logprobs", 0, MAX_LOGPROBS)
    suffix, echo = body.get("suffix"), body.get("echo")
    if suffix is not None and not isinstance(suffix, str):
        raise wrong("suffix", "must be a string")
    if echo is not None and type(echo) is not bool:
        raise wrong("echo", "must be true or false")
    if each * len(prompts) > MAX_CANDIDATES:
        raise wrong("prompt", f"and n ask for {each * len(prompts)} answers: {MAX_CANDIDATES} may be at once")
    limit = DEFAULT_OUTPUT if limit is None else limit
    return Call(
        operation=operation,
        format=format,
        model=model,
        stream=stream,
        body=body,
        raw=raw,
        # Zero is none to some servers, and an empty answer to others.
        max_output=limit * drafts * len(prompts) if limit else None,
        candidates=each * len(prompts),
        inputs=len(prompts),
        input_estimate=sum(_prompt_tokens(prompt, suffix or "") for prompt in prompts),
        usage_wanted=wants_usage(body) if stream else True,
        outside=outside,
    )


def drafts_of(body: JsonObject) -> int:
    """Answers of which the best are given. Raises `InvalidRequest` for a count that is none."""
    return read_integer(body, "best_of", 1, MAX_BEST_OF) or 1


def prompts_of(body: JsonObject) -> Sequence[Prompt]:
    """The prompts of a body, at least one. Raises `InvalidRequest` for anything that is none."""
    value = body.get("prompt")
    if value is None:
        hint = ": messages go to /v1/chat/completions" if body.get("messages") is not None else ""
        raise wrong("prompt", f"is required: the text to continue{hint}")
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        raise wrong("prompt", "must be a string, or a list of strings or of token ids")
    if _is_tokens(value):
        return (value,)
    if all(isinstance(entry, str) for entry in value) or all(_is_tokens(entry) for entry in value):
        return value
    raise wrong("prompt", "must hold strings alone, token ids alone, or lists of token ids alone")


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(entry) is int and entry >= 0 for entry in value)


def _prompt_tokens(prompt: Prompt, suffix: str) -> int:
    said = text_tokens(prompt) if isinstance(prompt, str) else len(prompt)
    return REPLY_TOKENS + MESSAGE_TOKENS + said + text_tokens(suffix)


def split(call: Call, *, candidates: bool) -> list[Call]:
    """One call for each prompt, or with `candidates` for each answer, in the order of the choices."""
    if candidates:
        refuse_drafts(call.body)
    prompts, suffix = prompts_of(call.body), call.body.get("suffix") or ""
    limit = None if call.max_output is None else call.max_output // len(prompts)
    each = call.candidates // len(prompts)
    calls = [
        replace(
            call,
            body={**call.body, "prompt": prompt},
            raw=None,
            candidates=each,
            inputs=1,
            max_output=limit,
            input_estimate=_prompt_tokens(prompt, suffix),
        )
        for prompt in prompts
    ]
    return [part for one in calls for part in split_candidates(one)] if candidates else calls


def refuse_drafts(body: JsonObject) -> None:
    """Raise `InvalidRequest` for answers that are to be chosen among more than are shown."""
    best_of = body.get("best_of")
    if best_of is not None and best_of > (body.get("n") or 1):
        raise InvalidRequest(
            "best_of above n is understood by text completion models alone: leave it out, or ask for as many with n",
            param="best_of",
            code="unsupported_parameter",
        )


def prepare_upstream(call: Call, *, target: Target, include_usage: bool) -> bytes:
    """The body for an upstream of this format: the client's own bytes wherever nothing must change."""
    return write_body(call.body, call.raw, model=target.model, add_usage=include_usage and call.stream, keys=_KEYS)
