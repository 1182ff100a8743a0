"""Pieces of content between Chat Completions and the canonical blocks: parts, tool calls, reasoning, citations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CacheMark,
    Citation,
    Document,
    Extras,
    FileRef,
    Image,
    Inline,
    Nested,
    Opaque,
    PlainText,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    SearchResult,
    Source,
    Text,
    ToolCall,
    Url,
    Video,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire import losses
from oneapi_mw.wire.extras import Mapped, mapped, merged, unmapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.ids import packed_signature
from oneapi_mw.wire.media import decode_url, encode_url, standard_base64
from oneapi_mw.wire.openai_chat.produced import REASONING_FIELDS

NAME = "openai_chat"
CODE = "invalid_text_request"
"""Error code of a request that is wrong."""
_SIGNATURES = (
    ("extra_content", "google", "thought_signature"),
    ("provider_specific_fields", "thought_signature"),
)
_AUDIO_TYPES = {"mp3": "audio/mpeg", "pcm16": "audio/L16"}
_AUDIO_FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/L16": "pcm16", "audio/x-wav": "wav"}


def extras(value: Mapping[str, Any], known: Mapped) -> Extras:
    """The members of `value` beside `known`, as extras of this format."""
    rest = unmapped(value, known)
    return {NAME: rest} if rest else {}


def extras_of(source: Extras) -> Mapping[str, Any]:
    """What extras hold for this format."""
    return source.get(NAME, {})


def unsupported(what: str, param: str | None = None) -> InvalidRequest:
    return losses.unsupported(what, "a Chat Completions model", param)


def cache_mark(value: Mapping[str, Any]) -> CacheMark | None:
    """The mark on a part, message or tool, in OpenAI's or Anthropic's spelling. It stays among the extras, too."""
    mark = value.get("prompt_cache_breakpoint") or value.get("cache_control")
    if not isinstance(mark, dict):
        return None
    ttl = mark.get("ttl")
    return CacheMark(ttl if ttl in ("5m", "30m", "1h", "12h", "24h") else None)


# Parts.


def decode_parts(content: object, where: str) -> tuple[Block, ...]:
    """Blocks of a message's content. Raises `InvalidRequest` naming the part."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        raise InvalidRequest(f"{where} must be a string, null or a list of parts", param=where, code=CODE)
    return tuple(_decode_part(part, f"{where}[{index}]") for index, part in enumerate(content))


_TEXT = mapped("type", "text")
_REFUSAL = mapped("type", "refusal")
_THINKING = mapped("type", "thinking")
_IMAGE = mapped("type", "detail", image_url=mapped("url", "detail"))
_VIDEO = mapped("type", video_url=mapped("url"))
_SOUND = mapped("type", input_audio=mapped("data", "format"))
_FILE_MEMBERS = mapped("file_data", "file_id", "filename", "file_url")
_FILE = mapped("type", file=_FILE_MEMBERS)
_INPUT_FILE = {**mapped("type"), **_FILE_MEMBERS}


def _decode_part(part: object, where: str) -> Block:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise InvalidRequest(f"{where} must be an object with a type, like text", param=where, code=CODE)
    kind: str = part["type"]
    mark = cache_mark(part)
    fields = Fields(part, where, code=CODE)
    match kind:
        case "text" | "input_text" | "output_text":
            return Text(_said(fields, "text"), cache=mark, extras=extras(part, _TEXT))
        case "refusal":
            return Refusal(_said(fields, "refusal"), cache=mark, extras=extras(part, _REFUSAL))
        case "thinking":  # Mistral, and Claude's blocks as they are
            texts = (ReasoningText(joined_text(part.get("thinking"))),)
            return Reasoning(texts, claude_opaque(part), extras=extras(part, _THINKING))
        case "redacted_thinking" if (opaque := claude_opaque(part)) is not None:
            return Reasoning((), opaque)
        case "image_url" | "input_image":
            source, detail = _decode_visual(fields, "image_url")
            return Image(source, detail=detail, cache=mark, extras=extras(part, _IMAGE))
        case "video_url":
            source, _ = _decode_visual(fields, "video_url")
            return Video(source, cache=mark, extras=extras(part, _VIDEO))
        case "input_audio":
            return _decode_audio(fields.inner("input_audio"), mark, extras(part, _SOUND))
        case "file":
            return _decode_file(fields.inner("file"), mark, extras(part, _FILE))
        case "input_file":
            return _decode_file(fields, mark, extras(part, _INPUT_FILE))
        case _:
            return Opaque("foreign", NAME, kind, part, mark)


