"""Canonical blocks to the blocks of a request's messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from oneapi_mw.canonical.blocks import (
    Block,
    CacheMark,
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
    PlainText,
    Reasoning,
    Refusal,
    SearchResult,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Url,
)
from oneapi_mw.canonical.request import Request
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.anthropic_messages.content import NAME, encode_citation, extras_of
from oneapi_mw.wire.anthropic_messages.losses import refused
from oneapi_mw.wire.anthropic_messages.response import encode_reasoning, hosted_start
from oneapi_mw.wire.arguments import history_object, wrapped_text
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.ids import BEDROCK_LIMIT, anthropic_id
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.media import sniff
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.target import Target

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SHORT, _LONG = ("5m", "30m"), ("1h", "12h", "24h")
_NO_URLS = ("bedrock", "vertex")


def cache_control(mark: CacheMark | None) -> JsonObject | None:
    """A mark of this format: the nearest of its two terms."""
    if mark is None:
        return None
    if mark.ttl in _LONG:
        return {"type": "ephemeral", "ttl": "1h"}
    return {"type": "ephemeral", "ttl": "5m"} if mark.ttl in _SHORT else {"type": "ephemeral"}


class BlockWriter:
    """Writes blocks for one target. Raises `InvalidRequest` for what may not be left out."""

    def __init__(self, request: Request, target: Target, names: NameMap) -> None:
        self._request = request
        self._names = names
        self._native = request.format == NAME
        self._platform = target.platform
        self._id_limit = BEDROCK_LIMIT if target.platform == "bedrock" else None

    def system(self, texts: Iterable[Text]) -> list[JsonObject]:
        return [self._text(text) for text in texts if text.text.strip()]

    def content(self, blocks: Iterable[Block]) -> list[JsonObject]:
        return [encoded for block in blocks if (encoded := self.block(block)) is not None]

    def block(self, block: Block) -> JsonObject | None:
        """One block; `None` for what has no place here and is reported elsewhere."""
        match block:
            case Text():
                return self._text(block) if block.text.strip() else None
            case Refusal(text=text):
                return {"type": "text", "text": text} if text.strip() else None
            case Image():
                return self._image(block)
            case Document():
                return self._document(block)
            case SearchResult():
                return self._search_result(block)
            case ContainerFile(file_id=file_id):
                if not self._native:
                    raise self._refused("A file in a container of another vendor")
                return self._marked({"type": "container_upload", "file_id": file_id}, block.cache, block.extras)
            case Reasoning():
                encoded = encode_reasoning(block)
                return None if encoded is None else merged(encoded, extras_of(block.extras))
            case ToolCall():
                return self._call(block)
            case ToolResult():
                return self._result(block)
            case HostedCall():
                body = {**hosted_start(block), "input": block.input if isinstance(block.input, dict) else {}}
                return self._marked(body, block.cache, {})
            case HostedResult(format="anthropic_messages", raw=dict(raw)):
                return self._marked(raw, block.cache, {})
            case Opaque(format="anthropic_messages", value=dict(value)):
                return dict(value)
            case _:
                return None

    def _marked(self, body: JsonObject, mark: CacheMark | None, rest: Extras) -> JsonObject:
        control = cache_control(mark)
        if control is not None:
            body = {**body, "cache_control": control}
        return merged(body, extras_of(rest))

    def _text(self, block: Text) -> JsonObject:
        body: JsonObject = {"type": "text", "text": block.text}
        if self._native:
            # a citation whose index nobody encrypted was made by a gateway
            found = [
                encoded
                for citation in block.citations
                if (citation.kind != "url" or citation.opaque) and (encoded := encode_citation(citation)) is not None
            ]
            if found:
                body["citations"] = found
        return self._marked(body, block.cache, block.extras)

    def _image(self, block: Image) -> JsonObject:
        source = block.source
        if isinstance(source, Inline):
            media_type = _sniffed(source, "image/")
            if media_type == "image/svg+xml":
                return self._marked({"type": "text", "text": _decoded_text(source)}, block.cache, {})
            if media_type not in _IMAGES:
                raise self._refused(f"An image of type {media_type}")
            encoded: JsonObject = {"type": "base64", "media_type": media_type, "data": source.data}
        else:
            encoded = self._source(source, "An image")
        return self._marked({"type": "image", "source": encoded}, block.cache, block.extras)

    def _document(self, block: Document) -> JsonObject:
        source = block.source
        if isinstance(source, Inline):
            media_type = _sniffed(source, "application/")
            if media_type == "application/pdf":
                encoded: JsonObject = {"type": "base64", "media_type": media_type, "data": source.data}
            elif _is_text(media_type):
                encoded = {"type": "text", "media_type": "text/plain", "data": _decoded_text(source)}
            else:
                raise self._refused(f"A document of type {media_type}")
        elif isinstance(source, PlainText):
            encoded = {"type": "text", "media_type": "text/plain", "data": source.text}
        elif isinstance(source, Nested):
            encoded = {"type": "content", "content": self.content(source.blocks)}
        else:
            encoded = self._source(source, "A document")
        body: JsonObject = {"type": "document", "source": encoded}
        title = block.title or block.filename
        for name, value in (("title", title), ("context", block.context)):
            if value is not None:
                body[name] = value
        if block.cite is not None and (self._request.output is None or self._native):
            body["citations"] = {"enabled": block.cite}
        return self._marked(body, block.cache, block.extras)

    def _source(self, source: Source, what: str) -> JsonObject:
        match source:
            case Url(url=url) if self._platform in _NO_URLS:
                raise self._refused(f"{what} given as a URL ({url[:80]!r})")
            case Url(url=url):
                if not self._native and not url.lower().startswith("https://"):
                    raise self._refused(f"{what} at a URL that is not https ({url[:80]!r})")
                return {"type": "url", "url": url}
            case FileRef(vendor="anthropic", id=file_id):
                return {"type": "file", "file_id": file_id}
            case FileRef(id=file_id):
                raise self._refused(f"{what} uploaded to another vendor (file {file_id!r})")
            case _:
                raise self._refused(f"{what} in a store of another vendor")

    def _search_result(self, block: SearchResult) -> JsonObject:
        content = self.content(inner for inner in block.blocks if isinstance(inner, Text))
        body: JsonObject = {"type": "search_result", "source": block.source, "title": block.title, "content": content}
        if block.cite is not None:
            body["citations"] = {"enabled": block.cite}
        return self._marked(body, block.cache, block.extras)

    def _call(self, call: ToolCall) -> JsonObject:
        arguments = wrapped_text(call.arguments) if call.kind == "custom" else history_object(call.arguments)
        body: JsonObject = {
            "type": "tool_use",
            "id": self.call_id(call.id),
            "name": self._names[qualified(call.name, call.namespace)],
            "input": arguments,
        }
        if call.caller is not None and self._native:
            body["caller"] = call.caller
        return self._marked(body, call.cache, call.extras)

    def call_id(self, call_id: str) -> str:
        return anthropic_id(call_id, limit=self._id_limit)

    def _result(self, result: ToolResult) -> JsonObject:
        content = self.content(result.blocks)
        body: JsonObject = {"type": "tool_result", "tool_use_id": self.call_id(result.call_id)}
        if result.is_error is not None:
            body["is_error"] = result.is_error
        if not content and result.is_error:
            body["content"] = "error"
        elif len(content) == 1 and content[0].keys() == {"type", "text"}:
            body["content"] = content[0]["text"]
        elif content:
            body["content"] = content
        return self._marked(body, result.cache, result.extras)

    def _refused(self, what: str) -> InvalidRequest:
        return refused(self._request, "turns", what)


def _sniffed(source: Inline, group: str) -> str:
    """The media type, corrected where the data plainly say another of the group: a mismatch is refused upstream."""
    found = sniff(source.data)
    if found != "application/octet-stream" and found.startswith(group):
        return found
    return "image/jpeg" if source.media_type == "image/jpg" else source.media_type


_TEXT_TYPES = ("application/json", "application/xml", "application/x-yaml", "application/javascript")


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in _TEXT_TYPES


def _decoded_text(source: Inline) -> str:
    try:
        return base64.b64decode(source.data).decode("utf-8", "replace")
    except binascii.Error:
        raise InvalidRequest(f"The data of a {source.media_type} document are not valid base64") from None


def limit_marks(body: JsonObject, most: int = 4) -> tuple[str, ...]:
    """Bring the cache marks of a body that nobody else has seen into what is accepted: at most four, none of an hour
    behind one of five minutes. Changes the marked blocks in place; returns what to report."""
    system = body.get("system")
    front = [*body.get("tools", ()), *(system if isinstance(system, list) else ())]
    behind = [block for message in body["messages"] for block in _markable(message["content"])]
    first, rest = _with_marks(front), _with_marks(behind)
    losses = Losses()
    for _ in range(len(first) + len(rest) + ("cache_control" in body) - most):
        del (rest or first).pop(0)["cache_control"]
        losses.drop("cache_marks")
    short = False
    for block in (*first, *rest):
        long = block["cache_control"].get("ttl") == "1h"
        if long and short:
            block["cache_control"] = {"type": "ephemeral", "ttl": "5m"}
            losses.emulate("cache_marks")
        short = short or not long
    return losses.found()


def _with_marks(blocks: Iterable[JsonObject]) -> list[JsonObject]:
    return [block for block in blocks if "cache_control" in block]


def _markable(content: object) -> Iterable[JsonObject]:
    for block in content if isinstance(content, list) else ():
        inner = block.get("content") if block.get("type") == "tool_result" else None
        yield from _markable(inner)
        yield block


def plain(content: list[JsonObject]) -> str | list[JsonObject]:
    """Content as a string where one text says it all."""
    if len(content) == 1 and content[0].keys() == {"type", "text"} and content[0]["type"] == "text":
        text: str = content[0]["text"]
        return text
    return content


def is_blank(block: Block) -> bool:
    """Whether a block is a text that says nothing: refused upstream."""
    return isinstance(block, Text | Refusal) and not block.text.strip()


def headers_of(betas: Iterable[str]) -> tuple[tuple[str, str], ...]:
    value = ",".join(betas)
    return (("anthropic-beta", value),) if value else ()
