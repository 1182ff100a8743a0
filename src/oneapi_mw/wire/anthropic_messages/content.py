"""Pieces of content between Anthropic Messages and the canonical blocks: sources, citations, blocks of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.blocks import (
    Block,
    CacheMark,
    Citation,
    ContainerFile,
    Document,
    Extras,
    FileRef,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Nested,
    Opaque,
    OpaqueKind,
    PlainText,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    SearchResult,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import arguments_text
from oneapi_mw.wire.extras import Mapped, mapped, unmapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.media import standard_base64

NAME = "anthropic_messages"
VENDOR = "anthropic-claude-v1"
"""Who reads signatures and redacted reasoning of this wire."""
FILES = "anthropic"
"""Whose uploaded files this wire names."""
CODE = "invalid_text_request"
"""Error code of a request that is wrong."""
ENVELOPE = "oa1."
"""How a signature of another vendor begins when it travels with a client of this wire."""

_TTLS = ("5m", "30m", "1h", "12h", "24h")


def extras(value: Mapping[str, Any], known: Mapped) -> Extras:
    """The members of `value` beside `known`, as extras of this format."""
    rest = unmapped(value, known)
    return {NAME: rest} if rest else {}


def extras_of(source: Extras) -> Mapping[str, Any]:
    """What extras hold for this format."""
    return source.get(NAME, {})


def cache_mark(value: Mapping[str, Any]) -> CacheMark | None:
    mark = value.get("cache_control")
    if not isinstance(mark, dict):
        return None
    ttl = mark.get("ttl")
    return CacheMark(ttl if ttl in _TTLS else None)


def wrong(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{where} {what}", param=where, code=CODE)


# Hosted tools, by what their calls are named.

_HOSTED_KINDS = (
    ("web_search", "web_search"),
    ("web_fetch", "web_fetch"),
    ("code_execution", "code"),
    ("bash_code_execution", "code"),
    ("text_editor_code_execution", "code"),
    ("tool_search", "tool_search"),
    ("mcp", "mcp"),
)
_CALLS = ("server_tool_use", "mcp_tool_use")
_RESULT = "_tool_result"


def hosted_kind(name: str) -> str:
    """The group of a hosted tool by the name its calls or results have."""
    return next((kind for beginning, kind in _HOSTED_KINDS if name.startswith(beginning)), name)


def is_hosted_call(kind: str) -> bool:
    return kind in _CALLS


def is_hosted_result(kind: str) -> bool:
    return kind.endswith(_RESULT)


# Blocks.

_TEXT = mapped("type", "text", "citations", "cache_control")
_IMAGE = mapped("type", "source", "cache_control")
_DOCUMENT = mapped("type", "source", "title", "context", "citations", "cache_control")
_SEARCH_RESULT = mapped("type", "source", "title", "content", "citations", "cache_control")
_THINKING = mapped("type", "thinking", "signature")
_REDACTED = mapped("type", "data")
_TOOL_USE = mapped("type", "id", "name", "input", "caller", "cache_control")
_HOSTED_CALL = mapped("type", "id", "name", "input", "server_name", "cache_control")
_TOOL_RESULT = mapped("type", "tool_use_id", "content", "is_error", "cache_control")
_CONTAINER_FILE = mapped("type", "file_id", "cache_control")

_OPAQUE: Mapping[str, OpaqueKind] = {
    "compaction": "compaction",
    "tool_addition": "tool_change",
    "tool_removal": "tool_change",
}


def decode_content(content: object, where: str) -> tuple[Block, ...]:
    """Blocks of a message, a system prompt or a result. Raises `InvalidRequest` naming the block."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        raise wrong(where, "must be a string or a list of blocks")
    blocks = []
    for index, block in enumerate(content):
        place = f"{where}[{index}]"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise wrong(place, "must be an object with a type, like text")
        blocks.append(decode_block(Fields(block, place, code=CODE)))
    return tuple(blocks)


