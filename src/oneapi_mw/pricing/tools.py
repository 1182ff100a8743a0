"""Hosted tools under the names that price cards and usage give them, and which of them a request declares.

| declared is                                          | its vendor       | a whitelist   | needs a price |
|------------------------------------------------------|------------------|---------------|---------------|
| a function, a custom tool, a search by the client    | tells the client | does not see  | no            |
| a shell, an editor, a computer the client brings     | tells the client | does not see  | no            |
| a search among tools, a server of the client's (MCP) | runs it, no fee  | must have it  | no            |
| anything else                                        | runs it          | must have it  | yes           |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from oneapi_mw.pricing.searches import PREVIEW, SEARCH, priced_apart

_BEGINNINGS = (
    ("bash_code_execution", "code"),
    ("text_editor_code_execution", "code"),
    ("web_search", "web_search"),
    ("websearch", "web_search"),
    ("tool_search_tool_regex", "web_search"),
    ("tool_search_tool_bm25", "web_search"),
    ("googlesearch", "web_search"),
    ("google_search", "web_search"),
    ("enterprisewebsearch", "web_search"),
    ("web_fetch", "web_fetch"),
    ("urlcontext", "web_fetch"),
    ("url_context", "web_fetch"),
    ("code_interpreter", "code"),
    ("code_execution", "code"),
    ("codeexecution", "code"),
    ("file_search", "file_search"),
    ("filesearch", "file_search"),
    ("image_generation", "image_generation"),
    ("computer", "computer"),
    ("googlemaps", "maps"),
    ("google_maps", "maps"),
    ("parallelaisearch", "web_search"),
    ("exaaisearch", "web_search"),
    ("tool_search", "tool_search"),
    ("mcp", "mcp"),
    ("bash", "bash"),
    ("text_editor", "text_editor"),
    ("memory", "memory"),
    ("browser", "browser"),
    ("local_shell", "shell"),
    ("shell", "shell"),
    ("apply_patch", "apply_patch"),
    ("programmatic", "programmatic"),
    ("advisor", "advisor"),
)
"""How vendors spell them, dates and versions after it, and the kind."""
_FUNCTIONS = frozenset({"function", "custom", "namespace"})
"""Types of what is the client's own."""
_OF_CLIENTS = frozenset({"bash", "text_editor", "memory", "browser", "shell", "apply_patch", "computer"})
"""Kinds that vendors describe and clients carry out."""
_WITHOUT_FEE = ("mcp", "tool_search")
"""How names begin of what vendors run and charge by its tokens alone."""
TOLD_TO_CLIENTS = _OF_CLIENTS - {"shell"}
"""Kinds that no vendor runs. A shell may be in a container of the vendor's."""
USUALLY_FREE = TOLD_TO_CLIENTS.union(_WITHOUT_FEE)
"""Kinds that cost nothing beside tokens unless somebody has priced them."""
IMAGES = "image_generation"
"""The kind whose calls are charged as the images they make, where these have prices."""
_SCHEMAS = ("function", "parameters", "input_schema")
"""Where functions say what they take."""
_NO_TOOLS = frozenset({"functionDeclarations", "function_declarations", "type"})
"""Keys of Gemini's entries that declare no hosted tool, and one that is none of theirs."""
MAX_KNOWN_NAMES = 1024
MAX_NAME_CHARS = 64
"""Of a name that a request declares: what is beyond tells nothing, and would be kept."""
DECLARED_CALLS = 1
"""Calls set aside for a declared tool that says no limit."""
MAX_DECLARED_CALLS = 1000


class DeclaredTool(NamedTuple):
    """A tool that the vendor of a model is asked to run, or describes."""

    kind: str
    name: str
    """As the request has it, cut where it is too long for a name."""
    where: str
    """The field that declares it."""
    calls: int
    """Calls it is allowed, as far as the tool itself says; 0 where it does not."""
    hosted: bool = True
    """Whether the vendor runs it."""
    apart: str = ""
    """The kind by which a card may price this one apart."""

    @property
    def priced_as(self) -> str:
        """The kind whose price it has, where there is one: `CompiledPrice.of_tool` knows others."""
        return self.apart or self.kind

    @property
    def has_fee(self) -> bool:
        """Whether vendors charge calls of it beside their tokens, or may."""
        return self.hosted and not _plain(self.name).startswith(_WITHOUT_FEE)


