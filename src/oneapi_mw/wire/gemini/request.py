"""Whole requests, to and from the canonical model.

A field is *mapped* when the canonical request has a place for its value; every other field travels in the extras
and comes back field for field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.request import (
    AudioOut,
    CachePlan,
    Identity,
    ImageOut,
    Modality,
    OutputFormat,
    ReasoningAsk,
    Request,
    Safety,
    Sampling,
    Service,
    StreamOptions,
)
from oneapi_mw.models.effort import gemini_thinking
from oneapi_mw.models.sampling import allowed_sampling
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.gemini.call import count_request
from oneapi_mw.wire.gemini.content import CODE, NAME, SCHEMAS, camelised, extras, extras_of
from oneapi_mw.wire.gemini.contents import ContentsWriter
from oneapi_mw.wire.gemini.history import decode_system, decode_turns
from oneapi_mw.wire.gemini.losses import note_settings, refuse_settings
from oneapi_mw.wire.gemini.tools import CHOICE, Declared, ToolsWriter, decode_choice, decode_tools
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import GEMINI_NAMES, NameMap, tool_names
from oneapi_mw.wire.restore import restoration_of_tools
from oneapi_mw.wire.schema import ANY_OBJECT, Emulation, clean, from_openapi, instruction, wrap
from oneapi_mw.wire.target import Target

MAX_STOPS = 5
MAX_CANDIDATES = 8
_JSON = "application/json"
_ENUM = "text/x.enum"

_CONFIG = mapped(
    "temperature",
    "topP",
    "topK",
    "maxOutputTokens",
    "stopSequences",
    "candidateCount",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    speechConfig=mapped("voiceConfig", "multiSpeakerVoiceConfig", "languageCode"),
    imageConfig=mapped("aspectRatio", "imageSize"),
    thinkingConfig=mapped("thinkingBudget", "thinkingLevel", "includeThoughts"),
)
_MAPPED = mapped(
    "model",
    "contents",
    "systemInstruction",
    "tools",
    "safetySettings",
    "cachedContent",
    "labels",
    "serviceTier",
    generationConfig=_CONFIG,
    toolConfig=CHOICE,
)
_NUMBERS = {
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_MODALITIES: Mapping[str, Modality] = {"TEXT": "text", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}
_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY")
_TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}
_TIERS_BACK = {
    "default": "standard",
    "standard": "standard",
    "standard_only": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
_LABEL = re.compile(r"[^a-z0-9_-]")
_LABEL_CHARS = 63


# Decoding.


def decode_request(call: Call) -> Request:
    """Raises `InvalidRequest` naming the field."""
    body = camelised(count_request(call.body) if call.operation == "count_tokens" else call.body)
    fields = Fields(body, code=CODE)
    config = fields.inner("generationConfig")
    tier = fields.text("serviceTier")
    rest = dict(extras(body, _MAPPED))
    if isinstance(schema := config.value.get("responseSchema"), dict):
        rest[SCHEMAS] = {"responseSchema": schema}
    return Request(
        format=NAME,
        model=call.model,
        system=decode_system(fields),
        turns=decode_turns(fields),
        tools=decode_tools(fields),
        tool_choice=decode_choice(fields),
        max_output=config.integer("maxOutputTokens") or None,
        sampling=_decode_sampling(config),
        stop=tuple(dict.fromkeys(entry for entry in config.texts("stopSequences") if entry)),
        candidates=config.integer("candidateCount"),
        logprobs=(config.integer("logprobs") or 0) if config.flag("responseLogprobs") else None,
        output=_decode_output(config),
        reasoning=_decode_reasoning(config.inner("thinkingConfig")),
        modalities=_decode_modalities(config),
        audio=_decode_audio(config),
        image=_decode_image(config),
        cache=CachePlan(resource=fields.text("cachedContent")),
        identity=Identity(labels=fields.object("labels")),
        service=Service(_TIERS.get(tier.lower(), tier.lower()) if tier is not None else None),
        safety=Safety(settings=fields.value.get("safetySettings")),
        stream=StreamOptions(call.stream),
        extras=rest,
    )


def _decode_sampling(config: Fields) -> Sampling:
    top_k = config.number("topK")
    return Sampling(
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=None if top_k is None else int(top_k),
        frequency_penalty=config.number("frequencyPenalty"),
        presence_penalty=config.number("presencePenalty"),
        seed=config.integer("seed"),
    )


def _decode_output(config: Fields) -> OutputFormat | None:
    kind = config.text("responseMimeType")
    json, openapi = config.object("responseJsonSchema"), config.object("responseSchema")
    schema = json if json is not None else from_openapi(openapi)
    if kind == _ENUM:
        return OutputFormat("enum", schema=schema)
    if schema is not None:
        return OutputFormat("schema", schema=schema)
    if kind is None:
        return None
    return OutputFormat("json" if kind == _JSON else "text")


def _decode_reasoning(config: Fields) -> ReasoningAsk | None:
    budget, level, shown = (
        config.integer("thinkingBudget"),
        config.text("thinkingLevel"),
        config.flag("includeThoughts"),
    )
    if budget is None and level is None and shown is None:
        return None
    on = None
    if budget is not None:
        on = budget != 0
    elif level is not None:
        on = True
    return ReasoningAsk(
        on=on,
        effort=level.lower().removeprefix("thinking_level_") if level is not None else None,
        budget=budget,
        display=None if shown is None else ("summarized" if shown else "omitted"),
    )


def _decode_modalities(config: Fields) -> tuple[Modality, ...]:
    names = [name.upper() for name in config.texts("responseModalities")]
    if not all(name in _MODALITIES for name in names):
        raise config.wrong("responseModalities", "must be a list of TEXT, IMAGE, AUDIO or VIDEO")
    return tuple(_MODALITIES[name] for name in names)


def _decode_audio(config: Fields) -> AudioOut | None:
    speech = config.object("speechConfig")
    if speech is None:
        return None
    fields = config.inner("speechConfig")
    voice = fields.inner("voiceConfig")
    name = voice.inner("prebuiltVoiceConfig").text("voiceName")
    speakers = fields.inner("multiSpeakerVoiceConfig").entries("speakerVoiceConfigs")
    return AudioOut(
        name if name is not None else voice.value or None,
        speakers=tuple(speakers),
        language=fields.text("languageCode"),
    )


def _decode_image(config: Fields) -> ImageOut | None:
    if config.object("imageConfig") is None:
        return None
    image = config.inner("imageConfig")
    return ImageOut(image.text("imageSize"), image.text("aspectRatio"))


# Encoding.


def encode_request(request: Request, target: Target) -> Encoded:
    """Raises `InvalidRequest` for what this format cannot say and nobody may leave out."""
    return _RequestWriter(request, target).encoded()


class _RequestWriter:
    """Writes one request for one target."""

    def __init__(self, request: Request, target: Target) -> None:
        self._request = request
        self._target = target
        self._native = request.format == NAME
        self._losses = Losses()
        self._config: JsonObject = {}
        self._hidden = False

    def encoded(self) -> Encoded:
        request, target, losses = self._request, self._target, self._losses
        if not self._native:
            refuse_settings(request)
            note_settings(request, target, losses)
        names = NameMap(tool_names(request), GEMINI_NAMES)
        declared = ToolsWriter(request, target, names, losses).declared()
        sentence, emulation = self._output(declared)
        contents = ContentsWriter(request, target, names, losses)
        system = contents.system()
        if sentence is not None:
            system.append({"text": sentence})
        body = self._with_contents(contents, system)
        if declared.tools:
            body["tools"] = declared.tools
        if declared.config:
            body["toolConfig"] = declared.config
        self._settings(contents.resolution())
        self._thinking()
        self._modalities(declared)
        if self._config:
            body["generationConfig"] = self._config
        self._beside(body)
        restore = restoration_of_tools(request, names, wrapped=declared.wrapped)
        restore = replace(restore, output=emulation)
        return Encoded(merged(body, extras_of(request.extras)), losses.found(), (), restore or None, self._hidden)

    def _with_contents(self, contents: ContentsWriter, system: list[JsonObject]) -> JsonObject:
        if not system:
            return {"contents": contents.contents()}
        if not self._native and ("system" in self._target.rules.refuses or not self._request.turns):
            self._losses.emulate("system")
            if not self._request.turns:
                return {"contents": [{"role": "user", "parts": system}]}
            return {"contents": contents.contents(system)}
        return {"systemInstruction": {"parts": system}, "contents": contents.contents()}

    # The form of the answer.

    def _output(self, declared: Declared) -> tuple[str | None, Emulation | None]:
        """Put it into the settings; returns a sentence where it can only be asked for, and what that takes to undo."""
        output, rules = self._request.output, self._target.rules
        if output is None or output.kind == "text":
            if output is not None and self._native:
                self._config["responseMimeType"] = "text/plain"
            return None, None
        if self._native:
            self._put_output(output)
            return None, None
        schema = output.schema if output.kind != "json" else None
        if schema is not None and output.description and "description" not in schema:
            schema = {**schema, "description": output.description}
        taken = rules.structured != "none" and "output_format" not in rules.refuses
        beside = bool(declared.tools) and not rules.structured_with_tools
        if taken and not beside:
            if schema is None:
                self._config["responseMimeType"] = _JSON
                return None, None
            if rules.structured == "native":
                self._put_output(replace(output, schema=schema))
                return None, None
            self._config["responseMimeType"] = _JSON
        self._losses.emulate("output")
        if schema is None:
            return ANY_OBJECT, Emulation(fenced=True)
        wrapped = output.kind == "enum"
        return instruction(wrap(schema) if wrapped else schema), Emulation(wrapped=wrapped, fenced=True)

    def _put_output(self, output: OutputFormat) -> None:
        schema, own = output.schema, self._request.extras.get(SCHEMAS, {}).get("responseSchema")
        self._config["responseMimeType"] = _ENUM if output.kind == "enum" else _JSON
        if schema is None:
            return
        asked = self._target.options.gemini_schema
        dialect = self._target.rules.output_schema if asked == "auto" else asked
        if own is not None and (self._native or dialect == "openapi"):
            self._config["responseSchema"] = own
        elif self._native:
            self._config["responseJsonSchema"] = schema
        elif dialect == "openapi" or output.kind == "enum":
            vertex = self._target.platform == "vertex"
            self._config["responseSchema"] = clean(schema, "GS", where="output.schema", vertex=vertex).schema
        else:
            self._config["responseJsonSchema"] = clean(schema, "GJ", where="output.schema").schema

    # `generationConfig`.

    def _settings(self, resolution: str | None) -> None:
        request, config, losses = self._request, self._config, self._losses
        sampling, stop, logprobs = request.sampling, request.stop, request.logprobs
        if not self._native:
            allowed = allowed_sampling(
                sampling, stop, self._target.rules, effort=None, thinking=False, logprobs=logprobs
            )
            losses.drop(*allowed.dropped)
            sampling, stop, logprobs = _in_range(allowed.sampling, losses), allowed.stop, allowed.logprobs
            if len(stop) > MAX_STOPS:
                losses.drop("stop")
                stop = stop[:MAX_STOPS]
        values = {
            **{field: getattr(sampling, name) for name, field in _NUMBERS.items()},
            "topK": sampling.top_k,
            "seed": sampling.seed if sampling.seed is None or self._native else _int32(sampling.seed),
            "maxOutputTokens": self._limit(),
            "stopSequences": list(stop) or None,
            "candidateCount": self._count(),
            "mediaResolution": resolution,
        }
        config.update((name, value) for name, value in values.items() if value is not None)
        if logprobs is not None:
            config["responseLogprobs"] = True
            if logprobs:
                config["logprobs"] = min(logprobs, 20)

    def _limit(self) -> int | None:
        limit, most = self._request.max_output, self._target.rules.max_output
        if limit is not None and most is not None and limit > most and not self._native:
            self._losses.emulate("max_output")
            return most
        return limit

    def _count(self) -> int | None:
        count = self._request.candidates
        if count is None or self._native:
            return count
        if count > 1 and "n" in self._target.rules.refuses:
            self._losses.drop("candidates")
            return None
        return min(count, MAX_CANDIDATES) if count > 1 else None

    def _thinking(self) -> None:
        ask = self._request.reasoning
        if self._native:
            if ask is not None:
                self._config["thinkingConfig"] = _asked_literally(ask)
            return
        found = gemini_thinking(ask, self._target.rules)
        self._losses.drop(*found.dropped)
        self._hidden = found.hidden
        if found.config is not None:
            self._config["thinkingConfig"] = found.config

    def _modalities(self, declared: Declared) -> None:
        request, config = self._request, self._config
        names = list(request.modalities)
        if not self._native and "audio" in names:
            names = ["audio"]  # this format has its words as a transcript only
        if not self._native and (declared.images or "image" in names):
            names = ["text", "image"]
        if not names and not self._native and self._target.rules.modalities:
            names = [name for name in _MODALITIES.values() if name in self._target.rules.modalities]
        if names and (self._native or names != ["text"]):
            config["responseModalities"] = [name.upper() for name in names]
        if request.audio is not None:
            speech = self._speech(request.audio)
            if speech or self._native:
                config["speechConfig"] = speech
        if request.image is not None:
            members = {"aspectRatio": request.image.aspect, "imageSize": request.image.size}
            image = {name: value for name, value in members.items() if value is not None}
            if image or self._native:
                config["imageConfig"] = image

    def _speech(self, audio: AudioOut) -> JsonObject:
        speech: JsonObject = {}
        if isinstance(audio.voice, str):
            speech["voiceConfig"] = {"prebuiltVoiceConfig": {"voiceName": audio.voice}}
        elif audio.voice is not None and self._native:
            speech["voiceConfig"] = audio.voice
        elif audio.voice is not None:
            self._losses.drop("audio.voice")
        if audio.speakers:
            speech["multiSpeakerVoiceConfig"] = {"speakerVoiceConfigs": list(audio.speakers)}
        if audio.language is not None:
            speech["languageCode"] = audio.language
        return speech

    # Fields beside it.

    def _beside(self, body: JsonObject) -> None:
        request, target = self._request, self._target
        settings = request.safety.settings
        if settings is None and target.options.gemini_safety and not self._native:
            settings = [
                {"category": f"HARM_CATEGORY_{name}", "threshold": target.options.gemini_safety} for name in _CATEGORIES
            ]
        labels = request.identity.labels
        if labels is None and target.platform == "vertex" and request.identity.metadata:
            labels = {_label(name): _label(value) for name, value in request.identity.metadata.items()}
        tier = request.service.tier
        for name, value in (
            ("safetySettings", settings),
            ("cachedContent", request.cache.resource),
            ("labels", labels),
            ("serviceTier", _TIERS_BACK.get(tier, tier if self._native else None) if tier is not None else None),
        ):
            if value is not None:
                body[name] = value


def _asked_literally(ask: ReasoningAsk) -> JsonObject:
    """What a client of this format said, word for word."""
    found = {
        "thinkingBudget": ask.budget,
        "thinkingLevel": ask.effort.upper() if ask.effort is not None else None,
        "includeThoughts": None if ask.display is None else ask.display == "summarized",
    }
    return {name: value for name, value in found.items() if value is not None}


def _in_range(sampling: Sampling, losses: Losses) -> Sampling:
    """`topP` is more than 0 and at most 1; neutral penalties say nothing."""
    changes: dict[str, Any] = {}
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        losses.drop("top_p")
        changes["top_p"] = None
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(sampling, name) == 0:
            changes[name] = None
    return replace(sampling, **changes) if changes else sampling


def _int32(seed: int) -> int:
    return seed if -(2**31) <= seed < 2**31 else seed % 2**31


def _label(text: str) -> str:
    return _LABEL.sub("_", text.lower())[:_LABEL_CHARS]
