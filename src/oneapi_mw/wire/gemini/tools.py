"""Tools and the choice among them, to and from the canonical model."""

from __future__ import annotations

from collections.abc import Mapping
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
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import INPUT
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.gemini.content import NAME, SCHEMAS, extras, extras_of, wrong
from oneapi_mw.wire.gemini.losses import refused
from oneapi_mw.wire.hosted import declare, hosted_tool
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.schema import clean, from_openapi
from oneapi_mw.wire.target import Target

_FUNCTION = mapped("name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema")
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {
    "AUTO": "auto",
    "VALIDATED": "auto",
    "ANY": "required",
    "NONE": "none",
    "MODE_UNSPECIFIED": "auto",
}
_WORDS = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
CHOICE = mapped(functionCallingConfig=mapped("mode", "allowedFunctionNames"))
"""What of `toolConfig` is mapped."""
_SERVER_SIDE = "includeServerSideToolInvocations"


# Decoding.


def decode_tools(fields: Fields) -> tuple[Tool, ...]:
    """Raises `InvalidRequest`. An entry may hold several tools under several keys."""
    tools: list[Tool] = []
    for entry in fields.objects("tools"):
        for key, value in entry.value.items():
            if key == "functionDeclarations":
                tools += (_decode_function(function) for function in entry.objects(key))
            elif key == "mcpServers":
                tools += (_decode_server(server) for server in entry.objects(key))
            elif value is not None:
                tools.append(hosted_tool(NAME, key, {key: value}))
    return tuple(tools)


def _decode_function(function: Fields) -> FunctionTool:
    kept: JsonObject = {}
    parameters = _decode_schema(function, "parameters", "parametersJsonSchema", kept)
    output = _decode_schema(function, "response", "responseJsonSchema", kept)
    rest = dict(extras(function.value, _FUNCTION))
    if kept:
        rest[SCHEMAS] = kept
    return FunctionTool(
        function.required_text("name"),
        function.text("description"),
        parameters,
        output_schema=output,
        extras=rest,
    )


def _decode_schema(function: Fields, openapi: str, json: str, kept: JsonObject) -> JsonObject | None:
    schema = function.object(json)
    if schema is not None:
        return schema
    schema = function.object(openapi)
    if schema is None:
        return None
    kept[openapi] = schema
    found: JsonObject = from_openapi(schema)
    return found


def _decode_server(server: Fields) -> McpServer:
    transport = server.inner("streamableHttpTransport")
    headers = transport.object("headers") or {}
    return McpServer(
        server.required_text("name"),
        transport.text("url"),
        headers={name: str(value) for name, value in headers.items()},
        extras={f"{NAME}.server": server.value},
    )


def decode_choice(fields: Fields) -> ToolChoice | None:
    config = fields.inner("toolConfig").inner("functionCallingConfig")
    word = config.text("mode")
    names = config.texts("allowedFunctionNames")
    if word is None and not names:
        return None
    mode = _MODES.get((word or "AUTO").upper())
    if mode is None:
        raise wrong(config.path("mode"), f"{word!r} is not known: use AUTO, ANY, NONE or VALIDATED")
    only = tuple(("function", name) for name in names)
    return ToolChoice(mode, only, validated=(word or "").upper() == "VALIDATED")


# Encoding.


@dataclass(slots=True)
class Declared:
    """The tools as the body has them."""

    tools: list[JsonObject] = field(default_factory=list)
    config: JsonObject = field(default_factory=dict)
    """`toolConfig`."""
    wrapped: list[str] = field(default_factory=list)
    """Functions whose parameters had to be put into an object."""
    images: bool = False
    """A tool that makes images became an answer that may hold some."""
    functions: bool = False