@lru_cache(maxsize=MAX_KNOWN_NAMES)
def tool_kind(name: str) -> str:
    """The kind of a hosted tool by any vendor's name for it; a name nobody knows, lower-cased."""
    plain = _plain(name)
    return _known_kind(plain) or plain


def priced_kind(name: str) -> str:
    """As `tool_kind`, where prices tell kinds apart."""
    return PREVIEW if _plain(name).startswith(PREVIEW) else tool_kind(name)


def declared_calls(body: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Hosted tools that a request of any format declares, by the kind they are priced as, with the calls it allows
    them."""
    found: dict[str, int] = {}
    whole = _limit(body.get("max_tool_calls"))
    for tool in declared_tools(body):
        calls = tool.calls or (DECLARED_CALLS if tool.where == _SEARCH_OPTIONS else whole or DECLARED_CALLS)
        found[tool.priced_as] = max(found.get(tool.priced_as, 0), calls)
    return tuple(found.items())


def declared_searches(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What the searches that a request declares are priced as."""
    if not declares_tools(body):
        return ()
    return tuple({tool.priced_as: None for tool in declared_tools(body) if tool.kind == SEARCH})


_SEARCH_OPTIONS = "web_search_options"
_MCP_SERVERS = "mcp_servers"


def declares_tools(body: Mapping[str, Any]) -> bool:
    """Whether a request may declare any. Most do not."""
    return "tools" in body or _SEARCH_OPTIONS in body or _MCP_SERVERS in body or isinstance(body.get("input"), list)


def runs_tools(body: Mapping[str, Any]) -> bool:
    """Whether a request declares a tool that its vendor runs and may charge."""
    return declares_tools(body) and any(tool.has_fee for tool in declared_tools(body))


def declared_tools(body: Mapping[str, Any]) -> Iterator[DeclaredTool]:
    """All but the client's own functions, in a request of any format."""
    if isinstance(body.get(_SEARCH_OPTIONS), Mapping):
        yield DeclaredTool(SEARCH, _SEARCH_OPTIONS, _SEARCH_OPTIONS, 0)
    if isinstance(body.get(_MCP_SERVERS), list) and body[_MCP_SERVERS]:
        yield DeclaredTool("mcp", _MCP_SERVERS, _MCP_SERVERS, 0)
    yield from _listed(body.get("tools"), "tools")
    items = body.get("input")
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            yield from _listed(item.get("tools"), f"input[{place}].tools")


def _listed(tools: object, where: str, *, grouped: bool = False) -> Iterator[DeclaredTool]:
    for place, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict):
            continue
        declared = tool.get("type")
        if declared == "function" or (declared is None and "name" in tool):
            continue  # like nearly all of them
        path = f"{where}[{place}]"
        if declared == "namespace" and not grouped:
            yield from _listed(tool.get("tools"), f"{path}.tools", grouped=True)
        for name in _names(tool):
            name = name[:MAX_NAME_CHARS]
            kind = tool_kind(name)
            apart = priced_apart(_plain(name), tool) if kind == SEARCH else ""
            yield DeclaredTool(kind, name, path, _limit(tool.get("max_uses")), _is_hosted(kind, tool), apart)


def _names(tool: Mapping[str, Any]) -> Iterable[str]:
    """What one entry of `tools` declares: a type, or Gemini's keys. Functions are the client's own, under whatever
    type nobody knows."""
    declared = tool.get("type")
    if isinstance(declared, str):
        if declared in _FUNCTIONS or (declared == "tool_search" and tool.get("execution") == "client"):
            return ()
        schemas = [tool[key] for key in _SCHEMAS if isinstance(tool.get(key), Mapping)]
        if not schemas or _known_kind(_plain(declared)) is not None:
            return (declared,)
        built_in = schemas[0].get("name")  # of Moonshot: a function of theirs
        return (built_in.lstrip("$"),) if isinstance(built_in, str) and built_in.startswith("$") else ()
    if "name" in tool or "function" in tool:
        return ()
    return [key for key, value in tool.items() if key not in _NO_TOOLS and value is not None]


def _is_hosted(kind: str, tool: Mapping[str, Any]) -> bool:
    if kind not in _OF_CLIENTS:
        return True
    environment = tool.get("environment") if kind == "shell" else None
    return isinstance(environment, Mapping) and str(environment.get("type")).startswith("container")


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _known_kind(plain: str) -> str | None:
    return next((kind for beginning, kind in _BEGINNINGS if plain.startswith(beginning)), None)


def _limit(value: Any) -> int:
    return min(value, MAX_DECLARED_CALLS) if type(value) is int and value > 0 else 0
