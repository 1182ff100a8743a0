"""Requests of other formats as bodies of this one, for the model and the host they go to."""

from __future__ import annotations

import re
from dataclasses import replace

from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.request import OutputFormat, ReasoningAsk, Request
from oneapi_mw.immutable import immutable
from oneapi_mw.models.depth import Wanted, wanted_of
from oneapi_mw.models.effort import openai_effort
from oneapi_mw.models.hosts import HostReasoning, provider_effort
from oneapi_mw.models.sampling import allowed_sampling
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import OPENAI_NAMES, NameMap, tool_names
from oneapi_mw.wire.openai_chat.content import extras_of
from oneapi_mw.wire.openai_chat.history import MessagesWriter
from oneapi_mw.wire.openai_chat.hosts import Host, host_of, must_stream
from oneapi_mw.wire.openai_chat.losses import refuse_settings, settings_lost
from oneapi_mw.wire.openai_chat.tools import ToolsWriter, is_forced
from oneapi_mw.wire.restore import restoration_of_tools
from oneapi_mw.wire.schema import ANY_OBJECT, Emulation, clean, instruction, wrap
from oneapi_mw.wire.target import Target

MAX_STOPS = 4
MAX_LOGPROBS = 20
MAX_IDENTITY_CHARS = 64
_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "logit_bias")
_SAMPLERS = {"top_k": None, "min_p": 0, "repetition_penalty": 1}
"""What only some hosts take, with the value that says nothing."""
_TIERS = {"standard": "default", "standard_only": "default"}
_KNOWN_TIERS = ("flex", "scale", "priority", "fast")
_PATHS = {
    "user": "identity.end_user",
    "parallel_tool_calls": "tool_choice.parallel",
}
"""Field of the body -> canonical path, where they differ."""
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME_CHARS = 64
_VOICE, _SOUND = "alloy", "pcm16"
"""What is asked for where the client named none: this format needs both."""


def convert_request(request: Request, target: Target) -> Encoded:
    """Raises `InvalidRequest` for what this target cannot be told and nobody may leave out."""
    return _Converter(request, target).encoded()


@immutable
class _Reasoning:
    """How the target is asked to reason."""

    fields: JsonObject
    effort: str | None
    """What it works with, as far as sampling depends on it; `none` also where another field switches reasoning off."""
    on: bool
    """Whether a field switches it on."""
    relax_choice: bool
    """The model cannot be forced to call a tool."""
    hidden: bool
    """The client wants none and gets some all the same: its text shall not be shown."""


@immutable
class _Output:
    """How the form of the answer is asked for."""

    format: JsonObject | None = None
    sentence: str | None = None
    emulation: Emulation | None = None


