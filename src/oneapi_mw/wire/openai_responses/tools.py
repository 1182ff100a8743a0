"""Tools and the choice among them, to and from the canonical model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal, assert_never

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
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.hosted import declare, hosted_tool
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import OPENAI_NAMES, NameMap, tool_names
from oneapi_mw.wire.openai_responses.content import NAME, extras, extras_of, unsupported
from oneapi_mw.wire.restore import Restoration, restoration_of_tools
from oneapi_mw.wire.schema import clean, object_root
from oneapi_mw.wire.target import Target

NAMESPACE_EXTRAS = f"{NAME}.namespace"
"""Where a tool keeps the other members of the namespace it is in."""

_FUNCTION = mapped(
    "type", "name", "description", "parameters", "strict", "output_schema", "defer_loading", "allowed_callers"
)
_NESTED_FUNCTION = mapped("type", function=mapped("name", "description", "parameters", "strict"))
_CUSTOM = mapped("type", "name", "description", "defer_loading", format=mapped("type", "syntax", "definition"))
_NESTED_CUSTOM = mapped(
    "type",
    custom=mapped("name", "description", format=mapped("type", grammar=mapped("syntax", "definition"))),
)
_MCP = mapped(
    "type",
    "server_label",
    "server_url",
    "connector_id",
    "tunnel_id",
    "authorization",
    "headers",
    "allowed_tools",
    "require_approval",
    "defer_loading",
)
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
    "any": "required",
}
_CALLERS = ("direct", "programmatic")


# Decoding.


def decode_tools(fields: Fields) -> tuple[Tool, ...]:
    """Raises `InvalidRequest` naming the tool."""
    tools: list[Tool] = []
    for tool in fields.objects("tools"):
        if tool.value.get("type") == "namespace":
            tools += _decode_namespace(tool)
        else:
            tools.append(_decode_tool(tool, None))
    return tuple(tools)


def _decode_namespace(namespace: Fields) -> list[Tool]:
    name = namespace.required_text("name")
    rest = {key: value for key, value in namespace.value.items() if key not in ("type", "name", "tools")}
    tools: list[Tool] = []
    for tool in namespace.objects("tools"):
        found = _decode_tool(tool, name)
        if isinstance(found, FunctionTool | CustomTool):
            found = replace(found, extras={**found.extras, NAMESPACE_EXTRAS: {"name": name, **rest}})
        tools.append(found)
    return tools


def _decode_tool(tool: Fields, namespace: str | None) -> Tool:
    value = tool.value
    match tool.text("type"):
        # the nested form of Chat Completions is taken for what it plainly means
        case "function" | None if "function" in value:
            function = tool.inner("function")
            return FunctionTool(
                function.required_text("name"),
                function.text("description"),
                function.object("parameters"),
                function.flag("strict") or False,
                namespace=namespace,
                extras=extras(value, _NESTED_FUNCTION),
            )
        case "function" | None:
            return FunctionTool(
                tool.required_text("name"),
                tool.text("description"),
                tool.object("parameters"),
                tool.flag("strict"),
                tool.object("output_schema"),
                defer=tool.flag("defer_loading"),
                callers=tool.texts("allowed_callers"),
                namespace=namespace,
                extras=extras(value, _FUNCTION),
            )
        case "custom" if "custom" in value:
            return _decode_custom(tool.inner("custom"), value, nested=True)
        case "custom":
            return _decode_custom(tool, value, nested=False)
        case "mcp":
            return _decode_mcp(tool)
        case "tool_search":
            mode: Literal["server", "client"] = "client" if value.get("execution") == "client" else "server"
            return ToolSearch(mode, extras=extras(value, mapped("type", "execution")))
        case kind:
            return hosted_tool(NAME, kind, value)


def _decode_custom(spec: Fields, tool: JsonObject, *, nested: bool) -> CustomTool:
    form = spec.inner("format")
    grammar = None
    if form.text("type") == "grammar":
        rules = form.inner("grammar") if "grammar" in form.value else form
        grammar = Grammar(rules.required_text("syntax"), rules.required_text("definition"))
    return CustomTool(
        spec.required_text("name"),
        spec.text("description"),
        grammar,
        spec.flag("defer_loading"),
        extras=extras(tool, _NESTED_CUSTOM if nested else _CUSTOM),
    )


def _decode_mcp(tool: Fields) -> McpServer:
    headers = tool.object("headers") or {}
    if not all(isinstance(value, str) for value in headers.values()):
        raise tool.wrong("headers", "must be an object of strings")
    allowed = tool.value.get("allowed_tools")
    plain = isinstance(allowed, list) and all(isinstance(name, str) for name in allowed)
    known = dict(_MCP)
    if allowed is not None and not plain:
        del known["allowed_tools"]  # a filter: only this vendor knows what it means
    return McpServer(
        tool.required_text("server_label"),
        tool.text("server_url"),
        tool.text("connector_id"),
        tool.text("tunnel_id"),
        tool.text("authorization"),
        headers,
        tuple(allowed) if isinstance(allowed, list) and plain else None,
        tool.value.get("require_approval"),
        tool.flag("defer_loading"),
        extras=extras(tool.value, known),
    )


def decode_choice(fields: Fields) -> ToolChoice | None:
    parallel = fields.flag("parallel_tool_calls")
    choice = fields.value.get("tool_choice")
    if choice is None:
        return None if parallel is None else ToolChoice(parallel=parallel)
    if isinstance(choice, str) and choice in _MODES:
        return ToolChoice(_MODES[choice], parallel=parallel)
    if not isinstance(choice, dict):
        raise fields.wrong("tool_choice", "must be none, auto, required, or an object naming a tool")
    form = fields.inner("tool_choice")
    kind = form.text("type") or "function"
    if kind in _MODES:
        return ToolChoice(_MODES[kind], parallel=parallel)
    if kind == "allowed_tools":
        allowed = form.inner("allowed_tools") if "allowed_tools" in choice else form
        only = tuple(_decode_named(tool) for tool in allowed.objects("tools"))
        return ToolChoice(_MODES.get(allowed.text("mode") or "auto", "auto"), only, parallel)
    return ToolChoice("required", (_decode_named(form),), parallel)


def _decode_named(tool: Fields) -> tuple[str, str]:
    """(type, name); of a hosted tool the type stands for both, of an MCP server its label, or label/tool."""
    kind = tool.text("type") or "function"
    spec = tool.inner(kind) if isinstance(tool.value.get(kind), dict) else tool
    if kind in ("function", "custom"):
        return kind, spec.required_text("name")
    if kind == "mcp":
        label, name = spec.required_text("server_label"), spec.text("name")
        return kind, label if name is None else f"{label}/{name}"
    return kind, kind


# Encoding.


def encode_tools(request: Request, target: Target, losses: Losses) -> tuple[JsonObject, Restoration]:
    """`tools`, `tool_choice` and `parallel_tool_calls`, and what of their calls must be changed back; adds to
    `losses`. Raises `InvalidRequest`."""
    own = request.format == NAME
    writer = _Tools(request, target, losses)
    tools = _grouped(request.tools, own, writer)
    restore = restoration_of_tools(request, writer.names, wrapped=writer.wrapped, custom=False, namespaces=False)
    body: JsonObject = {}
    if tools:
        body["tools"] = tools
    choice = request.tool_choice
    if choice is None or (not tools and not own):
        return body, restore
    if not own:
        _check_choice(choice, request)
    if choice.mode is not None:
        body["tool_choice"] = _encode_choice(choice, writer)
    if choice.parallel is not None:
        if "parallel" in target.rules.refuses and not own:
            losses.drop("tool_choice.parallel")
        else:
            body["parallel_tool_calls"] = choice.parallel
    return body, restore


def _grouped(tools: tuple[Tool, ...], own: bool, writer: _Tools) -> list[JsonObject]:
    """The tools, those of one namespace in a row as one entry."""
    written: list[JsonObject] = []
    for namespace, numbered in groupby(enumerate(tools), key=lambda pair: _namespace(pair[1])):
        entries = [entry for index, tool in numbered for entry in writer.write(tool, f"tools[{index}]")]
        if namespace is None:
            written += entries
        else:
            described = next((found for tool in tools if (found := _described(tool)).get("name") == namespace), {})
            described = described or {"description": namespace}
            written.append({"type": "namespace", "name": namespace, **described, "tools": entries})
    return written if own else _distinct(written)


def _namespace(tool: Tool) -> str | None:
    if isinstance(tool, FunctionTool) and tool.namespace is not None:
        return tool.namespace
    name = _described(tool).get("name")
    return name if isinstance(name, str) else None


def _described(tool: Tool) -> Mapping[str, Any]:
    """The namespace a tool was declared in, without its tools."""
    return tool.extras.get(NAMESPACE_EXTRAS, {}) if isinstance(tool, FunctionTool | CustomTool) else {}


def _distinct(tools: list[JsonObject]) -> list[JsonObject]:
    """Equal declarations once. Raises `InvalidRequest` for two tools of one name."""
    kept: dict[str, JsonObject] = {}
    for place, tool in enumerate(tools):
        name = tool.get("name")
        key = name if isinstance(name, str) else f"\0{place}"
        if key in kept and kept[key] != tool:
            raise InvalidRequest(
                f"Two different tools are named {name!r}: rename one of them",
                param="tools",
                code="unsupported_parameter",
            )
        kept.setdefault(key, tool)
    return list(kept.values())


class _Tools:
    def __init__(self, request: Request, target: Target, losses: Losses) -> None:
        self._target = target
        self._losses = losses
        self.own = request.format == NAME
        self.wrapped: set[str] = set()
        self._openai = request.format in (NAME, "openai_chat")
        self.names = NameMap(() if self.own else tool_names(request), OPENAI_NAMES)

    def write(self, tool: Tool, where: str) -> list[JsonObject]:
        """The declaration of a tool; none when it was left out."""
        match tool:
            case FunctionTool():
                return [self._function(tool, where)]
            case CustomTool():
                return [self._custom(tool)]
            case HostedTool():
                return self._hosted(tool, where)
            case McpServer():
                return [self._mcp(tool, where)]
            case ToolSearch():
                return [self._search(tool, where)]
            case _:
                assert_never(tool)

    def _function(self, tool: FunctionTool, where: str) -> JsonObject:
        if self.own:
            return self._own_function(tool)
        parameters, strict = self._parameters(tool, where)
        declared: JsonObject = {"type": "function", "name": self.names[tool.name]}
        description = self._description(tool, where)
        if description:
            declared["description"] = description
        # Left out, it would mean yes wherever the schema allows it.
        declared |= {"parameters": parameters, "strict": strict}
        if tool.output_schema is not None:
            declared["output_schema"] = tool.output_schema
        if tool.defer is not None:
            declared["defer_loading"] = tool.defer
        callers = [caller for caller in tool.callers if caller in _CALLERS]
        if len(callers) < len(tool.callers):
            self._losses.drop(f"{where}.callers")
        elif callers:
            declared["allowed_callers"] = callers
        return declared

    def _own_function(self, tool: FunctionTool) -> JsonObject:
        declared: JsonObject = {"type": "function", "name": tool.name}
        members = {
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": tool.strict,
            "output_schema": tool.output_schema,
            "defer_loading": tool.defer,
            "allowed_callers": list(tool.callers) or None,
        }
        declared |= {name: value for name, value in members.items() if value is not None}
        return merged(declared, extras_of(tool.extras))

    def _parameters(self, tool: FunctionTool, where: str) -> tuple[JsonObject, bool]:
        """Schema and strictness: a schema that its vendor's grammar cannot hold is sent without."""
        strict, schema = bool(tool.strict), tool.parameters or {}
        if strict and "strict" in self._target.rules.refuses:
            self._losses.drop(f"{where}.strict")
            strict = False
        path = f"{where}.parameters"
        if strict and not self._openai:
            cleaned = clean(schema, "OS", use="tool", where=path)
            if cleaned.strict_possible and not cleaned.wrapped:
                self._losses.drop(*(f"{path}.{name}" for name in cleaned.dropped))
                return cleaned.schema, True
            self._losses.drop(f"{where}.strict")
            strict = False
        parameters, wrapped = object_root(schema)
        if wrapped:
            self._losses.emulate(path)
            self.wrapped.add(self.names[tool.name])
        return parameters, strict

    def _description(self, tool: FunctionTool, where: str) -> str | None:
        """The description, and the examples behind it."""
        if not tool.examples:
            return tool.description
        self._losses.emulate(f"{where}.examples")
        lines = [dumps(example).decode() for example in tool.examples]
        return "\n".join([*([tool.description] if tool.description else []), "Examples:", *lines])

    def _custom(self, tool: CustomTool) -> JsonObject:
        declared: JsonObject = {"type": "custom", "name": self.names[tool.name]}
        if tool.description is not None:
            declared["description"] = tool.description
        if tool.grammar is not None:
            rules = {"syntax": tool.grammar.syntax, "definition": tool.grammar.definition}
            declared["format"] = {"type": "grammar", **rules}
        if tool.defer is not None:
            declared["defer_loading"] = tool.defer
        return merged(declared, extras_of(tool.extras))

    def _hosted(self, tool: HostedTool, where: str) -> list[JsonObject]:
        declared = declare(tool, NAME, where, self._target.options)
        self._losses.drop(*declared.dropped)
        if declared.function is not None:
            return [self._function(declared.function, where)]
        return [] if declared.raw is None else [declared.raw]

    def _mcp(self, server: McpServer, where: str) -> JsonObject:
        declared: JsonObject = {"type": "mcp", "server_label": server.label}
        # Anthropic asks nobody before it calls a tool.
        approval = server.approval if self.own or server.approval is not None else "never"
        members = {
            "server_url": server.url,
            "connector_id": server.connector,
            "tunnel_id": server.tunnel,
            "authorization": server.auth,
            "headers": dict(server.headers) or None,
            "allowed_tools": None if server.allowed is None else list(server.allowed),
            "require_approval": approval,
            "defer_loading": server.defer,
        }
        if not (server.url or server.connector or server.tunnel):
            raise unsupported(f"the MCP server {server.label!r} without an address ({where})")
        declared |= {name: value for name, value in members.items() if value is not None}
        return merged(declared, extras_of(server.extras))

    def _search(self, search: ToolSearch, where: str) -> JsonObject:
        if search.variant == "regex" and not self.own:
            self._losses.drop(f"{where}.variant")
        declared: JsonObject = {"type": "tool_search"}
        if search.mode == "client":
            declared["execution"] = "client"
        return merged(declared, extras_of(search.extras))


def _check_choice(choice: ToolChoice, request: Request) -> None:
    known = {tool.name for tool in request.tools if isinstance(tool, FunctionTool | CustomTool)}
    for kind, name in choice.only:
        if kind in ("function", "custom") and name not in known:
            raise InvalidRequest(
                f"tool_choice names {name!r}, which is not among the tools",
                param="tool_choice",
                code="unsupported_parameter",
            )


def _encode_choice(choice: ToolChoice, writer: _Tools) -> str | JsonObject:
    if not choice.only:
        return choice.mode or "auto"
    tools = [_encode_named(kind, name, writer) for kind, name in choice.only]
    if len(tools) == 1 and choice.mode == "required":
        return tools[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


def _encode_named(kind: str, name: str, writer: _Tools) -> JsonObject:
    if kind in ("function", "custom"):
        return {"type": kind, "name": writer.names[name]}
    if kind == "mcp":
        label, _, tool = name.partition("/")
        return {"type": kind, "server_label": label, **({"name": tool} if tool else {})}
    if kind == "web_search" and not writer.own:
        return {"type": "web_search_preview"}  # the only one of its kind that can be chosen
    return {"type": kind}