class ToolsWriter:
    """Writes the tools of one request for one target."""

    def __init__(self, request: Request, target: Target, names: NameMap, losses: Losses) -> None:
        self._request = request
        self._target = target
        self._names = names
        self._losses = losses
        self._native = request.format == NAME
        self._out = Declared()
        self._declarations: list[JsonObject] = []
        self._strict = False

    def declared(self) -> Declared:
        """Raises `InvalidRequest` for tools nobody may leave out."""
        request, rules = self._request, self._target.rules
        if "tools" in rules.refuses and request.tools and not self._native:
            self._losses.drop("tools")
            return self._out
        hosted: list[HostedTool] = []
        for index, tool in enumerate(request.tools):
            self._declare(tool, f"tools[{index}]", hosted)
        self._out.functions = bool(self._declarations)
        if self._declarations and hosted and not self._native:
            if not rules.hosted_with_functions:
                raise refused(request, "tools", f"The tool {hosted[0].type} together with functions")
            self._out.config[_SERVER_SIDE] = True
        self._choose()
        return self._out

    def _declare(self, tool: Tool, where: str, hosted: list[HostedTool]) -> None:
        match tool:
            case FunctionTool():
                self._add(self._function(tool, where))
            case CustomTool():
                self._losses.emulate(f"{where}.grammar" if tool.grammar is not None else where)
                self._add(self._custom(tool))
            case HostedTool():
                self._hosted(tool, where, hosted)
            case McpServer(label=label, extras=rest):
                own = rest.get(f"{NAME}.server")
                if own is None and not self._target.options.drop_hosted_tools:
                    raise refused(self._request, "tools", f"The MCP server {label}")
                if own is None:
                    self._losses.drop(where)
                else:
                    self._out.tools.append({"mcpServers": [dict(own)]})
            case ToolSearch():
                self._losses.emulate(where)  # every tool is there from the start
            case _:
                assert_never(tool)

    def _add(self, declaration: JsonObject) -> None:
        if not self._declarations:
            self._out.tools.append({"functionDeclarations": self._declarations})
        same = next((known for known in self._declarations if known["name"] == declaration["name"]), None)
        if same is None:
            self._declarations.append(declaration)
        elif same != declaration:
            raise refused(self._request, "tools", f"Two tools of the name {declaration['name']}")

    def _function(self, tool: FunctionTool, where: str) -> JsonObject:
        name = self._names[qualified(tool.name, tool.namespace)]
        if tool.namespace:
            self._losses.emulate(f"{where}.namespace")
        description = tool.description or ""
        if tool.examples:
            self._losses.emulate(f"{where}.examples")
            lines = "\n".join(dumps(example).decode() for example in tool.examples)
            description = f"{description}\n\nExamples:\n{lines}".lstrip()
        if tool.defer:
            self._losses.emulate(f"{where}.defer")
        if tool.callers:
            self._losses.drop(f"{where}.callers")
        if tool.strict:
            self._strict = self._strict or self._target.rules.strict_tools
            if not self._target.rules.strict_tools:
                self._losses.drop(f"{where}.strict")
        function: JsonObject = {"name": name}
        if description:
            function["description"] = description
        own = tool.extras.get(SCHEMAS, {})
        self._schema(tool.parameters, own, ("parameters", "parametersJsonSchema"), where, function, name)
        self._schema(tool.output_schema, own, ("response", "responseJsonSchema"), where, function, None)
        return merged(function, extras_of(tool.extras))

    def _schema(
        self,
        schema: JsonObject | None,
        own: Mapping[str, Any],
        fields: tuple[str, str],
        where: str,
        function: JsonObject,
        name: str | None,
    ) -> None:
        """Put a schema into `function`, in the dialect the model reads. `name`: it is about the tool's parameters."""
        openapi, json = fields
        if self._native:
            if openapi in own:
                function[openapi] = own[openapi]
            elif schema is not None:
                function[json] = schema
            return
        if not schema or (name is not None and _says_nothing(schema)):
            return  # an object without properties is refused by older models
        dialect = self._dialect()
        if dialect == "openapi" and openapi in own:
            function[openapi] = own[openapi]
            return
        cleaned = clean(
            schema,
            "GS" if dialect == "openapi" else "GJ",
            use="output" if name is None else "tool",
            where=f"{where}.{'output_schema' if name is None else 'parameters'}",
            vertex=self._target.platform == "vertex",
        )
        function[openapi if dialect == "openapi" else json] = cleaned.schema
        if cleaned.wrapped and name is not None:
            self._losses.emulate(f"{where}.parameters")
            self._out.wrapped.append(name)

    def _dialect(self) -> str:
        asked = self._target.options.gemini_schema
        return self._target.rules.schema if asked == "auto" else asked

    def _custom(self, tool: CustomTool) -> JsonObject:
        description = tool.description or ""
        if tool.grammar is not None:
            grammar = f"The input follows this {tool.grammar.syntax} grammar:\n{tool.grammar.definition}"
            description = f"{description}\n\n{grammar}".lstrip()
        function: JsonObject = {"name": self._names[tool.name]}
        if description:
            function["description"] = description
        schema = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}
        if self._dialect() == "openapi":
            function["parameters"] = clean(schema, "GS", use="tool").schema
        else:
            function["parametersJsonSchema"] = schema
        return function

    def _hosted(self, tool: HostedTool, where: str, hosted: list[HostedTool]) -> None:
        if tool.kind == "image_generation" and "image" in self._target.rules.modalities:
            self._losses.emulate(where)
            self._out.images = True
            return
        found = declare(tool, NAME, where, self._target.options)
        self._losses.drop(*found.dropped)
        if found.raw is not None:
            hosted.append(tool)
            self._out.tools.append(found.raw)
        elif found.function is not None:
            self._add(self._function(found.function, where))

    def _choose(self) -> None:
        choice = self._request.tool_choice
        if not self._out.tools:
            return
        if choice is not None and choice.parallel is False and not self._native and len(self._declarations) > 1:
            self._losses.drop("tool_choice.parallel")
        config = self._choice(choice) if self._declarations or self._native else None
        if config is not None and ("tool_choice" not in self._target.rules.refuses or self._native):
            self._out.config = {"functionCallingConfig": config, **self._out.config}

    def _choice(self, choice: ToolChoice | None) -> JsonObject | None:
        mode = choice.mode if choice is not None else None
        if choice is None or mode is None:
            if not self._strict:
                return None
            self._losses.emulate("tools.strict")
            return {"mode": "VALIDATED"}
        word = _WORDS[mode]
        names = [self._names[name] for kind, name in choice.only if kind in ("function", "custom")]
        if len(names) < len(choice.only):
            if self._target.options.drop_hosted_tools and not self._native:
                self._losses.drop("tool_choice")  # with the tool that it names
                return None
            raise refused(self._request, "tool_choice", "A choice of hosted tools")
        if not self._native and not {known["name"] for known in self._declarations}.issuperset(names):
            raise refused(self._request, "tool_choice", "A tool that was not declared")
        if mode == "auto" and (choice.validated or names):
            word = "VALIDATED"
        elif mode == "auto" and self._strict:
            self._losses.emulate("tools.strict")
            word = "VALIDATED"
        config: JsonObject = {"mode": word}
        if names and mode != "none":
            config["allowedFunctionNames"] = names
        return config


def _says_nothing(schema: JsonObject) -> bool:
    """Whether parameters are an object without properties."""
    return schema.get("type", "object") == "object" and not (
        schema.get("properties")
        or any(key in schema for key in ("$ref", "anyOf", "oneOf", "allOf", "patternProperties"))
        or isinstance(schema.get("additionalProperties"), dict)
    )
