"""Whole requests, to and from the canonical model.

A field is *mapped* when the canonical request has a place for its value; every other field travels in the extras
and comes back field for field.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.request import (
    CachePlan,
    Identity,
    OutputFormat,
    ReasoningAsk,
    Request,
    Sampling,
    Service,
    State,
    StreamOptions,
)
from oneapi_mw.immutable import immutable
from oneapi_mw.models.depth import wanted_of
from oneapi_mw.models.effort import ClaudeThinking, claude_thinking, default_output
from oneapi_mw.models.sampling import allowed_sampling
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.anthropic_messages.betas import accepted, needed
from oneapi_mw.wire.anthropic_messages.blocks import BlockWriter, cache_control, headers_of, limit_marks, plain
from oneapi_mw.wire.anthropic_messages.call import client_betas
from oneapi_mw.wire.anthropic_messages.content import CODE, NAME, VENDOR, cache_mark, extras, extras_of
from oneapi_mw.wire.anthropic_messages.losses import note_settings, refuse_settings
from oneapi_mw.wire.anthropic_messages.messages import (
    MessagesWriter,
    Thinking,
    decode_system,
    decode_turns,
    loop_lacks_thinking,
)
from oneapi_mw.wire.anthropic_messages.tools import (
    Declared,
    ToolsWriter,
    decode_choice,
    decode_tools,
    is_forced,
    must_call,
)
from oneapi_mw.wire.base import Encoded
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import ANTHROPIC_NAMES, BEDROCK_NAMES, NameMap, tool_names
from oneapi_mw.wire.restore import Restoration, restoration_of_tools
from oneapi_mw.wire.schema import ANY_OBJECT, Emulation, clean, instruction, json_tool_name, object_root, wrap
from oneapi_mw.wire.target import Target

_MAPPED = mapped(
    "model",
    "messages",
    "system",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "stop",
    "stream",
    "tools",
    "tool_choice",
    "mcp_servers",
    "cache_control",
    "service_tier",
    "speed",
    "inference_geo",
    "container",
    "context_management",
    "thread",
    metadata=mapped("user_id"),
    thinking=mapped("budget_tokens", "display"),
    output_config=mapped("effort", format=mapped("type", "schema")),
    output_format=mapped("type", "schema"),
)
_OFF = ("disabled", "between_tools")
_TIERS = {"auto": "auto", "standard_only": "default"}
_TIERS_BACK = {
    "auto": "auto",
    "default": "standard_only",
    "standard": "standard_only",
    "standard_only": "standard_only",
    "priority": "auto",
    "fast": "auto",
}
_COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "mcp_servers",
    "context_management",
)
"""What a body of `count_tokens` may hold."""


# Decoding.


def decode_request(call: Call) -> Request:
    """Raises `InvalidRequest` naming the field."""
    body = call.body
    fields = Fields(body, code=CODE)
    mark = cache_mark(body)
    user = fields.inner("metadata").text("user_id")
    tier = fields.text("service_tier")
    thread = fields.object("thread")
    stop = fields.texts("stop_sequences") or _stop(fields)
    return Request(
        format=NAME,
        model=call.model,
        system=decode_system(fields),
        turns=decode_turns(fields),
        tools=decode_tools(fields),
        tool_choice=decode_choice(fields),
        max_output=fields.integer("max_tokens"),
        sampling=Sampling(fields.number("temperature"), fields.number("top_p"), fields.integer("top_k")),
        stop=tuple(dict.fromkeys(stop)),
        output=_decode_output(fields),
        reasoning=_decode_reasoning(fields),
        cache=CachePlan(
            mode="auto_last" if mark is not None else None,
            default_ttl=mark.ttl if mark is not None else None,
            key=hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:32] if user else None,
        ),
        state=State(
            conversation=thread if thread is not None and thread.get("type") == "continue" else None,
            context_edits=fields.object("context_management"),
        ),
        identity=Identity(safety_id=user),
        service=Service(_TIERS.get(tier, tier) if tier is not None else None, fields.text("speed"), _geo(fields)),
        stream=StreamOptions(bool(fields.flag("stream"))),
        container=body.get("container"),
        betas=client_betas(call.outside.headers),
        extras=_extras(body, thread),
    )


def _extras(body: JsonObject, thread: JsonObject | None) -> Mapping[str, Mapping[str, Any]]:
    rest = dict(extras(body, _MAPPED).get(NAME, {}))
    thinking = rest.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive", "disabled"):
        rest["thinking"] = {key: value for key, value in thinking.items() if key != "type"}
        if not rest["thinking"]:
            del rest["thinking"]
    if thread is not None and thread.get("type") != "continue":
        rest["thread"] = thread
    return {NAME: rest} if rest else {}


def _stop(fields: Fields) -> tuple[str, ...]:
    """`stop`, the word of other formats."""
    stop = fields.value.get("stop")
    return (stop,) if isinstance(stop, str) else fields.texts("stop")


def _geo(fields: Fields) -> str | None:
    return fields.text("inference_geo")


def _decode_reasoning(fields: Fields) -> ReasoningAsk | None:
    thinking, config = fields.inner("thinking"), fields.inner("output_config")
    kind, effort = thinking.text("type"), config.text("effort")
    if kind is None and effort is None:
        return None
    return ReasoningAsk(
        on=None if kind is None else kind not in _OFF,
        effort=effort,
        budget=thinking.integer("budget_tokens"),
        display=thinking.text("display"),
    )


def _decode_output(fields: Fields) -> OutputFormat | None:
    form = fields.inner("output_config").inner("format")
    if not form.value:
        form = fields.inner("output_format")
    kind = form.text("type")
    if kind is None:
        return None
    if kind != "json_schema":
        raise form.wrong("type", f"{kind!r} is not known: use json_schema")
    return OutputFormat("schema", schema=form.object("schema"))


# Encoding.


@immutable
class _Output:
    """How the form of the answer is asked for."""

    format: JsonObject | None = None
    """`output_config.format`."""
    tool: JsonObject | None = None
    """The tool whose input is the answer."""
    sentence: str | None = None
    emulation: Emulation | None = None


def encode_request(request: Request, target: Target, *, counting: bool = False) -> Encoded:
    """Raises `InvalidRequest` for what this format cannot say and nobody may leave out.

    Args:
        counting: the body is for `count_tokens`.
    """
    native = request.format == NAME
    losses = Losses()
    refuse_settings(request)
    if not native:
        note_settings(request, losses)
    names = NameMap(tool_names(request), BEDROCK_NAMES if target.platform == "bedrock" else ANTHROPIC_NAMES)
    output = _output(request, target, names, losses)
    thinking = _thinking(request, target, losses, forced=is_forced(request) or output.tool is not None)
    declared = ToolsWriter(request, target, names, losses).declared(relax_choice=thinking.relax_choice)
    sentences = [output.sentence, declared.sentence, _add_output_tool(output, declared, thinking)]

    writer = BlockWriter(request, target, names)
    messages = MessagesWriter(request, target, writer, _history_thinking(request, target, thinking))
    body: JsonObject = {"model": request.model, "max_tokens": _limit(request, target, thinking, losses)}
    turns, system = messages.messages(), writer.system(request.system)
    losses.drop(*messages.losses.found())
    system += [{"type": "text", "text": sentence} for sentence in sentences if sentence]
    if not turns:  # a request needs a user
        losses.emulate("system")
        turns, system = [{"role": "user", "content": plain(system) or "."}], []
    if system:
        body["system"] = plain(system)
    body["messages"] = turns
    for name, value in (("tools", declared.tools), ("mcp_servers", declared.servers), ("tool_choice", declared.choice)):
        if value:
            body[name] = value
    _add_thinking(request, thinking, output, body)
    _add_sampling(request, target, thinking, losses, body)
    _add_settings(request, losses, body)
    body = merged(body, extras_of(request.extras))
    if native and request.state.conversation is not None:
        body["thread"] = request.state.conversation
    if counting:
        body = {name: value for name, value in body.items() if name in _COUNTED}
    if not native:
        losses.drop(*limit_marks(body))
    restore = restoration_of_tools(request, names, wrapped=declared.wrapped)
    encoded = _for_host(request, target, body, losses, replace(restore, output=output.emulation))
    return replace(encoded, hidden=thinking.hidden and wanted_of(request.reasoning).off)


def _output(request: Request, target: Target, names: NameMap, losses: Losses) -> _Output:
    output = request.output
    if output is None or output.kind == "text":
        return _Output()
    if output.kind == "json" or output.schema is None:
        losses.emulate("output")
        return _Output(sentence=ANY_OBJECT, emulation=Emulation(fenced=True))
    schema = output.schema
    if request.format == NAME:
        return _Output({"type": "json_schema", "schema": schema})
    wrapped = output.kind == "enum"
    if wrapped:
        losses.emulate("output")
        schema = wrap(schema)
    if output.description and "description" not in schema:
        schema = {**schema, "description": output.description}
    rules = target.rules
    if rules.structured == "native" and "output_format" not in rules.refuses:
        cleaned = clean(schema, "AN", where="output.schema")
        if cleaned.strict_possible:
            emulation = Emulation(wrapped=True) if wrapped or cleaned.wrapped else None
            return _Output({"type": "json_schema", "schema": cleaned.schema}, emulation=emulation)
    losses.emulate("output")
    if rules.forced_tool == "no":  # a tool that may be ignored is worth no more than words
        return _Output(sentence=instruction(schema), emulation=Emulation(wrapped=wrapped, fenced=True))
    parameters, in_object = object_root(schema)
    taken = {names[name] for name in tool_names(request)}
    tool = {"name": json_tool_name(taken), "description": "The answer.", "input_schema": parameters}
    return _Output(tool=tool, emulation=Emulation(str(tool["name"]), wrapped or in_object))


def _add_output_tool(output: _Output, declared: Declared, thinking: ClaudeThinking) -> str | None:
    """Declare the tool that is the answer; returns what to tell the model where it cannot be forced."""
    tool = output.tool
    if tool is None:
        return None
    if declared.choice == {"type": "none"}:  # the others are only there for the history
        declared.tools, declared.choice = [], None
    alone = not declared.tools
    declared.tools.append(tool)
    if alone and not thinking.relax_choice:
        declared.choice = {"type": "tool", "name": tool["name"]}
        return None
    declared.choice = declared.choice or {"type": "auto"}
    return f"Give your final answer by calling the tool {tool['name']}." if not alone else must_call(tool["name"])


def _thinking(request: Request, target: Target, losses: Losses, *, forced: bool) -> ClaudeThinking:
    ask, rules = request.reasoning, target.rules
    if request.format == NAME:
        return _asked_literally(request)
    found = claude_thinking(
        ask,
        rules,
        max_output=request.max_output,
        forced_tool=forced,
        operator_output=target.options.default_max_output,
    )
    kind = found.thinking["type"] if found.thinking is not None else None
    if kind == "enabled" and loop_lacks_thinking(request.turns, target.vendor or VENDOR):
        # The state of a loop's first call holds for all of it, and this one began without.
        losses.drop("thinking")
        found = replace(found, thinking=None, relax_choice=forced and rules.forced_tool == "no")
    losses.drop(*found.dropped)
    return found


def _asked_literally(request: Request) -> ClaudeThinking:
    """What the client of this format said, word for word."""
    ask = request.reasoning
    limit = request.max_output
    if ask is None:
        return ClaudeThinking(max_output=limit)
    thinking: JsonObject | None = None
    own = extras_of(request.extras).get("thinking")
    if isinstance(own, dict) and "type" in own:
        thinking = {"type": own["type"]}
    elif ask.budget is not None:
        thinking = {"type": "enabled", "budget_tokens": ask.budget}
    elif ask.on is not None:
        thinking = {"type": "adaptive" if ask.on else "disabled"}
    if thinking is not None and ask.display is not None:
        thinking["display"] = ask.display
    return ClaudeThinking(thinking, ask.effort, limit)


def _history_thinking(request: Request, target: Target, thinking: ClaudeThinking) -> Thinking:
    vendor = target.vendor
    if request.format == NAME:
        return Thinking(vendor or VENDOR)
    rules = target.rules
    if thinking.thinking is not None:
        off = thinking.thinking["type"] == "disabled"
    else:
        off = rules.thinking in ("manual", "adaptive") and not rules.thinks_unasked
    return Thinking(vendor, kept=not off, on=thinking.on or (thinking.thinking is None and rules.thinks_unasked))


def _limit(request: Request, target: Target, thinking: ClaudeThinking, losses: Losses) -> int:
    limit = thinking.max_output
    if limit is None:
        limit = default_output(target.rules, target.options.default_max_output)
    most = target.rules.max_output
    if most is not None and limit > most and request.format != NAME:
        if request.max_output is not None:
            losses.emulate("max_output")
        return most
    return limit


def _add_thinking(request: Request, thinking: ClaudeThinking, output: _Output, body: JsonObject) -> None:
    if thinking.thinking is not None:
        body["thinking"] = thinking.thinking
    config: JsonObject = {}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    if output.format is not None:
        config["format"] = output.format
    if config:
        body["output_config"] = config


def _add_sampling(request: Request, target: Target, thinking: ClaudeThinking, losses: Losses, body: JsonObject) -> None:
    sampling, stop = request.sampling, request.stop
    if request.format != NAME:
        allowed = allowed_sampling(sampling, stop, target.rules, effort=None, thinking=thinking.on, blank_stops=False)
        losses.drop(*allowed.dropped)
        sampling, stop = allowed.sampling, allowed.stop
        if sampling.temperature is not None and sampling.temperature > 1:
            losses.emulate("temperature")
            sampling = replace(sampling, temperature=1)
        if sampling.temperature is not None and sampling.top_p is not None:
            losses.drop("top_p")
            sampling = replace(sampling, top_p=None)
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if stop:
        body["stop_sequences"] = list(stop)


_PERSONAL = re.compile(r".*@.*|\+?[\d\s()./-]{7,}", re.DOTALL)
"""E-mail addresses and phone numbers, which are refused upstream."""
_MAX_USER_CHARS = 256


def _user_id(identity: Identity) -> str | None:
    user = identity.end_user or identity.safety_id
    if not user or not (_PERSONAL.fullmatch(user) or len(user) > _MAX_USER_CHARS):
        return user or None
    digest = hmac.new(b"oneapi_mw.end_user", user.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return "u_" + digest.hexdigest()[:32]


def _add_settings(request: Request, losses: Losses, body: JsonObject) -> None:
    native, service = request.format == NAME, request.service
    user = request.identity.safety_id if native else _user_id(request.identity)
    if user is not None:
        body["metadata"] = {"user_id": user}
    tier = _TIERS_BACK.get(service.tier) if service.tier is not None else None
    if service.tier is not None and tier is None and not native:
        losses.drop("service.tier")
    for name, value in (
        ("service_tier", service.tier if native and tier is None else tier),
        ("speed", service.speed),
        ("inference_geo", service.geo),
        ("container", request.container),
        ("context_management", _edits(request, losses)),
    ):
        if value is not None:
            body[name] = value
    if request.cache.mode in ("auto_last", "implicit"):
        ttl = request.cache.default_ttl
        mark = cache_mark({"cache_control": {"ttl": ttl}})
        body["cache_control"] = cache_control(mark)
    if request.stream.on:
        body["stream"] = True


def _edits(request: Request, losses: Losses) -> JsonObject | None:
    """`context_management`, which Responses has as a list of compactions with a threshold."""
    edits = request.state.context_edits
    if isinstance(edits, dict):
        return edits
    converted: list[JsonObject] = []
    for edit in edits if isinstance(edits, list) else ():
        if isinstance(edit, dict) and edit.get("type") == "compaction":
            compact: JsonObject = {"type": "compact_20260112"}
            if edit.get("compact_threshold") is not None:
                compact["trigger"] = {"type": "input_tokens", "value": edit["compact_threshold"]}
            converted.append(compact)
        else:
            losses.drop("state.context_edits")
    return {"edits": converted} if converted else None


def _for_host(request: Request, target: Target, body: JsonObject, losses: Losses, restore: Restoration) -> Encoded:
    """The body where it goes: hosts differ in where the model and the betas are named."""
    betas, unwanted = accepted((*request.betas, *needed(body, target)), target)
    losses.drop(*(f"betas.{beta}" for beta in unwanted))
    body, headers = placed(body, betas, target)
    return Encoded(body, losses.found(), headers, restore or None)


def placed(body: JsonObject, betas: tuple[str, ...], target: Target) -> tuple[JsonObject, tuple[tuple[str, str], ...]]:
    """The body and the header fields for the host of `target`."""
    if target.platform not in ("bedrock", "vertex"):
        return body, headers_of(betas)
    body = {name: value for name, value in body.items() if name not in ("model", "stream")}
    if target.platform == "vertex":
        return {"anthropic_version": "vertex-2023-10-16", **body}, headers_of(betas)
    body = {"anthropic_version": "bedrock-2023-05-31", **body}
    if betas:
        body["anthropic_beta"] = list(betas)
    return body, ()