def decode_block(fields: Fields) -> Block:
    """One block of a request or an answer. Raises `InvalidRequest`."""
    block = fields.value
    kind: str = block["type"]
    mark = cache_mark(block)
    match kind:
        case "text":
            citations = decode_citations(block.get("citations"))
            return Text(_said(fields, "text"), citations, cache=mark, extras=extras(block, _TEXT))
        case "image":
            return Image(_decode_source(fields.inner("source")), cache=mark, extras=extras(block, _IMAGE))
        case "document":
            return _decode_document(fields, mark)
        case "search_result":
            return _decode_search_result(fields, mark)
        case "thinking":
            return _decode_thinking(fields)
        case "redacted_thinking":
            return Reasoning(opaque=opaque(fields.required_text("data"), "encrypted"), extras=extras(block, _REDACTED))
        case "tool_use":
            return ToolCall(
                fields.required_text("id"),
                fields.required_text("name"),
                arguments_text(block.get("input")),
                caller=fields.object("caller"),
                cache=mark,
                extras=extras(block, _TOOL_USE),
            )
        case "tool_result":
            return ToolResult(
                fields.required_text("tool_use_id"),
                decode_content(block.get("content"), fields.path("content")),
                is_error=fields.flag("is_error"),
                cache=mark,
                extras=extras(block, _TOOL_RESULT),
            )
        case "container_upload":
            return ContainerFile(fields.required_text("file_id"), mark, extras(block, _CONTAINER_FILE))
        case _ if is_hosted_call(kind):
            return _decode_hosted_call(fields, mark)
        case _ if is_hosted_result(kind) and isinstance(block.get("tool_use_id"), str):
            return decode_hosted_result(block)
        case _:
            return Opaque(_OPAQUE.get(kind, "foreign"), NAME, kind, block, mark)


