"""Whole requests to the canonical model: a prompt is what the user says."""

from __future__ import annotations

from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.request import Identity, Request, Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.extras import mapped, unmapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.openai_chat.content import CODE
from oneapi_mw.wire.openai_chat.request import SAMPLING, decode_sampling, decode_stop, decode_stream
from oneapi_mw.wire.openai_completions.call import DEFAULT_OUTPUT, prompts_of, refuse_drafts

_MAPPED = mapped(
    *SAMPLING,
    "model",
    "prompt",
    "suffix",
    "max_tokens",
    "n",
    "best_of",
    "stop",
    "logprobs",
    "echo",
    "stream",
    "user",
    stream_options=mapped("include_usage", "include_obfuscation"),
)


def decode_request(call: Call) -> Request:
    """Raises `InvalidRequest` naming the field, also for what only a text completion model can be asked."""
    fields = Fields(call.body, code=CODE)
    text = _prompt(call)
    if fields.text("suffix"):
        raise _refused("suffix", "a suffix")
    refuse_drafts(call.body)
    rest = unmapped(call.body, _MAPPED)
    return Request(
        format=call.format,
        model=call.model,
        turns=(Turn("user", (Text(text),)),),
        max_output=fields.integer("max_tokens") or DEFAULT_OUTPUT,
        sampling=decode_sampling(fields),
        stop=decode_stop(fields),
        candidates=fields.integer("n"),
        logprobs=fields.integer("logprobs"),
        identity=Identity(fields.text("user")),
        stream=decode_stream(fields),
        extras={call.format: rest} if rest else {},
    )


def _prompt(call: Call) -> str:
    prompts = prompts_of(call.body)
    if len(prompts) > 1:
        raise _refused("prompt", "several prompts at once")
    (prompt,) = prompts
    if not isinstance(prompt, str):
        raise _refused("prompt", "token ids")
    if not prompt:
        raise InvalidRequest("prompt must not be empty", param="prompt", code=CODE)
    return prompt


def _refused(param: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"{what[0].upper()}{what[1:]} can only be sent to a text completion model: send one text without it, or ask "
        "another model",
        param=param,
        code="unsupported_parameter",
    )
