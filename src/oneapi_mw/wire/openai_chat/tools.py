"""Tools and the choice among them, to and from the canonical model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from oneapi_mw.canonical.request import (
    CustomTool,
    FunctionTool,
    Grammar,
    HostedTool,
    McpServer,
    Request,
    Tool,
    ToolChoice,
    ToolSearch,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import INPUT
from oneapi_mw.wire.extras import Mapped, mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.hosted import declare, hosted_tool
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.openai_chat.content import NAME, cache_mark, extras, extras_of, unsupported
from oneapi_mw.wire.openai_chat.hosts import Host
from oneapi_mw.wire.openai_chat.losses import refused
from oneapi_mw.wire.schema import clean, object_root
from oneapi_mw.wire.target import Target

_SEARCH = "web_search_options"
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
    "any": "required",
}


# Decoding.


_FUNCTION_MEMBERS = mapped("name", "description", "parameters", "strict")
_FUNCTION_TOOL = mapped("type", function=_FUNCTION_MEMBERS)
_FLAT_FUNCTION = {**mapped("type", "input_schema"), **_FUNCTION_MEMBERS}
_GRAMMAR = mapped("syntax", "definition")
_CUSTOM_MEMBERS = mapped("name", "description", format={**mapped("type", grammar=_GRAMMAR), **_GRAMMAR})
_CUSTOM_TOOL = mapped("type", custom=_CUSTOM_MEMBERS)
_FLAT_CUSTOM = {**mapped("type"), **_CUSTOM_MEMBERS}


def decode_tools(fields: Fields) -> tuple[Tool, ...]:
    tools = [_decode_tool(tool) for tool in fields.objects("tools")]
    tools += [
        _decode_function(function, {"function": function.value}, _FUNCTION_TOOL)
        for function in fields.objects("functions")
    ]
    options = fields.object("web_search_options")
    if options is not None:
        tools.append(hosted_tool(NAME, _SEARCH, options))
    return tuple(tools)


def _decode_tool(tool: Fields) -> Tool:
    match tool.text("type"):
        # the flat form of other APIs is taken for what it plainly means
        case "function" | None if "function" in tool.value:
            return _decode_function(tool.inner("function"), tool.value, _FUNCTION_TOOL)
        case "function" | None:
            return _decode_function(tool, tool.value, _FLAT_FUNCTION)
        case "custom" if "custom" in tool.value:
            return _decode_custom(tool.inner("custom"), tool.value, _CUSTOM_TOOL)
        case "custom":
            return _decode_custom(tool, tool.value, _FLAT_CUSTOM)
        case kind:
            return hosted_tool(NAME, kind, tool.value, cache=cache_mark(tool.value))


def _decode_function(function: Fields, tool: JsonObject, known: Mapped) -> FunctionTool:
    """`known` is what of `tool` is mapped."""
    parameters = "input_schema" if "input_schema" in function.value else "parameters"
    return FunctionTool(
        function.required_text("name"),
        function.text("description"),
        function.object(parameters),
        function.flag("strict"),
        cache=cache_mark(tool),
        extras=extras(tool, known),
    )


def _decode_custom(spec: Fields, tool: JsonObject, known: Mapped) -> CustomTool:
    form = spec.inner("format")
    grammar = None
    if form.text("type") == "grammar":
        rules = form.inner("grammar") if "grammar" in form.value else form
        grammar = Grammar(rules.required_text("syntax"), rules.required_text("definition"))
    return CustomTool(
        spec.required_text("name"),
        spec.text("description"),
        grammar,
        cache=cache_mark(tool),
        extras=extras(tool, known),
    )


def decode_choice(fields: Fields) -> ToolChoice | None:
    parallel = fields.flag("parallel_tool_calls")
    name = "tool_choice" if fields.value.get("tool_choice") is not None else "function_call"
    choice = fields.value.get(name)
    if choice is None:
        return None if parallel is None else ToolChoice(parallel=parallel)
    if isinstance(choice, str) and choice in _MODES:
        return ToolChoice(_MODES[choice], parallel=parallel)
    if not isinstance(choice, dict):
        raise fields.wrong(name, "must be none, auto, required, or an object naming a tool")
    form = fields.inner(name)
    kind = form.text("type") or "function"
    if kind in _MODES:
        return ToolChoice(_MODES[kind], parallel=parallel)
    if kind == "allowed_tools":
        allowed = form.inner("allowed_tools") if "allowed_tools" in choice else form
        only = tuple(_named_tool(tool, fields, name) for tool in allowed.objects("tools"))
        return ToolChoice(_MODES.get(allowed.text("mode") or "auto", "auto"), only, parallel)
    return ToolChoice("required", (_named_tool(form, fields, name),), parallel)


def _named_tool(tool: Fields, fields: Fields, member: str) -> tuple[str, str]:
    kind = tool.text("type") or "function"
    spec = tool.value.get(kind, tool.value)
    name = spec.get("name") if isinstance(spec, dict) else None
    if not isinstance(name, str) or not name:
        raise fields.wrong(member, 'must name its tool, like {"type": "function", "function": {"name": "..."}}')
    return kind, name


# Encoding for requests of this format.


def encode_own_tools(request: Request, body: JsonObject) -> None:
    """Put the tools of a request that came in this format into `body`, as they came."""
    tools = []
    for tool in request.tools:
        if isinstance(tool, HostedTool) and tool.type == _SEARCH:
            body["web_search_options"] = tool.raw
        elif (encoded := _encode_tool(tool)) is not None:
            tools.append(encoded)
    if tools:
        body["tools"] = tools
    choice = request.tool_choice
    if not tools or choice is None:
        return
    if choice.mode is not None:
        body["tool_choice"] = _encode_choice(choice)
    if choice.parallel is not None:
        body["parallel_tool_calls"] = choice.parallel


def _encode_tool(tool: Tool) -> JsonObject | None:
    match tool:
        case FunctionTool():
            function: JsonObject = {"name": tool.name}
            for name in ("description", "parameters", "strict"):
                value = getattr(tool, name)
                if value is not None:
                    function[name] = value
            return merged({"type": "function", "function": function}, extras_of(tool.extras))
        case CustomTool():
            return _encode_custom(tool)
        case HostedTool(format="openai_chat", raw=raw):
            return raw
        case HostedTool(type=kind):
            raise unsupported(f"the hosted tool {kind}")
        case McpServer(label=label):
            raise unsupported(f"the MCP server {label}")
        case ToolSearch():
            return None  # every tool is there from the start
        case _:
            assert_never(tool)


def _encode_custom(tool: CustomTool) -> JsonObject:
    custom: JsonObject = {"name": tool.name}
    if tool.description is not None:
        custom["description"] = tool.description
    if tool.grammar is not None:
        rules = {"syntax": tool.grammar.syntax, "definition": tool.grammar.definition}
        custom["format"] = {"type": "grammar", "grammar": rules}
    return merged({"type": "custom", "custom": custom}, extras_of(tool.extras))


def _encode_choice(choice: ToolChoice) -> str | JsonObject:
    if not choice.only:
        return choice.mode or "auto"
    tools: list[JsonObject] = [{"type": kind, kind: {"name": name}} for kind, name in choice.only]
    if len(tools) == 1 and choice.mode == "required":
        return tools[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}


# Encoding for requests of other formats.


def must_call(names: list[str]) -> str:
    """What to tell a model that cannot be forced to call a tool."""
    if len(names) == 1:
        return f"You must call the tool {names[0]}."
    return f"You must call one of the tools {', '.join(names)}." if names else "You must call a tool."


def is_forced(request: Request) -> bool:
    """Whether the model has no choice but to call a tool."""
    return bool(request.tools) and request.tool_choice is not None and request.tool_choice.mode == "required"


@dataclass(slots=True)
class Declared:
    """Tools as a body has them."""

    tools: list[JsonObject] = field(default_factory=list)
    search: JsonObject | None = None
    """`web_search_options`."""
    choice: str | JsonObject | None = None
    parallel: bool | None = None
    sentence: str | None = None
    """What to tell the model in place of a choice it cannot be given."""
    wrapped: set[str] = field(default_factory=set)
    """Functions whose parameters were put into an object, by the names they have here."""

    def fields(self) -> JsonObject:
        """Members of the body."""
        members = {
            "tools": self.tools or None,
            _SEARCH: self.search,
            "tool_choice": self.choice,
            "parallel_tool_calls": self.parallel,
        }
        return {name: value for name, value in members.items() if value is not None}


_OWN_KINDS = ("function", "custom")
"""Tools of the client, which every host of this format knows in some way."""


class ToolsWriter:
    """Declares the tools of one request."""

    def __init__(self, request: Request, target: Target, host: Host, names: NameMap, losses: Losses) -> None:
        self._request = request
        self._target = target
        self._host = host
        self._names = names
        self._losses = losses
        self._openai = host.openai or target.rules.family == "openai"
        self._out = Declared()

    def declared(self, *, relax_choice: bool) -> Declared:
        """Raises `InvalidRequest` for tools and choices this target does not have.

        Args:
            relax_choice: the model cannot be forced to call a tool; it is told to.
        """
        for index, tool in enumerate(self._request.tools):
            self._declare(tool, f"tools[{index}]")
        if self._out.tools and "tools" in self._target.rules.refuses:
            self._losses.drop("tools")
            self._out.tools = []
        elif self._out.tools:
            self._choose(relax=relax_choice)
        return self._out

    def _declare(self, tool: Tool, where: str) -> None:
        match tool:
            case FunctionTool():
                self._add(self._function(tool, where))
            case CustomTool():
                self._add(self._custom(tool, where))
            case HostedTool():
                self._hosted(tool, where)
            case McpServer(label=label):
                if not self._target.options.drop_hosted_tools:
                    raise refused(self._request, "tools", f"the MCP server {label}")
                self._losses.drop(where)
            case ToolSearch():
                self._losses.emulate(where)  # every tool is there from the start
            case _:
                assert_never(tool)

    def _add(self, declared: JsonObject) -> None:
        """Equal declarations count once. Raises `InvalidRequest` for two tools of one name."""
        name = _name(declared)
        same = next((known for known in self._out.tools if _name(known) == name), None)
        if same is None:
            self._out.tools.append(declared)
        elif same != declared:
            raise InvalidRequest(
                f"Two different tools are named {name!r}: rename one of them",
                param="tools",
                code="unsupported_parameter",
            )

    def _function(self, tool: FunctionTool, where: str) -> JsonObject:
        losses, name = self._losses, self._names[qualified(tool.name, tool.namespace)]
        description = tool.description or ""
        if tool.examples:
            losses.emulate(f"{where}.examples")
            lines = "\n".join(dumps(example).decode() for example in tool.examples)
            description = f"{description}\n\nExamples:\n{lines}".lstrip()
        if tool.defer:
            losses.emulate(f"{where}.defer")
        if tool.namespace:
            losses.emulate(f"{where}.namespace")
        if tool.callers:
            losses.drop(f"{where}.callers")
        if tool.output_schema is not None:
            losses.drop(f"{where}.output_schema")
        function: JsonObject = {"name": name}
        if description:
            function["description"] = description
        parameters, strict = self._parameters(tool, where, name)
        function["parameters"] = parameters
        if strict:
            function["strict"] = True
        return merged({"type": "function", "function": function}, extras_of(tool.extras))

    def _parameters(self, tool: FunctionTool, where: str, name: str) -> tuple[JsonObject, bool]:
        """Schema and strictness: a schema that OpenAI's grammar cannot hold is sent without."""
        strict, schema, path = bool(tool.strict), tool.parameters or {}, f"{where}.parameters"
        rules = self._target.rules
        if strict and ("strict" in rules.refuses or not rules.strict_tools):
            self._losses.drop(f"{where}.strict")
            strict = False
        if self._openai and self._request.format == "openai_responses":  # the same vendor's dialect
            parameters, wrapped = object_root(schema)
        else:
            if strict and self._openai:
                cleaned = clean(schema, "OS", use="tool", where=path)
                if cleaned.strict_possible and not cleaned.wrapped:
                    self._losses.drop(*(f"{path}.{keyword}" for keyword in cleaned.dropped))
                    return cleaned.schema, True
                self._losses.drop(f"{where}.strict")
                strict = False
            cleaned = clean(schema, "ON", use="tool", where=path)
            parameters, wrapped = cleaned.schema, cleaned.wrapped
        if wrapped:
            self._losses.emulate(path)
            self._out.wrapped.add(name)
        if _lacks_properties(parameters):
            parameters = {**parameters, "properties": {}}
        return parameters, strict

    def _custom(self, tool: CustomTool, where: str) -> JsonObject:
        name = self._names[tool.name]
        if self._host.openai:
            return _encode_custom(replace(tool, name=name))
        description, grammar = tool.description or "", tool.grammar
        self._losses.emulate(f"{where}.grammar" if grammar is not None else where)
        if grammar is not None:
            rule = f"The input follows this {grammar.syntax} grammar:\n{grammar.definition}"
            description = f"{description}\n\n{rule}".lstrip()
        function: JsonObject = {"name": name}
        if description:
            function["description"] = description
        function["parameters"] = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}
        return {"type": "function", "function": function}

    def _hosted(self, tool: HostedTool, where: str) -> None:
        if tool.kind == "web_search" and not (self._host.search or self._target.rules.searches):
            if not self._target.options.drop_hosted_tools:
                raise InvalidRequest(
                    f"The tool type {tool.type} is not available on this model: leave it out, or ask a search model",
                    param=where,
                    code="unsupported_parameter",
                )
            self._losses.drop(where)
            return
        found = declare(tool, NAME, where, self._target.options)
        self._losses.drop(*found.dropped)
        if found.raw is not None:
            self._out.search = found.raw
        elif found.function is not None:
            self._add(self._function(found.function, where))

    def _choose(self, *, relax: bool) -> None:
        choice, refuses = self._request.tool_choice, self._target.rules.refuses
        if choice is None:
            return
        if choice.parallel is False:
            if "parallel" in refuses:
                self._losses.drop("tool_choice.parallel")
            else:
                self._out.parallel = False
        if choice.mode is None:
            return
        if self._target.options.drop_hosted_tools and any(kind not in _OWN_KINDS for kind, _ in choice.only):
            self._losses.drop("tool_choice")  # with the tool that it names
            return
        only = [self._chosen(kind, name) for kind, name in choice.only]
        if "tool_choice" in refuses:
            self._losses.drop("tool_choice")
            return
        named = len(only) == 1 and choice.mode == "required"
        if relax and choice.mode == "required":
            self._losses.emulate("tool_choice")
            self._out.choice, self._out.sentence = "auto", must_call(only)
        elif named:
            self._out.choice = self._reference(only[0])
        elif only and self._host.openai:
            allowed = {"mode": choice.mode, "tools": [self._reference(name) for name in only]}
            self._out.choice = {"type": "allowed_tools", "allowed_tools": allowed}
        else:
            self._out.choice = choice.mode
        if only and choice.mode != "none" and not named and not self._host.openai:
            self._losses.emulate("tool_choice")
            self._out.tools = [tool for tool in self._out.tools if _name(tool) in only]

    def _chosen(self, kind: str, name: str) -> str:
        """The name here of a tool the choice names. Raises `InvalidRequest` when there is none."""
        if kind not in _OWN_KINDS:
            raise refused(self._request, "tool_choice", f"the choice of a hosted tool ({kind})")
        known = {_name(tool) for tool in self._out.tools}
        spaces = (
            tool.namespace for tool in self._request.tools if isinstance(tool, FunctionTool) and tool.name == name
        )
        for namespace in (None, *spaces):
            if (legal := self._names[qualified(name, namespace)]) in known:
                return legal
        raise InvalidRequest(
            f"tool_choice names {name!r}, which is not among the tools",
            param="tool_choice",
            code="unsupported_parameter",
        )

    def _reference(self, name: str) -> JsonObject:
        kind = next(tool["type"] for tool in self._out.tools if _name(tool) == name)
        return {"type": kind, kind: {"name": name}}


def _name(declared: JsonObject) -> str:
    """Name of a declared tool."""
    name: str = declared[declared["type"]]["name"]
    return name


def _lacks_properties(schema: JsonObject) -> bool:
    """Whether OpenAI would miss `properties`."""
    return "properties" not in schema and not any(key in schema for key in ("$ref", "anyOf", "oneOf", "allOf"))
