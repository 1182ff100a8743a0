"""What of a request becomes tokens: texts for a tokenizer, and numbers for everything that has a rule instead.

Vendors write messages, tools and schemas into a prompt of their own making, so that no count made elsewhere is
exact to the token; theirs is an estimate, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    ContainerFile,
    Document,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Nested,
    Opaque,
    PlainText,
    Reasoning,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from oneapi_mw.canonical.request import (
    CustomTool,
    FunctionTool,
    HostedTool,
    McpServer,
    Request,
    Tool,
    ToolSearch,
    Turn,
)
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.tokens.estimate import (
    FILE_ID_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    audio_tokens,
    file_tokens,
)
from oneapi_mw.tokens.images import tokens_of

NAME_TOKENS = 1
CALL_TOKENS = 8
"""Markers around a tool call, or around its result."""
CLAUDE_TOOLS_TOKENS = 346
"""Instructions Anthropic adds when there are tools (https://platform.claude.com/docs/en/agents-and-tools/tool-use/
overview, 2026-11)."""
HOSTED_TOKENS = 500
"""A tool the vendor declares in its own words."""
OPAQUE_CHARS_PER_TOKEN = 5
"""Ciphertext of reasoning: base64 of text that is tokens again at the vendor."""


@immutable
class Countable:
    """A request taken apart."""

    texts: tuple[str, ...]
    """Still to be encoded."""
    tokens: int
    """What is counted by rule."""


def countable(request: Request, model: str, rules: ModelRules) -> Countable:
    """What of `request` becomes tokens of `model`."""
    parts = _Parts(model, rules)
    parts.tokens += REPLY_TOKENS
    if request.system:
        parts.tokens += MESSAGE_TOKENS
        parts.blocks(request.system)
    for turn in request.turns:
        parts.turn(turn)
    if request.tools and rules.family == "claude":
        parts.tokens += CLAUDE_TOOLS_TOKENS
    for tool in request.tools:
        parts.tool(tool)
    if request.output is not None and request.output.schema is not None:
        parts.json(request.output.schema)
    return Countable(tuple(parts.texts), parts.tokens)


class _Parts:
    """Collects while it walks. Depth is bounded by what a body may have."""

    def __init__(self, model: str, rules: ModelRules) -> None:
        self._model = model
        self._rules = rules
        self.texts: list[str] = []
        self.tokens = 0

    def turn(self, turn: Turn) -> None:
        self.tokens += MESSAGE_TOKENS
        if turn.name is not None:
            self.tokens += NAME_TOKENS
            self.text(turn.name)
        self.blocks(turn.blocks)

    def text(self, text: str | None) -> None:
        if text:
            self.texts.append(text)

    def json(self, value: Any) -> None:
        if value is not None:
            self.texts.append(dumps(value).decode())

    def blocks(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._block(block)

    def _block(self, block: Block) -> None:
        match block:
            case Text(text) | Refusal(text):
                self.text(text)
            case Image():
                self.tokens += tokens_of(block, self._model, self._rules)
            case Audio() | Video():
                self._recording(block)
            case Document():
                self._document(block)
            case SearchResult():
                self.text(block.source)
                self.text(block.title)
                self.blocks(block.blocks)
            case Reasoning():
                self._reasoning(block)
            case ToolCall() | ToolResult() | HostedCall() | HostedResult():
                self._of_tools(block)
            case ContainerFile():
                pass  # stays in the vendor's sandbox
            case Opaque():
                self.json(block.value)
            case _:
                assert_never(block)

    def _recording(self, block: Audio | Video) -> None:
        if isinstance(block.source, Inline):
            self.tokens += audio_tokens(len(block.source.data))
        elif block.source is not None:
            self.tokens += FILE_ID_TOKENS
        elif isinstance(block, Audio):
            self.text(block.transcript)

    def _document(self, document: Document) -> None:
        for text in (document.filename, document.title, document.context):
            self.text(text)
        match document.source:
            case Inline(_, data):
                self.tokens += file_tokens(len(data))
            case PlainText(text):
                self.text(text)
            case Nested(blocks):
                self.blocks(blocks)
            case _:
                self.tokens += FILE_ID_TOKENS

    def _reasoning(self, reasoning: Reasoning) -> None:
        for part in reasoning.texts:
            self.text(part.text)
        opaque = reasoning.opaque
        if opaque is not None and not reasoning.texts:  # else a signature: no part of the prompt
            self.tokens += len(opaque.data) // OPAQUE_CHARS_PER_TOKEN

    def _of_tools(self, block: ToolCall | ToolResult | HostedCall | HostedResult) -> None:
        self.tokens += CALL_TOKENS
        match block:
            case ToolCall():
                self.text(block.name)
                self.text(block.arguments)
            case ToolResult():
                self.blocks(block.blocks)
            case HostedCall():
                self.text(block.name)
                self.json(block.input)
            case HostedResult() if block.blocks:
                self.blocks(block.blocks)
            case HostedResult():
                self.json(block.raw)

    def tool(self, tool: Tool) -> None:
        self.tokens += CALL_TOKENS
        match tool:
            case FunctionTool():
                self.text(tool.name)
                self.text(tool.description)
                self.json(tool.parameters)
                for example in tool.examples:
                    self.json(example)
            case CustomTool():
                self.text(tool.name)
                self.text(tool.description)
                self.text(tool.grammar.definition if tool.grammar is not None else None)
            case HostedTool() | McpServer() | ToolSearch():
                self.tokens += HOSTED_TOKENS
            case _:
                assert_never(tool)
