"""Requests taken apart: every block and every tool is either text to encode or a number."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical import blocks as b
from oneapi_mw.canonical.request import (
    CustomTool,
    FunctionTool,
    Grammar,
    HostedTool,
    McpServer,
    OutputFormat,
    Request,
    Tool,
    ToolSearch,
    Turn,
)
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.rules import UNKNOWN
from oneapi_mw.tokens.counting import (
    CALL_TOKENS,
    CLAUDE_TOOLS_TOKENS,
    HOSTED_TOKENS,
    NAME_TOKENS,
    OPAQUE_CHARS_PER_TOKEN,
    Countable,
    countable,
)
from oneapi_mw.tokens.estimate import (
    FILE_ID_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    audio_tokens,
    file_tokens,
    image_tokens,
)
from tests.canonical.strategies import blocks as any_block

SAID = (b.Text("said"),)
DATA = "A" * 4000
SIGNED = b.ReasoningOpaque(DATA, "anthropic-claude-v1")


def parts(request: Request, model: str = "m") -> Countable:
    return countable(request, model, rules_of(model))


def of_block(block: b.Block) -> Countable:
    found = parts(Request("openai_chat", "m", turns=(Turn("user", (block,)),)))
    return Countable(found.texts, found.tokens - REPLY_TOKENS - MESSAGE_TOKENS)


BLOCKS: list[tuple[b.Block, tuple[str, ...], int]] = [
    (b.Text("hi"), ("hi",), 0),
    (b.Text("", opaque=SIGNED), (), 0),
    (b.Refusal("no"), ("no",), 0),
    (b.Image(b.Url("https://example.com/a.png"), detail="low"), (), 85),
    (b.Audio(b.Inline("audio/wav", DATA)), (), audio_tokens(4000)),
    (b.Audio(audio_id="audio_1", transcript="said"), ("said",), 0),
    (b.Audio(audio_id="audio_1"), (), 0),
    (b.Video(b.Inline("video/mp4", DATA)), (), audio_tokens(4000)),
    (b.Video(b.CloudUri("gs://bucket/video")), (), FILE_ID_TOKENS),
    (b.Document(b.Inline("application/pdf", DATA), filename="a.pdf"), ("a.pdf",), file_tokens(4000)),
    (b.Document(b.PlainText("words"), title="T", context="C"), ("T", "C", "words"), 0),
    (b.Document(b.Nested(SAID)), ("said",), 0),
    (b.Document(b.FileRef("openai", "file_1")), (), FILE_ID_TOKENS),
    (b.SearchResult("https://example.com", "Title", SAID), ("https://example.com", "Title", "said"), 0),
    (b.ContainerFile("file_1"), (), 0),
    (b.Reasoning((b.ReasoningText("because"),), SIGNED), ("because",), 0),
    (b.Reasoning(opaque=SIGNED), (), 4000 // OPAQUE_CHARS_PER_TOKEN),
    (b.Reasoning(), (), 0),
    (b.ToolCall("c", "f", '{"a":1}'), ("f", '{"a":1}'), CALL_TOKENS),
    (b.ToolResult("c", SAID), ("said",), CALL_TOKENS),
    (b.HostedCall("web_search", "c", "search", {"query": "q"}), ("search", '{"query":"q"}'), CALL_TOKENS),
    (b.HostedCall("code", "c", "run"), ("run",), CALL_TOKENS),
    (b.HostedResult("c", "web_search", raw=[1], blocks=SAID), ("said",), CALL_TOKENS),
    (b.HostedResult("c", "web_search", raw=[1]), ("[1]",), CALL_TOKENS),
    (b.Opaque("foreign", "openai_chat", "odd", {"a": 1}), ('{"a":1}',), 0),
]


@pytest.mark.parametrize(("block", "texts", "tokens"), BLOCKS, ids=str)
def test_blocks(block: b.Block, texts: tuple[str, ...], tokens: int) -> None:
    assert of_block(block) == Countable(texts, tokens)


def test_every_kind_of_block_has_a_case() -> None:
    assert {type(block) for block, _, _ in BLOCKS} == set(get_args(b.Block))


SCHEMA = {"type": "object"}
TOOLS: list[tuple[Tool, tuple[str, ...], int]] = [
    (FunctionTool("f"), ("f",), 0),
    (FunctionTool("f", "does", SCHEMA, examples=({"a": 1},)), ("f", "does", '{"type":"object"}', '{"a":1}'), 0),
    (CustomTool("f", "does", Grammar("lark", "start: x")), ("f", "does", "start: x"), 0),
    (CustomTool("f"), ("f",), 0),
    (HostedTool("web_search", "web_search", "openai_responses", {}), (), HOSTED_TOKENS),
    (McpServer("label"), (), HOSTED_TOKENS),
    (ToolSearch("server"), (), HOSTED_TOKENS),
]


@pytest.mark.parametrize(("tool", "texts", "tokens"), TOOLS, ids=str)
@pytest.mark.parametrize(("model", "added"), [("gpt-4o", 0), ("claude-sonnet-4-5", CLAUDE_TOOLS_TOKENS)])
def test_tools(tool: Tool, texts: tuple[str, ...], tokens: int, model: str, added: int) -> None:
    found = parts(Request("openai_chat", model, tools=(tool,)), model)
    assert found == Countable(texts, REPLY_TOKENS + CALL_TOKENS + tokens + added)


def test_every_kind_of_tool_has_a_case() -> None:
    assert {type(tool) for tool, _, _ in TOOLS} == set(get_args(Tool))


def test_messages_names_and_the_schema_of_the_answer() -> None:
    request = Request(
        "openai_chat",
        "m",
        system=(b.Text("S"), b.Text("T")),
        turns=(Turn("user", SAID, name="ann"), Turn("assistant", ())),
        output=OutputFormat("schema", schema=SCHEMA),
    )
    assert parts(request) == Countable(
        ("S", "T", "ann", "said", '{"type":"object"}'), REPLY_TOKENS + 3 * MESSAGE_TOKENS + NAME_TOKENS
    )
    assert parts(Request("openai_chat", "m", output=OutputFormat("json"))) == Countable((), REPLY_TOKENS)


def test_an_image_counts_by_the_rule_of_the_model() -> None:
    turn = Turn("user", (b.Image(b.Url("https://example.com/a.png")),))
    found = parts(Request("openai_chat", "m", turns=(turn,)), "claude-sonnet-4-5")
    assert found.tokens == REPLY_TOKENS + MESSAGE_TOKENS + image_tokens(None)


@given(st.lists(any_block, max_size=4))
def test_every_request_can_be_counted(found_blocks: list[b.Block]) -> None:
    found = countable(Request("openai_chat", "m", turns=(Turn("user", tuple(found_blocks)),)), "m", UNKNOWN)
    assert found.tokens >= REPLY_TOKENS + MESSAGE_TOKENS
    assert all(found.texts)
