"""Whole requests, to and from the canonical model.

A field is *mapped* when the canonical request has a place for its value; every other field travels in the extras
and comes back field for field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.request import (
    CachePlan,
    Identity,
    ImageOut,
    OutputFormat,
    ReasoningAsk,
    Request,
    Safety,
    Sampling,
    Service,
    State,
    StreamOptions,
)
from oneapi_mw.models.effort import openai_effort
from oneapi_mw.models.sampling import AllowedSampling, allowed_sampling
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.client_fields import client_field
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.openai_responses.content import CODE, NAME, extras, extras_of, unsupported
from oneapi_mw.wire.openai_responses.history import Written, write
from oneapi_mw.wire.openai_responses.input import decode_input
from oneapi_mw.wire.openai_responses.losses import settings_lost
from oneapi_mw.wire.openai_responses.tools import decode_choice, decode_tools, encode_tools
from oneapi_mw.wire.schema import Emulation, clean
from oneapi_mw.wire.target import Target

MIN_OUTPUT = 16
"""The least that `max_output_tokens` may be."""
MAX_IDENTITY_CHARS = 64
ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

_MAPPED = mapped(
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "top_logprobs",
    "parallel_tool_calls",
    "tools",
    "tool_choice",
    "include",
    "previous_response_id",
    "conversation",
    "store",
    "background",
    "truncation",
    "context_management",
    "prompt",
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_retention",
    "stream",
    prompt_cache_options=mapped("mode", "ttl"),
    stream_options=mapped("include_obfuscation"),
    reasoning=mapped("effort", "summary", "context", "mode", "generate_summary"),
    text=mapped("verbosity", format=mapped("type", "name", "schema", "strict", "description")),
)
_CACHE_MODES: Mapping[object, Literal["implicit", "explicit"]] = {
    "implicit": "implicit",
    "explicit": "explicit",
    "auto_last": "implicit",
}
_TIERS: Mapping[str, str] = {"standard": "default", "standard_only": "default"}


# Decoding.


def decode_request(body: JsonObject, *, model: str) -> Request:
    """Raises `InvalidRequest` naming the field."""
    fields = Fields(body, code=CODE)
    system, turns = decode_input(body.get("input"))
    instructions = fields.text("instructions")
    if instructions is not None:
        system = (Text(instructions, origin="instructions"), *system)
    cache = fields.inner("prompt_cache_options")
    include = fields.texts("include")
    return Request(
        format=NAME,
        model=model,
        system=system,
        turns=turns,
        tools=decode_tools(fields),
        tool_choice=decode_choice(fields),
        max_output=fields.integer("max_output_tokens"),
        max_hosted_calls=fields.integer("max_tool_calls"),
        sampling=Sampling(fields.number("temperature"), fields.number("top_p")),
        logprobs=_decode_logprobs(fields, include),
        output=_decode_output(fields.inner("text")),
        verbosity=fields.inner("text").text("verbosity"),
        reasoning=_decode_reasoning(fields),
        cache=CachePlan(
            _CACHE_MODES.get(cache.text("mode")),
            cache.text("ttl"),
            fields.text("prompt_cache_key"),
            fields.text("prompt_cache_retention"),
        ),
        state=State(
            fields.flag("store"),
            fields.text("previous_response_id"),
            body.get("conversation"),
            fields.flag("background"),
            fields.text("truncation"),
            body.get("context_management"),
            include,
        ),
        identity=Identity(fields.text("user"), fields.text("safety_identifier"), _decode_metadata(fields)),
        service=Service(fields.text("service_tier")),
        safety=Safety(moderation=fields.object("moderation")),
        stream=StreamOptions(
            bool(fields.flag("stream")), obfuscation=fields.inner("stream_options").flag("include_obfuscation")
        ),
        prompt_template=fields.object("prompt"),
        extras=extras(body, _MAPPED),
    )


def _decode_logprobs(fields: Fields, include: tuple[str, ...]) -> int | None:
    top = fields.integer("top_logprobs")
    return top if top else (0 if LOGPROBS in include else None)


def _decode_metadata(fields: Fields) -> Mapping[str, str] | None:
    metadata = fields.object("metadata")
    if metadata is not None and not all(isinstance(value, str) for value in metadata.values()):
        raise fields.wrong("metadata", "must be an object of strings")
    return metadata


def _decode_output(fields: Fields) -> OutputFormat | None:
    form = fields.inner("format")
    match form.text("type"):
        case None:
            return None
        case "text":
            return OutputFormat("text")
        case "json_object":
            return OutputFormat("json")
        case "json_schema":
            # the nested form of Chat Completions is taken for what it plainly means
            spec = form.inner("json_schema") if "json_schema" in form.value else form
            return OutputFormat(
                "schema", spec.text("name"), spec.object("schema"), spec.flag("strict"), spec.text("description")
            )
        case kind:
            raise form.wrong("type", f"{kind!r} is not known: use text, json_object or json_schema")


def _decode_reasoning(fields: Fields) -> ReasoningAsk | None:
    if fields.object("reasoning") is None:
        return None
    ask = fields.inner("reasoning")
    effort = ask.text("effort")
    return ReasoningAsk(
        on=None if effort is None else effort != "none",
        effort=effort,
        display=ask.text("summary") or ask.text("generate_summary"),
        context=ask.text("context"),
        mode=ask.text("mode"),
    )


# Encoding.


def encode_request(request: Request, target: Target) -> Encoded:
    """Raises `InvalidRequest` for what this format cannot say and nobody may leave out."""
    own = request.format == NAME
    if not own:
        _refuse(request)
    written = write(request, target)
    losses = written.losses
    losses.drop(*settings_lost(request, target))
    body: JsonObject = {"model": request.model}
    if written.instructions is not None:
        body["instructions"] = written.instructions
    if written.items or not own:
        body["input"] = written.items
    tools, restore = encode_tools(request, target, losses)
    body |= tools
    if request.output is not None and request.output.kind == "enum":
        restore = replace(restore, output=Emulation(wrapped=True))
    _images(request, body)
    reasoning, hidden = _reasoning(request, target, losses)
    allowed = _allowed(request, target, losses, (reasoning or {}).get("effort"))
    values = {
        "reasoning": reasoning,
        "text": _text(request, target, losses),
        **_limit(request, target, losses),
        "max_tool_calls": request.max_hosted_calls,
        "temperature": allowed.sampling.temperature,
        "top_p": allowed.sampling.top_p,
        "top_logprobs": allowed.logprobs or None,
        "metadata": _metadata(request),
        **_identity(request),
        **_cache(request, written, target),
        "service_tier": _tier(request.service.tier),
        "moderation": request.safety.moderation,
        **_state(request, losses),
    }
    body.update((name, value) for name, value in values.items() if value is not None)
    reasons = bool(reasoning) or written.reasoning
    include = _include(request, target, reasons=reasons, logprobs=allowed.logprobs is not None)
    if include:
        body["include"] = include
    _stream(request, target, body)
    return Encoded(merged(body, extras_of(request.extras)), losses.found(), (), restore or None, hidden)


def _refuse(request: Request) -> None:
    for path, what, value in (
        ("candidates", "more than one answer (n)", (request.candidates or 1) > 1),
        ("state.background", "background work", request.state.background),
        ("state.conversation", "a stored conversation", request.state.previous_id or request.state.conversation),
        ("prompt_template", "a prompt template", request.prompt_template),
        ("cache.resource", "a cached content", request.cache.resource),
        ("container", "a container", request.container),
        ("modalities", "sound as output", request.audio or "audio" in request.modalities),
        ("modalities", "video as output", "video" in request.modalities),
    ):
        if value:
            raise unsupported(what, client_field(request.format, path))


def _limit(request: Request, target: Target, losses: Losses) -> JsonObject:
    """The output limit, within what the API and the model take."""
    limit, most = request.max_output, target.rules.max_output
    if limit is None or request.format == NAME:
        return {"max_output_tokens": limit}
    if limit == 0:
        return {}  # only warms the cache
    if most is not None and limit > most:
        losses.emulate("max_output")
        limit = most
    return {"max_output_tokens": max(MIN_OUTPUT, limit)}


def _allowed(request: Request, target: Target, losses: Losses, effort: str | None) -> AllowedSampling:
    """What the model takes of the sampling settings."""
    if request.format == NAME:
        return AllowedSampling(request.sampling, logprobs=request.logprobs)
    allowed = allowed_sampling(
        request.sampling, (), target.rules, effort=effort, thinking=False, logprobs=request.logprobs
    )
    losses.drop(*allowed.dropped)
    return allowed


def _reasoning(request: Request, target: Target, losses: Losses) -> tuple[JsonObject | None, bool]:
    """The field, and whether the client is not to see what the model reasons all the same."""
    ask = request.reasoning
    if ask is None:
        return None, False
    if request.format == NAME:
        members = {"effort": ask.effort, "summary": ask.display, "context": ask.context, "mode": ask.mode}
        return {name: value for name, value in members.items() if value is not None}, False
    found = openai_effort(ask, target.rules)
    losses.drop(*found.dropped)
    members = {"effort": found.effort, "summary": found.summary, "context": ask.context, "mode": ask.mode}
    return {name: value for name, value in members.items() if value is not None} or None, found.hidden


def _text(request: Request, target: Target, losses: Losses) -> JsonObject | None:
    text: JsonObject = {}
    form = _format(request, target, losses)
    if form is not None:
        text["format"] = form
    if request.verbosity is not None:
        if "verbosity" in target.rules.refuses and request.format != NAME:
            losses.drop("verbosity")
        else:
            text["verbosity"] = request.verbosity
    return text or None


def _format(request: Request, target: Target, losses: Losses) -> JsonObject | None:
    output = request.output
    if output is None:
        return None
    if "output_format" in target.rules.refuses and request.format != NAME and output.kind != "text":
        losses.drop("output")
        return None
    match output.kind:
        case "text":
            return {"type": "text"} if request.format == NAME else None
        case "json":
            return {"type": "json_object"}
        case _:
            return _schema(request, output, losses)


def _schema(request: Request, output: OutputFormat, losses: Losses) -> JsonObject:
    form: JsonObject = {"type": "json_schema", "name": output.name or "response"}
    if output.description is not None:
        form["description"] = output.description
    schema, strict = output.schema or {}, output.strict
    if output.kind == "enum":
        losses.emulate("output")
        schema = {
            "type": "object",
            "properties": {"value": schema},
            "required": ["value"],
            "additionalProperties": False,
        }
        strict = True
    elif request.format not in (NAME, "openai_chat"):
        schema, strict = _qualified(schema, losses)
    form["schema"] = schema
    if strict is not None:
        form["strict"] = strict
    return form


def _qualified(schema: JsonObject, losses: Losses) -> tuple[JsonObject, bool]:
    """A schema that came without a word on strictness: held to where that is possible as it stands."""
    cleaned = clean(schema, "OS", where="output.schema")
    if cleaned.strict_possible and not cleaned.wrapped:
        losses.drop(*(f"output.schema.{name}" for name in cleaned.dropped))
        return cleaned.schema, True
    return clean(schema, "ON", where="output.schema").schema, False


def _images(request: Request, body: JsonObject) -> None:
    """Pictures as output are made by a tool."""
    if request.format == NAME or ("image" not in request.modalities and request.image is None):
        return
    image = request.image or ImageOut()
    members = {"size": image.size, "quality": image.quality, "output_format": image.format}
    tool: JsonObject = {"type": "image_generation"}
    tool |= {name: value for name, value in members.items() if value is not None}
    body["tools"] = [*body.get("tools", ()), tool]


def _metadata(request: Request) -> Mapping[str, str] | None:
    identity = request.identity
    return identity.metadata if identity.metadata is not None else identity.labels


def _identity(request: Request) -> JsonObject:
    identity = request.identity
    if request.format == NAME:
        return {"user": identity.end_user, "safety_identifier": identity.safety_id}
    user, safety = _short(identity.end_user), _short(identity.safety_id)
    if request.format == "anthropic_messages":  # one id, for what `user` was once for
        return {"safety_identifier": safety or user}
    return {"user": user, "safety_identifier": safety}


def _short(value: str | None) -> str | None:
    return None if value is None else value[:MAX_IDENTITY_CHARS]


def _cache(request: Request, written: Written, target: Target) -> JsonObject:
    cache, own = request.cache, request.format == NAME
    key = cache.key
    if key is None and request.format == "anthropic_messages":
        user = request.identity.end_user or request.identity.safety_id
        key = None if user is None else hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    options: JsonObject = {}
    mode = _CACHE_MODES.get(cache.mode)
    if mode is None and written.marks and not own:
        mode = "explicit"
    if mode is not None and (own or target.rules.cache_marks):
        options["mode"] = mode
    if cache.default_ttl is not None and (own or (cache.mode != "auto_last" and target.rules.cache_marks)):
        options["ttl"] = cache.default_ttl if own else ("30m" if cache.default_ttl in ("5m", "30m") else "12h")
    if request.max_output == 0 and not own:
        options["prewarm"] = True
    return {
        "prompt_cache_key": key,
        "prompt_cache_retention": cache.retention,
        "prompt_cache_options": options or None,
    }


def _tier(tier: str | None) -> str | None:
    return None if tier is None else _TIERS.get(tier, tier)


def _state(request: Request, losses: Losses) -> JsonObject:
    state = request.state
    if request.format != NAME:
        truncation = state.truncation
        return {"store": False, "truncation": truncation, "context_management": _context(state.context_edits, losses)}
    return {
        "store": state.store,
        "previous_response_id": state.previous_id,
        "conversation": state.conversation,
        "background": state.background,
        "truncation": state.truncation,
        "context_management": state.context_edits,
        "prompt": request.prompt_template,
    }


def _context(edits: Any, losses: Losses) -> list[JsonObject] | None:
    """Compaction as Anthropic asks for it; what it clears by rule has no counterpart."""
    if edits is None:
        return None
    entries = edits.get("edits") if isinstance(edits, dict) else edits
    written: list[JsonObject] = []
    for place, edit in enumerate(entries if isinstance(entries, list) else ()):
        kind = edit.get("type") if isinstance(edit, dict) else None
        if not isinstance(kind, str) or not kind.startswith("compact"):
            losses.drop(f"state.context_edits[{place}]")
            continue
        trigger = edit.get("trigger")
        value = trigger.get("value") if isinstance(trigger, dict) else edit.get("compact_threshold")
        written.append({"type": "compaction", **({"compact_threshold": value} if type(value) is int else {})})
    return written or None


def _include(request: Request, target: Target, *, reasons: bool, logprobs: bool) -> list[str]:
    if request.format == NAME:
        return list(request.state.include)
    include = []
    # Older models answer 400 to it; with nothing stored, reasoning would be lost without it.
    if reasons or target.rules.thinking not in ("unknown", "none"):
        include.append(ENCRYPTED)
    if logprobs:
        include.append(LOGPROBS)
    return include


def _stream(request: Request, target: Target, body: JsonObject) -> None:
    stream = request.stream
    if not stream.on:
        return
    body["stream"] = True
    obfuscation = stream.obfuscation
    if obfuscation is None and target.official and request.format != NAME:
        obfuscation = False  # padding against listeners that TLS hides from anyhow, and a third more bytes
    if obfuscation is not None:
        body["stream_options"] = {"include_obfuscation": obfuscation}
