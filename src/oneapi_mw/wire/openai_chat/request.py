"""Whole requests, to and from the canonical model.

A field is *mapped* when the canonical request has a place for its value; every other field travels in the extras
and comes back field for field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from oneapi_mw.canonical.blocks import Extras
from oneapi_mw.canonical.request import (
    AudioOut,
    CachePlan,
    Identity,
    Modality,
    OutputFormat,
    Request,
    Safety,
    Sampling,
    Service,
    State,
    StreamOptions,
)
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.openai_chat.asked import decode_ask, own_words, without_words
from oneapi_mw.wire.openai_chat.content import CODE, NAME, extras, extras_of
from oneapi_mw.wire.openai_chat.convert import convert_request
from oneapi_mw.wire.openai_chat.messages import decode_messages, encode_messages
from oneapi_mw.wire.openai_chat.tools import decode_choice, decode_tools, encode_own_tools
from oneapi_mw.wire.target import Target

_NUMBERS = (
    "temperature",
    "top_p",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
)
SAMPLING = (*_NUMBERS, "top_k", "seed", "logit_bias")
_MAPPED = mapped(
    *SAMPLING,
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "stop",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "stream",
    "modalities",
    "prediction",
    "web_search_options",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "store",
    "moderation",
    stream_options=mapped("include_usage", "include_obfuscation"),
    audio=mapped("voice", "format"),
    prompt_cache_options=mapped("mode", "ttl"),
    response_format=mapped("type", json_schema=mapped("name", "description", "schema", "strict")),
)
_CACHE_MODES: Mapping[object, Literal["implicit", "explicit"]] = {"implicit": "implicit", "explicit": "explicit"}
_MODALITIES: Mapping[str, Modality] = {"text": "text", "audio": "audio", "image": "image", "video": "video"}


# Decoding.


def decode_request(body: JsonObject, *, model: str) -> Request:
    """Raises `InvalidRequest` naming the field."""
    fields = Fields(body, code=CODE)
    reasoning = decode_ask(fields)
    system, turns = decode_messages([message.value for message in fields.objects("messages")])
    audio = fields.object("audio")
    cache = fields.inner("prompt_cache_options")
    return Request(
        format=NAME,
        model=model,
        system=system,
        turns=turns,
        tools=decode_tools(fields),
        tool_choice=decode_choice(fields),
        max_output=fields.integer("max_completion_tokens") or fields.integer("max_tokens") or None,
        sampling=decode_sampling(fields),
        stop=decode_stop(fields),
        candidates=fields.integer("n"),
        logprobs=_decode_logprobs(fields),
        output=_decode_output(fields),
        verbosity=fields.text("verbosity"),
        reasoning=reasoning,
        modalities=_decode_modalities(fields),
        audio=AudioOut(audio.get("voice"), fields.inner("audio").text("format")) if audio else None,
        cache=CachePlan(
            mode=_CACHE_MODES.get(cache.text("mode")),
            default_ttl=cache.text("ttl"),
            key=fields.text("prompt_cache_key"),
            retention=fields.text("prompt_cache_retention"),
        ),
        state=State(store=fields.flag("store")),
        identity=Identity(fields.text("user"), fields.text("safety_identifier"), _decode_metadata(fields)),
        service=Service(fields.text("service_tier")),
        safety=Safety(moderation=fields.object("moderation")),
        stream=decode_stream(fields),
        prediction=fields.object("prediction"),
        extras=_unread(extras(body, _MAPPED), own_words(reasoning)),
    )


def _unread(rest: Extras, words: Mapping[str, Any]) -> Extras:
    """Fields that nobody has read so far."""
    left = without_words(rest.get(NAME, {}), words)
    return {NAME: left} if left else {}


def decode_sampling(fields: Fields) -> Sampling:
    """Raises `InvalidRequest`, as its neighbours do."""
    bias = fields.object("logit_bias")
    if bias is not None and not all(type(value) in (int, float) for value in bias.values()):
        raise fields.wrong("logit_bias", "must be an object of token ids and numbers")
    numbers = {name: fields.number(name) for name in _NUMBERS}
    return Sampling(**numbers, top_k=fields.integer("top_k"), seed=fields.integer("seed"), logit_bias=bias)


def _decode_metadata(fields: Fields) -> Mapping[str, str] | None:
    metadata = fields.object("metadata")
    if metadata is not None and not all(isinstance(value, str) for value in metadata.values()):
        raise fields.wrong("metadata", "must be an object of strings")
    return metadata


def _decode_modalities(fields: Fields) -> tuple[Modality, ...]:
    names = fields.texts("modalities")
    if not all(name in _MODALITIES for name in names):
        raise fields.wrong("modalities", "must be a list of text, audio, image or video")
    return tuple(_MODALITIES[name] for name in names)


def decode_stop(fields: Fields) -> tuple[str, ...]:
    """Stop sequences, each once."""
    stop = fields.value.get("stop")
    stops = (stop,) if isinstance(stop, str) else fields.value.get("stop") or ()
    if not isinstance(stops, (list, tuple)) or not all(isinstance(entry, str) for entry in stops):
        raise fields.wrong("stop", "must be a string or a list of strings")
    return tuple(dict.fromkeys(entry for entry in stops if entry))


def _decode_logprobs(fields: Fields) -> int | None:
    top = fields.integer("top_logprobs")
    return (top or 0) if fields.flag("logprobs") else None


def decode_stream(fields: Fields) -> StreamOptions:
    """Whether and how the answer streams."""
    options = fields.inner("stream_options")
    return StreamOptions(
        bool(fields.flag("stream")), options.flag("include_usage"), options.flag("include_obfuscation")
    )


def _decode_output(fields: Fields) -> OutputFormat | None:
    form = fields.inner("response_format")
    match form.text("type"):
        case None:
            return None
        case "text":
            return OutputFormat("text")
        case "json_object":
            return OutputFormat("json")
        case "json_schema":
            spec = form.inner("json_schema")
            return OutputFormat(
                "schema", spec.text("name"), spec.object("schema"), spec.flag("strict"), spec.text("description")
            )
        case kind:
            raise form.wrong("type", f"{kind!r} is not known: use text, json_object or json_schema")


# Encoding.


def encode_request(request: Request, target: Target) -> Encoded:
    """A request that came in this format goes back as it was, any other one as `target` takes it.

    Raises: `InvalidRequest` for what cannot be said there and nobody may leave out.
    """
    return Encoded(_own_body(request)) if request.format == NAME else convert_request(request, target)


def _own_body(request: Request) -> JsonObject:
    body: JsonObject = {"model": request.model, "messages": encode_messages(request.system, request.turns)}
    encode_own_tools(request, body)
    values = {
        "max_completion_tokens": request.max_output,
        **{name: getattr(request.sampling, name) for name in SAMPLING},
        "stop": list(request.stop) or None,
        "n": request.candidates,
        "verbosity": request.verbosity,
        **own_words(request.reasoning),
        "response_format": _encode_output(request.output),
        "modalities": list(request.modalities) or None,
        "audio": _encode_audio(request.audio),
        "prediction": request.prediction,
        "metadata": request.identity.metadata,
        "user": request.identity.end_user,
        "safety_identifier": request.identity.safety_id,
        "prompt_cache_key": request.cache.key,
        "prompt_cache_options": _encode_cache(request.cache),
        "prompt_cache_retention": request.cache.retention,
        "service_tier": request.service.tier,
        "store": request.state.store,
        "moderation": request.safety.moderation,
    }
    body.update((name, value) for name, value in values.items() if value is not None)
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    _encode_stream(request.stream, body)
    return merged(body, extras_of(request.extras))


def _encode_cache(cache: CachePlan) -> JsonObject | None:
    members = {"mode": _CACHE_MODES.get(cache.mode), "ttl": cache.default_ttl if cache.mode != "auto_last" else None}
    return {name: value for name, value in members.items() if value is not None} or None


def _encode_stream(stream: StreamOptions, body: JsonObject) -> None:
    if not stream.on:
        return
    body["stream"] = True
    options = {"include_usage": stream.include_usage, "include_obfuscation": stream.obfuscation}
    options = {name: value for name, value in options.items() if value is not None}
    if options:
        body["stream_options"] = options


def _encode_output(output: OutputFormat | None) -> JsonObject | None:
    if output is None:
        return None
    if output.kind == "text":
        return {"type": "text"}
    if output.kind == "json":
        return {"type": "json_object"}
    spec: JsonObject = {"name": output.name or "response"}
    for name, value in (("description", output.description), ("schema", output.schema), ("strict", output.strict)):
        if value is not None:
            spec[name] = value
    return {"type": "json_schema", "json_schema": spec}


def _encode_audio(audio: AudioOut | None) -> JsonObject | None:
    if audio is None:
        return None
    members = {"voice": audio.voice, "format": audio.format}
    return {name: value for name, value in members.items() if value is not None}
