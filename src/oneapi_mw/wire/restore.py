"""Answers to converted requests, turned back into answers to the requests that were made.

What a request says by other means (a tool under another name, free text inside an object, a schema as a tool) comes
back by other means, too. The codec that wrote the request says what it did in a `Restoration`; the events of the
answer pass through a `Restorer` before anybody else sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from oneapi_mw.canonical.blocks import ToolCall
from oneapi_mw.canonical.events import ArgumentsDelta, BlockEnded, BlockStarted, Event
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.request import CustomTool, FunctionTool, Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.immutable import immutable
from oneapi_mw.wire.arguments import TextUnwrapper, unwrapped_text
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.schema.emulation import AnswerRestorer, Emulation
from oneapi_mw.wire.schema.wrap import Unwrapper, unwrap_text


@immutable
class Restoration:
    """What must be changed back. Tools are named as the upstream knows them."""

    output: Emulation | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """The client's own names of tools that were renamed."""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Namespaces of the tools that have one; `names` has their names within it."""
    custom: frozenset[str] = frozenset()
    """Tools that take free text and were declared as functions with the one parameter `input`."""
    wrapped: frozenset[str] = frozenset()
    """Functions whose parameters are no object and were declared as the one parameter `value`."""

    def __bool__(self) -> bool:
        return bool(self.output or self.names or self.namespaces or self.custom or self.wrapped)


NOTHING = Restoration()


def restoration_of_tools(
    request: Request, names: NameMap, *, wrapped: Iterable[str] = (), custom: bool = True, namespaces: bool = True
) -> Restoration:
    """What to change back for the tools of `request`, once they have the names of `names`.

    Args:
        wrapped: names the upstream has for functions whose parameters were wrapped.
        custom: whether the target has no tools that take free text.
        namespaces: whether it has no namespaces.
    """
    renamed = dict(names.changed)
    spaces: dict[str, str] = {}
    texts: set[str] = set()
    for tool in request.tools:
        if isinstance(tool, CustomTool) and custom:
            texts.add(names[tool.name])
        elif isinstance(tool, FunctionTool) and tool.namespace and namespaces:
            legal = names[qualified(tool.name, tool.namespace)]
            spaces[legal], renamed[legal] = tool.namespace, tool.name
    return Restoration(None, renamed, spaces, frozenset(texts), frozenset(wrapped))


class _Call:
    """A tool call whose arguments are being changed."""

    __slots__ = ("_machine", "_seen", "custom", "name", "namespace")

    def __init__(self, name: str, restoration: Restoration) -> None:
        self.name = restoration.names.get(name, name)
        self.namespace = restoration.namespaces.get(name)
        self.custom = name in restoration.custom
        self._machine: TextUnwrapper | Unwrapper | None = None
        if self.custom:
            self._machine = TextUnwrapper()
        elif name in restoration.wrapped:
            self._machine = Unwrapper()
        self._seen = False

    def feed(self, text: str) -> str:
        self._seen = True
        return text if self._machine is None else self._machine.feed(text)

    def close(self) -> str:
        return self._machine.close() if self._machine is not None and self._seen else ""

    def content(self, call: ToolCall) -> ToolCall:
        arguments = call.arguments
        if self.custom:
            arguments = unwrapped_text(arguments)
        elif self._machine is not None:
            arguments = unwrap_text(arguments)
        kind = "custom" if self.custom else call.kind
        namespace = self.namespace or call.namespace
        return replace(call, name=self.name, arguments=arguments, kind=kind, namespace=namespace)


class Restorer:
    """Events of one answer, changed back as they come."""

    def __init__(self, restoration: Restoration) -> None:
        self._restoration = restoration
        self._output = AnswerRestorer(restoration.output) if restoration.output is not None else None
        self._calls: dict[tuple[int, int], _Call] = {}

    def feed(self, events: Iterable[Event]) -> list[Event]:
        if self._output is not None:
            events = self._output.feed(events)
        out: list[Event] = []
        for event in events:
            match event:
                case BlockStarted(candidate, block, "tool_call"):
                    call = self._calls[candidate, block] = _Call(event.name or "", self._restoration)
                    tool = "custom" if call.custom else event.tool
                    out.append(replace(event, name=call.name, tool=tool))
                case ArgumentsDelta(candidate, block, text) if known := self._calls.get((candidate, block)):
                    if shown := known.feed(text):
                        out.append(ArgumentsDelta(candidate, block, shown))
                case BlockEnded(candidate, block, ToolCall() as content):
                    began = self._calls.pop((candidate, block), None)
                    call = _Call(content.name, self._restoration) if began is None else began
                    if rest := call.close():
                        out.append(ArgumentsDelta(candidate, block, rest))
                    out.append(BlockEnded(candidate, block, call.content(content)))
                case _:
                    out.append(event)
        return out


def restored(response: Response, restoration: Restoration) -> Response:
    """The same for a whole answer."""
    if not restoration:
        return response
    folded = fold(Restorer(restoration).feed(unfold(response)))
    return replace(response, candidates=folded.candidates)