class _Converter:
    """Writes one request for one target."""

    def __init__(self, request: Request, target: Target) -> None:
        self._request = request
        self._target = target
        self._host: Host = host_of(target)
        self._rules = target.rules
        self._openai = self._host.openai or target.rules.family == "openai"
        self._losses = Losses()

    def encoded(self) -> Encoded:
        request, host, losses = self._request, self._host, self._losses
        refuse_settings(request, host)
        losses.drop(*settings_lost(request, host))
        names = NameMap(tool_names(request), OPENAI_NAMES)
        reasoning = self._reasoning()
        declared = ToolsWriter(request, self._target, host, names, losses).declared(relax_choice=reasoning.relax_choice)
        output = self._output(tools=bool(declared.tools))
        writer = MessagesWriter(request, self._target, host, names, declared, losses)
        sentences = [sentence for sentence in (declared.sentence, output.sentence) if sentence]
        body: JsonObject = {"model": request.model, "messages": writer.messages(sentences), **declared.fields()}
        body |= reasoning.fields
        values = {
            **self._limit(),
            **self._sampling(reasoning),
            "n": request.candidates if (request.candidates or 1) > 1 else None,
            "response_format": output.format,
            "verbosity": self._verbosity(),
            **self._modalities(),
            "prediction": request.prediction,
            **self._identity(),
            **self._of_openai(marks=host.openai and writer.marks > 0),
            **self._stream(on=request.stream.on or must_stream(body, self._target)),
        }
        body.update((name, value) for name, value in values.items() if value is not None)
        self._remove_refused(body)
        restore = restoration_of_tools(request, names, wrapped=declared.wrapped, custom=not host.openai)
        restore = replace(restore, output=output.emulation)
        body = merged(body, extras_of(request.extras))
        return Encoded(body, losses.found(), (), restore or None, reasoning.hidden)

    def _remove_refused(self, body: JsonObject) -> None:
        for name in sorted(self._host.refuses & body.keys()):
            self._losses.drop(_PATHS.get(name, name))
            del body[name]
            if name == "logprobs":
                body.pop("top_logprobs", None)

    # Reasoning.

    def _reasoning(self) -> _Reasoning:
        ask, relax = self._unforced()
        want = wanted_of(ask)
        if self._host.openai:
            said = openai_effort(ask, self._rules)
            fields: JsonObject = {"reasoning_effort": said.effort} if said.effort else {}
            found = HostReasoning(fields, said.dropped, said.hidden)
        else:
            found = provider_effort(self._target.provider, ask, self._rules)
        self._losses.drop(*found.dropped)
        fields = dict(found.fields)
        if self._rules.tools_need_effort_none and self._request.tools and "none" in self._rules.efforts:
            if want.on:
                self._losses.drop("reasoning_effort")
            fields["reasoning_effort"], want = "none", Wanted(off=True)
        effort = fields.get("reasoning_effort")
        effort = effort if isinstance(effort, str) else None
        if want.off and not found.hidden:
            effort = "none"
        hidden = effort != "none" and found.hidden and wanted_of(self._request.reasoning).off
        return _Reasoning(fields, effort, want.on and bool(fields), relax, hidden)

    def _unforced(self) -> tuple[ReasoningAsk | None, bool]:
        """What is asked of the model's reasoning, and whether a forced tool gives way to it: a tool the client insists
        on comes before reasoning nobody asked for by name."""
        ask, rules = self._request.reasoning, self._rules
        if not is_forced(self._request) or rules.forced_tool == "yes":
            return ask, False
        want = wanted_of(ask)
        if rules.forced_tool == "no":
            return ask, True
        if want.off or not (want.on or rules.thinks_unasked):
            return ask, False
        if want.explicit or rules.thinking_off == "lowest":
            return ask, True
        if want.on:
            self._losses.drop("thinking")
        return ReasoningAsk(on=False), False

    # The form of the answer.

    def _output(self, *, tools: bool) -> _Output:
        output, rules = self._request.output, self._rules
        if output is None or output.kind == "text":
            return _Output()
        taken = rules.structured != "none" and "output_format" not in rules.refuses
        plain = taken and (rules.structured_with_tools or not tools)
        if output.kind == "json" or output.schema is None:
            if plain:
                return _Output({"type": "json_object"}, None if self._names_json() else ANY_OBJECT)
            self._losses.emulate("output")
            return _Output(None, ANY_OBJECT, Emulation(fenced=True))
        wrapped = output.kind == "enum"
        if wrapped:
            self._losses.emulate("output")
            output = replace(output, schema=wrap(output.schema))
        if taken and rules.structured == "native":
            return _Output(self._schema(output), None, Emulation(wrapped=True) if wrapped else None)
        self._losses.emulate("output")
        form: JsonObject | None = {"type": "json_object"} if plain else None
        return _Output(form, instruction(output.schema), Emulation(wrapped=wrapped, fenced=True))

    def _names_json(self) -> bool:
        """Whether the word that JSON mode demands is in what every later request of the conversation begins with."""
        turns = self._request.turns[:1]
        texts = [*self._request.system, *(block for turn in turns for block in turn.blocks)]
        return any("json" in text.text.lower() for text in texts if isinstance(text, Text))

    def _schema(self, output: OutputFormat) -> JsonObject:
        name = _ILLEGAL.sub("_", output.name or "response")[:_MAX_NAME_CHARS]
        spec: JsonObject = {"name": name}
        if output.description is not None:
            spec["description"] = output.description
        schema, strict = output.schema or {}, output.strict
        if not self._openai:
            cleaned = clean(schema, "ON", where="output.schema")
            schema = cleaned.schema
        elif self._request.format != "openai_responses" and output.strict is None:
            schema, strict = self._qualified(schema)
        spec["schema"] = schema
        if strict is not None:
            spec["strict"] = strict
        return {"type": "json_schema", "json_schema": spec}

    def _qualified(self, schema: JsonObject) -> tuple[JsonObject, bool]:
        """A schema that came without a word on strictness: held to where that is possible as it stands."""
        cleaned = clean(schema, "OS", where="output.schema")
        if cleaned.strict_possible and not cleaned.wrapped:
            self._losses.drop(*(f"output.schema.{keyword}" for keyword in cleaned.dropped))
            return cleaned.schema, True
        return clean(schema, "ON", where="output.schema").schema, False

    # Settings.

    def _limit(self) -> JsonObject:
        """The output limit under the name the host knows, within what the model gives. None is invented."""
        limit, most = self._request.max_output, self._rules.max_output
        if limit is None:
            return {}
        if most is not None and limit > most:
            self._losses.emulate("max_output")
            limit = most
        return {self._host.limit or self._rules.output_limit: limit}

    def _sampling(self, reasoning: _Reasoning) -> JsonObject:
        request, losses = self._request, self._losses
        allowed = allowed_sampling(
            request.sampling,
            () if "stop" in self._rules.refuses else request.stop,
            self._rules,
            effort=reasoning.effort,
            thinking=reasoning.on,
            logprobs=request.logprobs,
        )
        losses.drop(*allowed.dropped)
        fields: JsonObject = {name: getattr(allowed.sampling, name) for name in _NUMBERS}
        for name, neutral in _SAMPLERS.items():
            value = getattr(allowed.sampling, name)
            if name in self._host.samplers:
                fields[name] = value
            elif value is not None and value != neutral:
                losses.drop(name)
        if allowed.logprobs is not None:
            fields["logprobs"] = True
            fields["top_logprobs"] = min(allowed.logprobs, MAX_LOGPROBS) or None
        fields["stop"] = self._stop(allowed.stop)
        return fields

    def _stop(self, stop: tuple[str, ...]) -> list[str] | None:
        if self._request.stop and "stop" in self._rules.refuses:
            # Named so, the gateway cuts the answer itself.
            if self._target.options.emulate_stop:
                self._losses.emulate("stop")
            else:
                self._losses.drop("stop")
            return None
        if len(stop) > MAX_STOPS:
            self._losses.drop("stop")
        return list(stop[:MAX_STOPS]) or None

    def _verbosity(self) -> str | None:
        verbosity = self._request.verbosity
        if verbosity is None or (self._openai and "verbosity" not in self._rules.refuses):
            return verbosity
        if verbosity != "medium":
            self._losses.drop("verbosity")
        return None

    def _modalities(self) -> JsonObject:
        request, audio = self._request, self._request.audio
        if "audio" not in request.modalities:
            return {"modalities": ["image", "text"]} if "image" in request.modalities else {}
        voice = audio.voice if audio is not None else None
        if voice is not None and not isinstance(voice, str) and not self._openai:
            self._losses.drop("audio.voice")
            voice = None
        form = audio.format if audio is not None else None
        return {"modalities": ["text", "audio"], "audio": {"voice": voice or _VOICE, "format": form or _SOUND}}

    def _identity(self) -> JsonObject:
        identity = self._request.identity
        user, safety = _short(identity.end_user), _short(identity.safety_id)
        fields: JsonObject = (
            {"user": user, "safety_identifier": safety} if self._host.openai else {"user": user or safety}
        )
        if identity.metadata and self._host.openai and self._request.state.store:
            fields["metadata"] = identity.metadata  # accepted with what is stored only
        elif identity.metadata:
            self._losses.drop("identity.metadata")
        return fields

    def _of_openai(self, *, marks: bool) -> JsonObject:
        """What only OpenAI has: storage, moderation, the cache, tiers."""
        request, cache = self._request, self._request.cache
        tier = request.service.tier
        tier = _TIERS.get(tier, tier) if tier is not None else None
        if tier is not None and not (self._host.openai and tier in _KNOWN_TIERS):
            if tier not in ("auto", "default"):
                self._losses.drop("service.tier")
            # A word for the ordinary one is worth saying only where there are others.
            tier = tier if tier == "default" and self._host.openai else None
        if not self._host.openai:
            return {}
        options: JsonObject = {}
        if self._rules.cache_marks:
            mode = "explicit" if marks and cache.mode is None else cache.mode
            if mode is not None:
                options["mode"] = "implicit" if mode == "auto_last" else mode
            if cache.default_ttl is not None and cache.mode != "auto_last":
                options["ttl"] = "30m"
        return {
            "store": request.state.store or None,
            "moderation": request.safety.moderation,
            "prompt_cache_key": cache.key,
            "prompt_cache_options": options or None,
            "prompt_cache_retention": cache.retention,
            "service_tier": tier,
        }

    def _stream(self, *, on: bool) -> JsonObject:
        stream = self._request.stream
        if not on:
            return {}
        fields: JsonObject = {"stream": True}
        if self._host.usage_in_streams:
            fields["stream_options"] = {"include_usage": True}
            if self._host.openai:
                # Padding against listeners that TLS hides from anyhow, and a third more bytes.
                fields["stream_options"]["include_obfuscation"] = bool(stream.obfuscation)
        return fields


def _short(value: str | None) -> str | None:
    return value[:MAX_IDENTITY_CHARS] if value else None