def _said(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if text is None:
        raise fields.wrong(name, "is required and must be a string")
    return text


def _decode_visual(fields: Fields, name: Literal["image_url", "video_url"]) -> tuple[Source, str | None]:
    """Source and detail; the URL may stand alone in place of its object."""
    if isinstance(fields.value.get(name), str):
        url, path, detail = fields.value[name], fields.path(name), fields.text("detail")
    else:
        inner = fields.inner(name)
        url, path, detail = inner.required_text("url"), inner.path("url"), inner.text("detail")
    return _decode_source(url, path), detail


def _decode_source(url: str, path: str) -> Source:
    try:
        return decode_url(url)
    except ValueError as exc:
        raise InvalidRequest(f"{path}: {exc}", param=path, code=CODE) from None


def _decode_audio(fields: Fields, mark: CacheMark | None, rest: Extras) -> Audio:
    data, form = fields.required_text("data"), fields.required_text("format")
    return Audio(Inline(_AUDIO_TYPES.get(form) or f"audio/{form}", data), cache=mark, extras=rest)


def _decode_file(fields: Fields, mark: CacheMark | None, rest: Extras) -> Document:
    data, file_id, url = fields.text("file_data"), fields.text("file_id"), fields.text("file_url")
    source: Source
    if file_id is not None:
        source = FileRef("openai", file_id)
    elif data is not None and data[:5].lower() == "data:":
        source = _decode_source(data, fields.path("file_data"))
    elif data is not None:
        source = Inline("application/pdf", standard_base64(data))
    elif url is not None:
        source = Url(url)
    else:
        raise fields.wrong("file_data", "or file_id is required")
    return Document(source, fields.text("filename"), cache=mark, extras=rest)


def encode_content(blocks: Iterable[Block]) -> str | list[JsonObject]:
    """Content of a user or system message: a string where one plain text says it all, else parts."""
    blocks = tuple(blocks)
    if len(blocks) == 1 and isinstance(blocks[0], Text) and not extras_of(blocks[0].extras):
        return blocks[0].text
    return [part for block in blocks for part in encode_part(block)]


def encode_part(block: Block) -> list[JsonObject]:
    """The parts for a block; none for what this format has no place for. Raises `InvalidRequest`."""
    match block:
        case Text(text=text, extras=rest):
            return [merged({"type": "text", "text": text}, extras_of(rest))]
        case Refusal(text=text, extras=rest):
            return [merged({"type": "refusal", "refusal": text}, extras_of(rest))]
        case Image(source=source, detail=detail, extras=rest):
            image: JsonObject = {"url": _url(source, "an image uploaded to another vendor")}
            if detail is not None:
                image["detail"] = detail
            return [merged({"type": "image_url", "image_url": image}, extras_of(rest))]
        case Video(source=source, extras=rest):
            return [merged({"type": "video_url", "video_url": {"url": _url(source, "a video")}}, extras_of(rest))]
        case Audio(source=Inline(media_type, data), extras=rest):
            form = _AUDIO_FORMATS.get(media_type) or media_type.rpartition("/")[2]
            return [merged({"type": "input_audio", "input_audio": {"data": data, "format": form}}, extras_of(rest))]
        case Audio(transcript=str(transcript)):
            return [{"type": "text", "text": transcript}]
        case Document():
            return _encode_document(block)
        case SearchResult():
            heading: JsonObject = {"type": "text", "text": f"{block.title} - {block.source}"}
            return [heading, *(part for inner in block.blocks for part in encode_part(inner))]
        case Opaque(format="openai_chat", value=value):
            return [value]
        case Opaque() | Reasoning():
            return []
        case _:
            raise unsupported(f"content of kind {type(block).__name__}")


def _encode_document(block: Document) -> list[JsonObject]:
    """Its context, which this format has no place for, as a text in front of it."""
    context: list[JsonObject] = [{"type": "text", "text": block.context}] if block.context else []
    if isinstance(block.source, Nested):
        return [*context, *(part for inner in block.source.blocks for part in encode_part(inner))]
    return [*context, _encode_file(block)]


def _encode_file(block: Document) -> JsonObject:
    rest = extras_of(block.extras)
    source = block.source
    if isinstance(source, PlainText):
        title = block.title or block.filename or "document"
        return merged({"type": "text", "text": f'<document title="{title}">\n{source.text}\n</document>'}, rest)
    file: JsonObject = {}
    if isinstance(source, FileRef):
        if source.vendor != "openai":
            raise unsupported("a file uploaded to another vendor")
        file["file_id"] = source.id
    elif isinstance(source, Inline):
        file["file_data"] = _url(source, "a document")
    else:
        file["file_url"] = _url(source, "a document")
    name = block.filename or block.title
    if name is not None:
        file["filename"] = name
    return merged({"type": "file", "file": file}, rest)


def _url(source: Any, what: str) -> str:
    url = encode_url(source)
    if url is None:
        raise unsupported(what)
    return url


# Reasoning.


def joined_text(value: object) -> str:
    """Text of a string, or of a list of parts; empty for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(joined_text(part.get("text")) for part in value if isinstance(part, dict))
    return ""


def reasoning_text(message: Mapping[str, Any], name: str) -> str:
    """Text in the reasoning field `name`; some hosts wrap it in an object."""
    value = message.get(name)
    if isinstance(value, dict):
        value = value.get("content") or value.get("text")
    return value if isinstance(value, str) else ""


def reasoning_source(message: Mapping[str, Any]) -> str | None:
    """The first reasoning field that says something."""
    details = message.get("reasoning_details")
    if isinstance(details, list) and any(isinstance(entry, dict) and detail_text(entry) for entry in details):
        return "reasoning_details"
    return next((name for name in REASONING_FIELDS if reasoning_text(message, name)), None)


def detail_text(entry: Mapping[str, Any]) -> str:
    """Readable text in an entry of `reasoning_details`."""
    value = entry.get("text") or entry.get("summary")
    return value if isinstance(value, str) else ""


def detail_opaque(entry: Mapping[str, Any]) -> ReasoningOpaque | None:
    """Signature or ciphertext in an entry of `reasoning_details`."""
    vendor = entry.get("format")
    vendor = vendor if isinstance(vendor, str) else ""
    item_id = entry.get("id")
    item_id = item_id if isinstance(item_id, str) else None
    if isinstance(entry.get("signature"), str) and entry["signature"]:
        return ReasoningOpaque(entry["signature"], vendor, "signature", item_id)
    if isinstance(entry.get("data"), str) and entry["data"]:
        return ReasoningOpaque(entry["data"], vendor, "encrypted", item_id)
    return None


def claude_opaque(block: Mapping[str, Any]) -> ReasoningOpaque | None:
    """Signature or ciphertext of a block of Claude's, which some clients carry as it is."""
    signature, data = block.get("signature"), block.get("data")
    if isinstance(signature, str) and signature:
        return ReasoningOpaque(signature, _maker(signature))
    if isinstance(data, str) and data:
        return ReasoningOpaque(data, _maker(data), "encrypted")
    return None


def _maker(data: str) -> str:
    """Whose a value in a field of Claude's is: what is in an envelope tells that itself."""
    return "" if data.startswith("oa1.") else "anthropic-claude-v1"


def encode_detail(opaque: ReasoningOpaque, index: int, text: str | None = None) -> JsonObject:
    """An entry of `reasoning_details` for an opaque part.

    Args:
        text: what a signature is about; `None` where a stream has told it already.
    """
    if opaque.kind == "signature":
        entry: JsonObject = {"type": "reasoning.text"}
        if text is not None:
            entry["text"] = text
        entry["signature"] = opaque.data
    else:
        entry = {"type": "reasoning.encrypted", "data": opaque.data}
    if opaque.id is not None:
        entry["id"] = opaque.id
    return {**entry, "format": opaque.vendor, "index": index}


def encode_details(blocks: Iterable[Reasoning]) -> list[JsonObject]:
    """`reasoning_details` of a whole message: an entry for each text and each opaque part."""
    entries: list[JsonObject] = []
    for index, block in enumerate(blocks):
        opaque = block.opaque
        for part in block.texts:
            if not part.text:
                continue
            key = "summary" if part.summary else "text"
            entry: JsonObject = {"type": f"reasoning.{key}", key: part.text}
            if opaque is not None and opaque.kind == "signature":
                entry = {**entry, **encode_detail(opaque, index), "type": entry["type"]}
                opaque = None
            entries.append({**entry, "index": index})
        if opaque is not None:
            entries.append(encode_detail(opaque, index, ""))
    return entries


# Tool calls and citations.


def arguments_text(value: object) -> str:
    """Arguments as text; some servers send the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value).decode()


def call_signature(call: Mapping[str, Any]) -> ReasoningOpaque | None:
    """Gemini's thought signature of a call, where its compatible endpoint or another gateway puts it."""
    call_id = call.get("id")
    for value in (
        *(_at(call, path) for path in _SIGNATURES),
        packed_signature(call_id) if isinstance(call_id, str) else None,
    ):
        if isinstance(value, str) and value:
            return ReasoningOpaque(value, "google-gemini-v1")
    return None


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def encode_signature(opaque: ReasoningOpaque) -> JsonObject:
    """`extra_content` of a call."""
    return {"google": {"thought_signature": opaque.data}}


def encode_call(call: ToolCall) -> JsonObject:
    """An entry of `tool_calls`."""
    body: JsonObject = {"id": call.id, "type": call.kind}
    if call.kind == "custom":
        body["custom"] = {"name": call.name, "input": call.arguments}
    else:
        body["function"] = {"name": call.name, "arguments": call.arguments if call.arguments.strip() else "{}"}
    if call.opaque is not None:
        body["extra_content"] = encode_signature(call.opaque)
    return merged(body, extras_of(call.extras))


def decode_citation(annotation: object) -> Citation | None:
    """A citation from an annotation; `None` for kinds that are not known."""
    if not isinstance(annotation, dict) or annotation.get("type") != "url_citation":
        return None
    fields = annotation.get("url_citation")
    if not isinstance(fields, dict) or not isinstance(fields.get("url"), str):
        return None
    start, end, title = fields.get("start_index"), fields.get("end_index"), fields.get("title")
    return Citation(
        "url",
        url=fields["url"],
        title=title if isinstance(title, str) else None,
        start=start if type(start) is int else None,
        end=end if type(end) is int else None,
    )


def encode_citation(citation: Citation, offset: int = 0, length: int = 0) -> JsonObject | None:
    """An annotation; `None` for what has no URL.

    Args:
        offset: where the citation's block begins in the content, in code points.
        length: of that block: the range of a citation that has none.
    """
    if citation.url is None:
        return None
    start = citation.start or 0
    end = length if citation.end is None else citation.end
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": offset + start,
            "end_index": offset + end,
            "title": citation.title or citation.url.partition("://")[2].partition("/")[0],
            "url": citation.url,
        },
    }