def _said(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if text is None:
        raise fields.wrong(name, "is required and must be a string")
    return text


def opaque(data: str, kind: str) -> ReasoningOpaque:
    """A signature or redacted reasoning. What is in an envelope is somebody else's until it was opened."""
    vendor = "" if data.startswith(ENVELOPE) else VENDOR
    return ReasoningOpaque(data, vendor, "encrypted" if kind == "encrypted" else "signature")


def _decode_thinking(fields: Fields) -> Reasoning:
    text, signature = fields.text("thinking"), fields.text("signature")
    return Reasoning(
        (ReasoningText(text),) if text else (),
        opaque(signature, "signature") if signature else None,
        extras=extras(fields.value, _THINKING),
    )


def _decode_document(fields: Fields, mark: CacheMark | None) -> Document:
    return Document(
        _decode_source(fields.inner("source")),
        title=fields.text("title"),
        context=fields.text("context"),
        cite=fields.inner("citations").flag("enabled"),
        cache=mark,
        extras=extras(fields.value, _DOCUMENT),
    )


def _decode_search_result(fields: Fields, mark: CacheMark | None) -> SearchResult:
    return SearchResult(
        _said(fields, "source"),
        _said(fields, "title"),
        decode_content(fields.value.get("content"), fields.path("content")),
        fields.inner("citations").flag("enabled"),
        mark,
        extras(fields.value, _SEARCH_RESULT),
    )


def _decode_source(source: Fields) -> Source:
    match source.text("type"):
        case "base64":
            return Inline(source.required_text("media_type").lower(), standard_base64(source.required_text("data")))
        case "url":
            return Url(source.required_text("url"))
        case "file":
            return FileRef(FILES, source.required_text("file_id"))
        case "text":
            return PlainText(_said(source, "data"), source.text("media_type") or "text/plain")
        case "content":
            return Nested(decode_content(source.value.get("content"), source.path("content")))
        case kind:
            raise source.wrong("type", f"{kind!r} is not known: use base64, url, file, text or content")


def _decode_hosted_call(fields: Fields, mark: CacheMark | None) -> HostedCall:
    name = fields.required_text("name")
    server = fields.text("server_name")
    return HostedCall(
        "mcp" if fields.value["type"] == "mcp_tool_use" else hosted_kind(name),
        fields.required_text("id"),
        name,
        fields.value.get("input"),
        server=server,
        cache=mark,
        extras=extras(fields.value, _HOSTED_CALL),
    )


def decode_hosted_result(block: Mapping[str, Any]) -> HostedResult:
    """A result of a hosted tool: as it is, and what others can read of it."""
    kind, content = block["type"], block.get("content")
    failed = block.get("is_error") is True
    if isinstance(content, dict):
        failed = failed or str(content.get("type", "")).endswith("_error")
    return HostedResult(
        block["tool_use_id"],
        hosted_kind(kind.removesuffix(_RESULT)),
        failed,
        NAME,
        {key: value for key, value in block.items() if key != "cache_control"},
        _readable(content),
        cache_mark(block),
    )


def _readable(content: object) -> tuple[Block, ...]:
    """Pages that were found, text that was read, output of code."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if isinstance(content, list):
        return tuple(block for entry in content if isinstance(entry, dict) for block in _readable_entry(entry))
    return tuple(_readable_entry(content)) if isinstance(content, dict) else ()


def _readable_entry(entry: Mapping[str, Any]) -> list[Block]:
    url, title = entry.get("url"), entry.get("title")
    if entry.get("type") == "web_search_result" and isinstance(url, str):
        return [SearchResult(url, title if isinstance(title, str) else url, ())]
    texts = [entry.get(name) for name in ("text", "stdout", "stderr", "error_code")]
    document = entry.get("content")
    if entry.get("type") == "web_fetch_result" and isinstance(document, dict):
        source = document.get("source")
        texts.append(source.get("data") if isinstance(source, dict) and source.get("type") == "text" else None)
    return [Text(text) for text in texts if isinstance(text, str) and text]


# Citations.

_PLACES = {
    "char_location": ("document_index", "start_char_index", "end_char_index"),
    "page_location": ("document_index", "start_page_number", "end_page_number"),
    "content_block_location": ("document_index", "start_block_index", "end_block_index"),
    "search_result_location": ("search_result_index", "start_block_index", "end_block_index"),
}
"""What a citation of the kind must say about its place."""
_NAMED = ("cited_text", "title", "document_title", "url", "encrypted_index", "file_id")


def decode_citations(citations: object) -> tuple[Citation, ...]:
    found = (decode_citation(citation) for citation in (citations if isinstance(citations, list) else ()))
    return tuple(citation for citation in found if citation is not None)


def decode_citation(citation: object) -> Citation | None:
    """A citation; `None` for kinds that are not known. The cited span is the whole block."""
    if not isinstance(citation, dict):
        return None
    text = {key: value for key, value in citation.items() if isinstance(value, str)}
    locator = {key: value for key, value in citation.items() if key not in _NAMED}
    match citation.get("type"):
        case "web_search_result_location" if "url" in text:
            return Citation(
                "url",
                url=text["url"],
                title=text.get("title"),
                cited_text=text.get("cited_text"),
                opaque=text.get("encrypted_index"),
            )
        case "char_location" | "page_location" | "content_block_location":
            return Citation(
                "document",
                file_id=text.get("file_id"),
                title=text.get("document_title"),
                cited_text=text.get("cited_text"),
                locator=locator,
            )
        case "search_result_location":
            source = text.get("source", "")
            return Citation(
                "search_result",
                url=source if source.startswith(("http://", "https://")) else None,
                title=text.get("title"),
                cited_text=text.get("cited_text"),
                locator=locator,
            )
        case _:
            return None


def encode_citation(citation: Citation) -> JsonObject | None:
    """A citation of this format; `None` for what it has no kind for."""
    locator = citation.locator
    kind = locator.get("type")
    if citation.kind in ("document", "search_result") and kind in _PLACES:
        if not all(type(locator.get(name)) is int for name in _PLACES[kind]):
            return None
        title = "title" if citation.kind == "search_result" else "document_title"
        body = {**locator, "cited_text": citation.cited_text or "", title: citation.title}
        if citation.file_id is not None:
            body["file_id"] = citation.file_id
        return body
    if citation.url is None:
        return None
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "encrypted_index": citation.opaque or "",
        "cited_text": citation.cited_text or "",
    }
