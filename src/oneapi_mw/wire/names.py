"""Names of tools, made legal for a wire that is stricter than the one they came from, and turned back in answers.

The map is a function of the set of names alone, in tools and history: as long as the set is the same, so is the map.
A legal name never changes; nobody has to know that the map exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from oneapi_mw.canonical.blocks import ToolCall, ToolResult
from oneapi_mw.canonical.request import CustomTool, FunctionTool, Request
from oneapi_mw.immutable import immutable

_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193
_HASH_CHARS = 9
"""An underscore and eight digits."""


@immutable
class NameRule:
    """What a wire accepts as a tool's name."""

    illegal: re.Pattern[str]
    """One character that may not be in it."""
    limit: int
    letter_first: bool = False
    """It begins with a letter or an underscore."""

    def accepts(self, name: str) -> bool:
        return (
            0 < len(name) <= self.limit
            and not self.illegal.search(name)
            and not (self.letter_first and not _begins(name))
        )


_WORDS = re.compile(r"[^A-Za-z0-9_-]")
OPENAI_NAMES = NameRule(_WORDS, 64)
ANTHROPIC_NAMES = NameRule(_WORDS, 128)
BEDROCK_NAMES = NameRule(_WORDS, 64)
GEMINI_NAMES = NameRule(re.compile(r"[^A-Za-z0-9_.:-]"), 64, letter_first=True)
"""The newest types allow 128 characters, older models 64."""


class NameMap:
    """Names as a client has them, and as the target takes them."""

    def __init__(self, names: Iterable[str], rule: NameRule) -> None:
        known = sorted(set(names))
        taken = {name for name in known if rule.accepts(name)}
        self._rule = rule
        self._legal: dict[str, str] = {}
        for name in known:
            if name not in taken and name not in self._legal:
                legal = _sanitised(name, rule)
                if legal in taken:
                    legal = f"{legal[: rule.limit - _HASH_CHARS]}_{_fnv1a(name):08x}"
                taken.add(legal)
                self._legal[name] = legal

    def __getitem__(self, name: str) -> str:
        """`name` as the target takes it. One that was not among the names is made legal as if it stood alone."""
        return self._legal.get(name) or (name if self._rule.accepts(name) else _sanitised(name, self._rule))

    @property
    def changed(self) -> Mapping[str, str]:
        """The names that were changed, by the name the target has: what answers are turned back with."""
        return {legal: name for name, legal in self._legal.items()}


def qualified(name: str, namespace: str | None) -> str:
    """The one name of a tool in a namespace, for wires without namespaces."""
    return f"{namespace}__{name}" if namespace else name


def tool_names(request: Request) -> set[str]:
    """Every name of a client's tool in the tools, the choice and the history."""
    names = {
        qualified(tool.name, tool.namespace) if isinstance(tool, FunctionTool) else tool.name
        for tool in request.tools
        if isinstance(tool, FunctionTool | CustomTool)
    }
    if request.tool_choice is not None:
        names |= {name for kind, name in request.tool_choice.only if kind in ("function", "custom")}
    for turn in request.turns:
        for block in turn.blocks:
            if isinstance(block, ToolCall):
                names.add(qualified(block.name, block.namespace))
            elif isinstance(block, ToolResult) and block.name:
                names.add(block.name)
    return names


def _begins(name: str) -> bool:
    return name[:1].isalpha() or name[:1] == "_"


def _sanitised(name: str, rule: NameRule) -> str:
    legal = rule.illegal.sub("_", name) or "_"
    if rule.letter_first and not _begins(legal):
        legal = "_" + legal
    return legal[: rule.limit]


def _fnv1a(text: str) -> int:
    digest = _FNV_OFFSET
    for byte in text.encode("utf-8", "surrogatepass"):
        digest = (digest ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return digest
