"""Whole answers, to and from the canonical model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oneapi_mw.canonical.blocks import Refusal, Text
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import FinishReason
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.openai_chat import response as chat
from oneapi_mw.wire.openai_chat.content import extras_of
from oneapi_mw.wire.openai_chat.finish import encode_finish
from oneapi_mw.wire.openai_chat.usage import encode_usage
from oneapi_mw.wire.openai_completions.call import Prompt, prompts_of
from oneapi_mw.wire.openai_completions.logprobs import decode_logprobs, encode_logprobs

_PREFIX = "cmpl-"
_FINISHES = ("stop", "length", "content_filter")


def as_chat(choice: Mapping[str, Any]) -> JsonObject:
    """A choice as Chat Completions would say it: text is what a delta or a message holds."""
    entries = decode_logprobs(choice.get("logprobs"))
    turned: JsonObject = {"delta": {"content": choice.get("text")}}
    if entries:
        turned["logprobs"] = {"content": entries}
    for name in ("index", "finish_reason", "stop_reason", "matched_stop"):
        if name in choice:
            turned[name] = choice[name]
    return turned


def decode_response(body: JsonObject) -> Response:
    """Raises `UpstreamInvalidResponse` when it is no answer."""
    choices = body.get("choices")
    if isinstance(choices, list):
        choices = [as_chat(choice) if isinstance(choice, dict) else choice for choice in choices]
    return chat.decode_response({**body, "choices": choices})


def answer_id(upstream_id: str) -> str:
    """An id of this format."""
    return chat.answer_id(upstream_id, _PREFIX)


def encode_response(response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
    echo = echoes(call)
    body: JsonObject = {
        "id": answer_id(response.id or request_id),
        "object": "text_completion",
        "created": response.created or created,
        "model": call.model,
        "choices": [
            _encode_choice(candidate, echo_of(echo, candidate.index, call))
            for candidate in response.candidates or (_BLOCKED,)
        ],
    }
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, extras_of(response.usage_extras))
    if response.fingerprint is not None:
        body["system_fingerprint"] = response.fingerprint
    return body


_BLOCKED = Candidate(finish="content_filter")
"""Stands for an answer whose prompt was refused: clients expect one choice."""


def _encode_choice(candidate: Candidate, echo: str) -> JsonObject:
    """Text and refusals are what was said; nothing else has a place here."""
    said = [block for block in candidate.blocks if isinstance(block, (Text, Refusal))]
    entries = [entry for block in said for entry in block.logprobs]
    return {
        "index": candidate.index,
        "text": echo + "".join(block.text for block in said),
        "logprobs": encode_logprobs(entries, len(echo))[0] if entries else None,
        "finish_reason": finish_word(candidate.finish, refused=any(isinstance(block, Refusal) for block in said)),
    }


def finish_word(reason: FinishReason, *, refused: bool) -> str:
    """Clients of this format know three words."""
    word = encode_finish(reason, refused=refused)
    return word if word in _FINISHES else "stop"


def echoes(call: Call) -> Sequence[Prompt]:
    """The prompts that go ahead of their answers; none unless the client, of this format, asked for it."""
    return prompts_of(call.body) if call.body.get("echo") is True and "prompt" in call.body else ()


def echo_of(echo: Sequence[Prompt], candidate: int, call: Call) -> str:
    """The text ahead of one answer. Token ids are echoed by upstreams that read them, and by nobody else."""
    place = candidate // max(1, call.candidates // call.inputs)
    prompt = echo[place] if place < len(echo) else ""
    return prompt if isinstance(prompt, str) else ""
