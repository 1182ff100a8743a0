"""Tools and the choice among them, to and from the canonical model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

from oneapi_mw.canonical.request import (
    CustomTool,
    FunctionTool,
    HostedTool,
    McpServer,
    Request,
    Tool,
    ToolChoice,
    ToolSearch,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.anthropic_messages.blocks import cache_control
from oneapi_mw.wire.anthropic_messages.content import CODE, NAME, cache_mark, extras, extras_of
from oneapi_mw.wire.anthropic_messages.losses import refused
from oneapi_mw.wire.anthropic_messages.messages import called_names
from oneapi_mw.wire.arguments import INPUT
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.hosted import declare, hosted_tool
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.schema import clean, object_root
from oneapi_mw.wire.target import Target

_FUNCTION = mapped(
    "type",
    "name",
    "description",
    "input_schema",
    "strict",
    "input_examples",
    "defer_loading",
    "allowed_callers",
    "eager_input_streaming",
    "cache_control",
)
_SEARCH = mapped("type", "name", "cache_control")
_SERVER = mapped("type", "name", "url", "authorization_token", tool_configuration=mapped("enabled", "allowed_tools"))
_TOOLSET = mapped("type", "mcp_server_name", "default_config", "configs", "cache_control")
_SEARCH_TYPE = "tool_search_tool_"
_SEARCH_DATE = "_20251119"
_MODES: Mapping[object, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "any": "required",
    "required": "required",
    "none": "none",
}
_WORDS = {"auto": "auto", "required": "any", "none": "none"}
_SERVER_EXTRAS = f"{NAME}.server"
"""Where a server keeps the members of its own entry, apart from those of its tool set."""
MAX_STRICT = 20
"""Strict tools of a request."""
MAX_OPTIONAL, MAX_UNIONS = 24, 16
"""Properties that are not required, and alternatives, over all strict tools."""


# Decoding.


def decode_tools(fields: Fields) -> tuple[Tool, ...]:
    """Raises `InvalidRequest`."""
    servers = {server.required_text("name"): server for server in fields.objects("mcp_servers")}
    tools: list[Tool] = []
    for tool in fields.objects("tools"):
        kind = tool.text("type")
        if kind is None or kind == "custom":
            tools.append(_decode_function(tool))
        elif kind == "function" and "function" in tool.value:  # as Chat Completions has it
            tools.append(_decode_function(tool.inner("function")))
        elif kind == "mcp_toolset":
            name = tool.required_text("mcp_server_name")
            tools.append(_decode_server(servers.pop(name, None), name, tool))
        elif kind.startswith(_SEARCH_TYPE):
            variant: Literal["regex", "bm25"] = "regex" if "regex" in kind else "bm25"
            tools.append(ToolSearch("server", variant, cache_mark(tool.value), extras(tool.value, _SEARCH)))
        else:
            tools.append(hosted_tool(NAME, kind, tool.value, name=tool.text("name"), cache=cache_mark(tool.value)))
    tools += (_decode_server(server, name, None) for name, server in servers.items())
    return tuple(tools)


def _decode_function(tool: Fields) -> FunctionTool:
    schema = "input_schema" if "input_schema" in tool.value else "parameters"
    return FunctionTool(
        tool.required_text("name"),
        tool.text("description"),
        tool.object(schema),
        tool.flag("strict"),
        examples=tuple(tool.entries("input_examples")),
        defer=tool.flag("defer_loading"),
        callers=tool.texts("allowed_callers"),
        eager=tool.flag("eager_input_streaming"),
        cache=cache_mark(tool.value),
        extras=extras(tool.value, {**_FUNCTION, schema: None}),
    )


def _decode_server(server: Fields | None, name: str, toolset: Fields | None) -> McpServer:
    """A server as `mcp_servers` and the tool set have it; either may be missing."""
    own: JsonObject = server.value if server is not None else {}
    allowed: tuple[str, ...] | None = None
    if server is not None and server.inner("tool_configuration").value.get("allowed_tools") is not None:
        allowed = server.inner("tool_configuration").texts("allowed_tools")
    defer = None
    if toolset is not None:
        default = toolset.inner("default_config")
        defer = default.flag("defer_loading")
        if default.flag("enabled") is False:
            allowed = tuple(_enabled(toolset.object("configs") or {}))
    rest = extras(toolset.value, _TOOLSET) if toolset is not None else {}
    return McpServer(
        name,
        server.text("url") if server is not None else None,
        auth=server.text("authorization_token") if server is not None else None,
        allowed=allowed,
        approval="never",
        defer=defer,
        cache=cache_mark(toolset.value) if toolset is not None else None,
        extras={**rest, **({_SERVER_EXTRAS: found[NAME]} if (found := extras(own, _SERVER)) else {})},
    )


def _enabled(configs: Mapping[str, Any]) -> Iterable[str]:
    return (name for name, config in configs.items() if isinstance(config, dict) and config.get("enabled") is True)


def decode_choice(fields: Fields) -> ToolChoice | None:
    """Raises `InvalidRequest`."""
    choice = fields.value.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _MODES:  # as Chat Completions has it
        return ToolChoice(_MODES[choice])
    form = fields.inner("tool_choice")
    alone = form.flag("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    kind = form.text("type")
    if kind in _MODES:
        return ToolChoice(_MODES[kind], parallel=parallel)
    if kind == "tool":
        return ToolChoice("required", (("function", form.required_text("name")),), parallel)
    raise form.wrong("type", f"{kind!r} is not known: use auto, any, tool or none")


# Encoding.


@dataclass(slots=True)
class Declared:
    """The tools of a request as its body has them."""

    tools: list[JsonObject] = field(default_factory=list)
    servers: list[JsonObject] = field(default_factory=list)
    choice: JsonObject | None = None
    sentence: str | None = None
    """What to tell the model where it cannot be forced."""
    wrapped: set[str] = field(default_factory=set)
    """Names of functions whose parameters were wrapped."""


def is_forced(request: Request) -> bool:
    """Whether the client insists on a call."""
    choice = request.tool_choice
    return choice is not None and choice.mode == "required" and bool(request.tools)


class ToolsWriter:
    """Writes the tools of one request for one target. Raises `InvalidRequest` for what nobody may leave out."""

    def __init__(self, request: Request, target: Target, names: NameMap, losses: Losses) -> None:
        self._request = request
        self._target = target
        self._names = names
        self._losses = losses
        self._native = request.format == NAME
        self._strict = self._optional = self._unions = 0

    def declared(self, *, relax_choice: bool) -> Declared:
        """`relax_choice`: the model refuses to be forced."""
        out = Declared()
        seen: dict[str, JsonObject] = {}
        kept = self._allowed()
        for index, tool in enumerate(self._request.tools):
            if kept is not None and not _is_among(tool, kept):
                continue
            body = self._tool(tool, f"tools[{index}]", out)
            if body is None:
                continue
            name = str(body.get("name") or body.get("mcp_server_name"))
            if name not in seen:
                seen[name] = body
                out.tools.append(body)
            elif seen[name] != body:
                raise InvalidRequest(
                    f"Two different tools are named {name!r}: rename one of them", param="tools", code=CODE
                )
        self._choose(out, relax_choice=relax_choice)
        if not out.tools:
            self._from_history(out)
        self._limit_hosted(out)
        return out

    def _from_history(self, out: Declared) -> None:
        """A history with calls needs tools: those it calls, none of which may be called now."""
        for name in dict.fromkeys(map(self._names.__getitem__, called_names(self._request.turns))):
            out.tools.append({"name": name, "input_schema": {"type": "object", "properties": {}}})
        if out.tools:
            self._losses.emulate("tools")
            out.choice = {"type": "none"}

    # One tool.

    def _tool(self, tool: Tool, where: str, out: Declared) -> JsonObject | None:
        match tool:
            case FunctionTool():
                return self._function(tool, where, out)
            case CustomTool():
                return self._custom(tool, where)
            case HostedTool():
                return self._hosted(tool, where, out)
            case McpServer():
                return self._server(tool, where, out)
            case ToolSearch(mode="server"):
                variant = tool.variant or "bm25"
                name = f"{_SEARCH_TYPE}{variant}"
                body: JsonObject = {"type": name + _SEARCH_DATE, "name": name}
                return self._marked(body, tool)
            case ToolSearch():
                self._losses.emulate(where)  # every tool is there from the start
                return None
            case _:
                assert_never(tool)

    def _marked(self, body: JsonObject, tool: Tool) -> JsonObject:
        control = cache_control(tool.cache)
        if control is not None:
            body["cache_control"] = control
        return body if isinstance(tool, HostedTool) else merged(body, extras_of(tool.extras))

    def _function(self, tool: FunctionTool, where: str, out: Declared) -> JsonObject:
        name = self._names[qualified(tool.name, tool.namespace)]
        body: JsonObject = {"name": name}
        if tool.description:
            body["description"] = tool.description
        schema, wrapped, strict = self._parameters(tool, where)
        body["input_schema"] = schema
        if wrapped:
            out.wrapped.add(name)
            self._losses.emulate(f"{where}.parameters")
        if strict is not None:
            body["strict"] = strict
        self._options(tool, where, body)
        if tool.namespace:
            self._losses.emulate(f"{where}.namespace")
        return self._marked(body, tool)

    def _parameters(self, tool: FunctionTool, where: str) -> tuple[JsonObject, bool, bool | None]:
        """The schema, whether it was wrapped, and `strict`. Only a strict schema is cleaned: the others are prose to
        the model, which understands every keyword."""
        if self._native:
            return tool.parameters or {"type": "object", "properties": {}}, False, tool.strict
        if tool.strict and tool.parameters and self._target.rules.strict_tools:
            cleaned = clean(tool.parameters, "AN", use="tool", where=f"{where}.parameters")
            strict, optional = self._strict + 1, self._optional + cleaned.optional
            unions = self._unions + cleaned.unions
            fits = strict <= MAX_STRICT and optional <= MAX_OPTIONAL and unions <= MAX_UNIONS
            if cleaned.strict_possible and fits:
                self._strict, self._optional, self._unions = strict, optional, unions
                return cleaned.schema, cleaned.wrapped, True
        if tool.strict:
            self._losses.drop(f"{where}.strict")
        schema, wrapped = object_root(tool.parameters)
        return schema, wrapped, None

    def _options(self, tool: FunctionTool, where: str, body: JsonObject) -> None:
        callers = [caller for caller in tool.callers if self._native or caller == "direct"]
        for name, value in (
            ("input_examples", list(tool.examples)),
            ("defer_loading", tool.defer if self._can_defer() else None),
            ("allowed_callers", callers),
            ("eager_input_streaming", tool.eager),
        ):
            if value is not None and value != []:
                body[name] = value
        if tool.defer and not self._can_defer():
            self._losses.emulate(f"{where}.defer")
        if len(callers) != len(tool.callers):
            self._losses.drop(f"{where}.callers")
        if tool.output_schema is not None:
            self._losses.drop(f"{where}.output_schema")

    def _can_defer(self) -> bool:
        """Deferred tools need a search that finds them."""
        return self._native or any(
            isinstance(tool, ToolSearch) and tool.mode == "server" for tool in self._request.tools
        )

    def _custom(self, tool: CustomTool, where: str) -> JsonObject:
        description = tool.description or ""
        if tool.grammar is not None:
            self._losses.emulate(f"{where}.grammar")
            grammar = f"The input must match this {tool.grammar.syntax} grammar:\n{tool.grammar.definition}"
            description = f"{description}\n\n{grammar}".strip()
        body: JsonObject = {"name": self._names[tool.name]}
        if description:
            body["description"] = description
        body["input_schema"] = {
            "type": "object",
            "properties": {INPUT: {"type": "string"}},
            "required": [INPUT],
        }
        return self._marked(body, tool)

    def _hosted(self, tool: HostedTool, where: str, out: Declared) -> JsonObject | None:
        declared = declare(tool, NAME, where, self._target.options)
        self._losses.drop(*declared.dropped)
        if declared.function is not None:
            return self._function(declared.function, where, out)
        if declared.raw is None:
            return None
        return self._marked(dict(declared.raw), tool)

    def _server(self, server: McpServer, where: str, out: Declared) -> JsonObject:
        if not self._native:
            if server.connector or server.tunnel or not server.url:
                raise refused(self._request, "tools", f"The MCP server {server.label!r}, which is not named by a URL,")
            if server.approval not in (None, "never"):
                raise refused(self._request, "tools", f"Approval of calls to the MCP server {server.label!r}")
        token, others = server.auth, []
        for name, value in server.headers.items():
            if name.lower() == "authorization" and value.lower().startswith("bearer "):
                token = token or value[7:].strip()
            else:
                others.append(name)
        if others:
            self._losses.drop(f"{where}.headers")
        entry: JsonObject = {"type": "url", "name": server.label}
        for key, text in (("url", server.url), ("authorization_token", token)):
            if text is not None:
                entry[key] = text
        if server.url is not None:
            out.servers.append(merged(entry, server.extras.get(_SERVER_EXTRAS, {})))
        body: JsonObject = {"type": "mcp_toolset", "mcp_server_name": server.label}
        default: JsonObject = {}
        if server.allowed is not None:
            default["enabled"] = False
            body["configs"] = {name: {"enabled": True} for name in server.allowed}
        if server.defer is not None:
            default["defer_loading"] = server.defer
        if default:
            body["default_config"] = default
        return self._marked(body, server)

    # The choice.

    def _allowed(self) -> frozenset[tuple[str, str]] | None:
        """The tools that may be called, where that is only some of them; what is not sent cannot be called."""
        choice = self._request.tool_choice
        if choice is None or not choice.only or _is_named(choice):
            return None
        self._losses.emulate("tool_choice")
        return frozenset(choice.only)

    def _choose(self, out: Declared, *, relax_choice: bool) -> None:
        choice = self._request.tool_choice
        if choice is None or not out.tools:
            return
        if not self._native and self._names_dropped(choice, out):
            self._losses.drop("tool_choice")
            return
        name = self._chosen(choice, out)
        body: JsonObject | None = None
        if choice.mode is not None:
            body = {"type": "tool", "name": name} if name is not None else {"type": _WORDS[choice.mode]}
        if relax_choice and choice.mode == "required" and not self._native:
            self._losses.emulate("tool_choice")
            out.sentence = must_call(name)
            body = {"type": "auto"}
        if choice.parallel is False and (body is None or body["type"] != "none"):
            body = {**(body or {"type": "auto"}), "disable_parallel_tool_use": True}
        elif choice.parallel is True and self._native and body is not None and body["type"] != "none":
            body["disable_parallel_tool_use"] = False
        out.choice = body

    def _names_dropped(self, choice: ToolChoice, out: Declared) -> bool:
        """Whether the one tool that must be called is a hosted one that was left out."""
        if not (self._target.options.drop_hosted_tools and _is_named(choice)):
            return False
        ((kind, _),) = choice.only
        hosted = [
            tool for tool in self._request.tools if isinstance(tool, HostedTool) and kind in (tool.kind, tool.type)
        ]
        return bool(hosted) and not any(body.get("type", "").startswith(hosted[0].kind) for body in out.tools)

    def _chosen(self, choice: ToolChoice, out: Declared) -> str | None:
        """The name of the one tool that must be called, as it is declared."""
        if not _is_named(choice):
            return None
        ((kind, chosen),) = choice.only
        if kind in ("function", "custom"):
            spaces = {tool.namespace for tool in self._request.tools if isinstance(tool, FunctionTool)}
            wanted = {self._names[qualified(chosen, space)] for space in (None, *sorted(filter(None, spaces)))}
        else:
            wanted = {
                str(body["name"])
                for tool in self._request.tools
                if isinstance(tool, HostedTool) and (tool.kind == kind or tool.type.startswith(kind))
                for body in out.tools
                if body.get("type", "").startswith(tool.kind) and "name" in body
            }
        found = next((str(body["name"]) for body in out.tools if body.get("name") in wanted), None)
        if found is None:
            raise InvalidRequest(
                f"tool_choice names {chosen or kind!r}, which is not among the tools: declare it, or choose another",
                param="tool_choice",
                code=CODE,
            )
        return found

    def _limit_hosted(self, out: Declared) -> None:
        """The cap on hosted calls, which this format has for each tool alone."""
        most = self._request.max_hosted_calls
        if most is None:
            return
        limited = False
        for body in out.tools:
            if str(body.get("type", "")).startswith(("web_search_", "web_fetch_")):
                body["max_uses"] = min(most, body.get("max_uses") or most)
                limited = True
        if not limited:
            self._losses.drop("max_hosted_calls")


def must_call(name: str | None) -> str:
    """What to tell a model that refuses to be forced."""
    return f"You must call the tool {name}." if name is not None else "You must call one of the tools."


def _is_named(choice: ToolChoice) -> bool:
    return choice.mode == "required" and len(choice.only) == 1


def _is_among(tool: Tool, kept: frozenset[tuple[str, str]]) -> bool:
    match tool:
        case FunctionTool():
            return ("function", tool.name) in kept or ("function", qualified(tool.name, tool.namespace)) in kept
        case CustomTool():
            return ("custom", tool.name) in kept or ("function", tool.name) in kept
        case HostedTool():
            return any(kind in (tool.kind, tool.type) for kind, _ in kept)
        case McpServer():
            return any(kind == "mcp" and name in ("", tool.label) for kind, name in kept)
        case ToolSearch():
            return True
        case _:
            assert_never(tool)
