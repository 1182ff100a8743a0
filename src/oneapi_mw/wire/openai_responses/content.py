"""Pieces of content between Responses and the canonical blocks: parts, annotations, log probabilities, ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

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
    Refusal,
    SearchResult,
    Source,
    Text,
    Url,
    Video,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire import losses
from oneapi_mw.wire.extras import Mapped, mapped, merged, unmapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.media import decode_url, encode_url, standard_base64

NAME = "openai_responses"
CODE = "invalid_text_request"
"""Error code of a request that is wrong."""
VENDOR = "openai-responses-v1"
"""Who reads the ciphertext of a reasoning item."""
MESSAGE_EXTRAS = f"{NAME}.message"
"""Where the first block of a message keeps the members of its item, apart from those of its part."""

_AUDIO_TYPES = {"mp3": "audio/mpeg"}
_AUDIO_FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/x-wav": "wav"}
_SHORT_TTL, _LONG_TTL = ("5m", "30m"), ("1h", "12h", "24h")
_EXTENSIONS = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "text/csv": "csv"}


def extras(value: Mapping[str, Any], known: Mapped) -> Extras:
    """The members of `value` beside `known`, as extras of this format."""
    rest = unmapped(value, known)
    return {NAME: rest} if rest else {}


def extras_of(source: Extras) -> Mapping[str, Any]:
    """What extras hold for this format."""
    return source.get(NAME, {})


def unsupported(what: str, param: str | None = None) -> InvalidRequest:
    return losses.unsupported(what, "a Responses model", param)


def digest(*parts: object) -> str:
    """Hexadecimal text, the same for the same parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()


def answer_id(upstream_id: str) -> str:
    """An id of this format: the upstream's when it is one, else made from it, so that it stays the same."""
    return upstream_id if upstream_id.startswith("resp_") else "resp_" + digest(upstream_id)[:48]


# Cache marks.


def cache_mark(value: Mapping[str, Any]) -> CacheMark | None:
    """The mark on a part."""
    mark = value.get("prompt_cache_breakpoint")
    if not isinstance(mark, dict):
        return None
    ttl = mark.get("ttl")
    return CacheMark(ttl if ttl in (*_SHORT_TTL, *_LONG_TTL) else None)


def encode_mark(mark: CacheMark) -> JsonObject:
    body: JsonObject = {"mode": "explicit"}
    if mark.ttl is not None:
        body["ttl"] = "30m" if mark.ttl in _SHORT_TTL else "12h"
    return body


# Parts.


_MARK = mapped("type", "prompt_cache_breakpoint")
_TEXT = {**_MARK, **mapped("text", "annotations", "logprobs")}
_REFUSAL = mapped("type", "refusal")
_IMAGE = {**_MARK, **mapped("image_url", "file_id", "detail")}
_NESTED_IMAGE = {**_MARK, **mapped("detail", image_url=mapped("url", "detail"))}
_FILE_MEMBERS = mapped("file_data", "file_id", "file_url", "filename", "detail")
_FILE = {**_MARK, **_FILE_MEMBERS}
_NESTED_FILE = {**_MARK, **mapped(file=_FILE_MEMBERS)}
_SOUND = {**_MARK, **mapped(input_audio=mapped("data", "format"))}


def decode_parts(content: object, where: str, *, item_id: str | None = None) -> tuple[Block, ...]:
    """Blocks of a message's content or a tool's output. Raises `InvalidRequest` naming the part."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content, item_id=item_id),)
    if not isinstance(content, list):
        raise InvalidRequest(f"{where} must be a string or a list of parts", param=where, code=CODE)
    return tuple(_decode_part(part, f"{where}[{index}]", item_id) for index, part in enumerate(content))


def _decode_part(part: object, where: str, item_id: str | None) -> Block:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise InvalidRequest(f"{where} must be an object with a type, like input_text", param=where, code=CODE)
    kind: str = part["type"]
    fields, mark = Fields(part, where, code=CODE), cache_mark(part)
    match kind:
        # the parts of Chat Completions are taken for what they plainly mean
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            return Text(
                _said(fields, "text"),
                decode_annotations(part.get("annotations")),
                decode_logprobs(part.get("logprobs")),
                item_id=item_id,
                cache=mark,
                extras=extras(part, _TEXT),
            )
        case "refusal":
            return Refusal(_said(fields, "refusal"), item_id=item_id, extras=extras(part, _REFUSAL))
        case "input_image" | "image_url":
            return _decode_image(fields, mark)
        case "input_audio":
            sound = fields.inner("input_audio")
            form = sound.required_text("format")
            source = Inline(_AUDIO_TYPES.get(form) or f"audio/{form}", sound.required_text("data"))
            return Audio(source, cache=mark, extras=extras(part, _SOUND))
        case "input_file":
            return _decode_file(fields, mark, extras(part, _FILE))
        case "file":
            return _decode_file(fields.inner("file"), mark, extras(part, _NESTED_FILE))
        case _:
            return Opaque("foreign", NAME, kind, part, mark)


def _said(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if text is None:
        raise fields.wrong(name, "is required and must be a string")
    return text


def _decode_image(fields: Fields, mark: CacheMark | None) -> Image:
    part, detail, known = fields.value, fields.text("detail"), _IMAGE
    source: Source
    if isinstance(part.get("image_url"), dict):
        inner, known = fields.inner("image_url"), _NESTED_IMAGE
        source = _decode_source(inner.required_text("url"), inner.path("url"))
        detail = inner.text("detail") or detail
    elif (url := fields.text("image_url")) is not None:
        source = _decode_source(url, fields.path("image_url"))
    elif (file_id := fields.text("file_id")) is not None:
        source = FileRef("openai", file_id)
    else:
        raise fields.wrong("image_url", "or file_id is required")
    return Image(source, detail, cache=mark, extras=extras(part, known))


def _decode_source(url: str, path: str) -> Source:
    try:
        return decode_url(url)
    except ValueError as exc:
        raise InvalidRequest(f"{path}: {exc}", param=path, code=CODE) from None


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
        raise fields.wrong("file_data", "or file_id or file_url is required")
    return Document(source, fields.text("filename"), detail=fields.text("detail"), cache=mark, extras=rest)


def encode_parts(blocks: Iterable[Block], *, marks: bool) -> list[JsonObject]:
    """Input parts for `blocks`. `marks`: whether cache marks are written. Raises `InvalidRequest`."""
    parts: list[JsonObject] = []
    for block in blocks:
        written = _encode_part(block)
        mark = getattr(block, "cache", None) if written and marks else None
        if mark is not None:
            written[-1]["prompt_cache_breakpoint"] = encode_mark(mark)
        parts += written
    return parts


def _encode_part(block: Block) -> list[JsonObject]:
    """The parts for a block; none for what this format has no place for."""
    match block:
        case Text(text=text, extras=rest):
            return [merged({"type": "input_text", "text": text}, extras_of(rest))]
        case Refusal(text=text):
            return [{"type": "input_text", "text": text}]
        case Image(source=source, detail=detail, extras=rest):
            image: JsonObject = {"type": "input_image", **_image_source(source), "detail": detail or "auto"}
            return [merged(image, extras_of(rest))]
        case Document():
            return _encode_document(block)
        case Audio(source=Inline(media_type, data), extras=rest) if NAME in rest or block.transcript is None:
            if NAME not in rest and media_type not in (*_AUDIO_FORMATS, "audio/wav"):
                raise unsupported(f"audio of type {media_type}")
            form = _AUDIO_FORMATS.get(media_type) or media_type.rpartition("/")[2]
            sound: JsonObject = {"type": "input_audio", "input_audio": {"data": data, "format": form}}
            return [merged(sound, extras_of(rest))]
        case Audio(transcript=str(transcript)):
            return [{"type": "input_text", "text": transcript}]
        case SearchResult():
            heading: JsonObject = {"type": "input_text", "text": f"{block.title} - {block.source}"}
            return [heading, *(part for inner in block.blocks for part in _encode_part(inner))]
        case Opaque(format="openai_responses", value=value):
            return [dict(value)]
        case Opaque():
            return []
        case Video():
            raise unsupported("a video")
        case _:
            raise unsupported(f"content of kind {type(block).__name__}")


def _image_source(source: Source) -> JsonObject:
    if isinstance(source, FileRef):
        return {"file_id": _file_id(source)}
    url = encode_url(source)
    if url is None:
        raise unsupported("an image without data or address")
    return {"image_url": url}


def _file_id(source: FileRef) -> str:
    if source.vendor != "openai":
        raise unsupported("a file uploaded to another vendor")
    return source.id


def _encode_document(block: Document) -> list[JsonObject]:
    """Its context, which this format has no place for, as a text in front of it."""
    context: list[JsonObject] = [{"type": "input_text", "text": block.context}] if block.context else []
    source = block.source
    if isinstance(source, Nested):
        return [*context, *(part for inner in source.blocks for part in _encode_part(inner))]
    name = block.filename or block.title
    file: JsonObject = {"type": "input_file"}
    if isinstance(source, FileRef):
        file["file_id"] = _file_id(source)
    elif isinstance(source, (Inline, PlainText)):
        file["file_data"] = encode_url(source)
        name = name or f"file-1.{_EXTENSIONS.get(source.media_type, 'bin')}"
    else:
        file["file_url"] = encode_url(source)
    if name is not None and not isinstance(source, FileRef):
        file["filename"] = name
    if block.detail is not None:
        file["detail"] = block.detail
    return [*context, merged(file, extras_of(block.extras))]


# Annotations and log probabilities.


_URL_CITATION = ("type", "url", "title", "start_index", "end_index")
_FILE_CITATION = ("type", "file_id", "filename", "start_index", "end_index")


def decode_annotations(value: object) -> tuple[Citation, ...]:
    entries = value if isinstance(value, list) else ()
    return tuple(found for entry in entries if (found := decode_annotation(entry)) is not None)


def decode_annotation(entry: object) -> Citation | None:
    """A citation; `None` for kinds that are not known."""
    if not isinstance(entry, dict):
        return None
    start, end = entry.get("start_index"), entry.get("end_index")
    start, end = (start if type(start) is int else None), (end if type(end) is int else None)
    match entry.get("type"):
        case "url_citation" if isinstance(entry.get("url"), str):
            title = _string(entry.get("title"))
            locator = _rest(entry, _URL_CITATION)
            return Citation("url", entry["url"], title=title, start=start, end=end, locator=locator)
        case "file_citation" | "container_file_citation" | "file_path" if isinstance(entry.get("file_id"), str):
            locator = {"type": entry["type"], **_rest(entry, _FILE_CITATION)}
            filename = _string(entry.get("filename"))
            return Citation("file", file_id=entry["file_id"], filename=filename, start=start, end=end, locator=locator)
        case _:
            return None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _rest(entry: Mapping[str, Any], known: tuple[str, ...]) -> JsonObject:
    return {name: value for name, value in entry.items() if name not in known}


def encode_annotations(citations: Iterable[Citation], length: int) -> list[JsonObject]:
    """Annotations of a text of `length` code points: the range of citations that have none. Equal ones are one."""
    written: list[JsonObject] = []
    for citation in citations:
        annotation = _encode_annotation(citation, length)
        if annotation is not None and annotation not in written:
            written.append(annotation)
    return written


def _encode_annotation(citation: Citation, length: int) -> JsonObject | None:
    """`None` for what has neither an address nor a file of this vendor."""
    start = citation.start or 0
    end = length if citation.end is None else citation.end
    if citation.file_id is not None and "type" in citation.locator:
        file: JsonObject = {**citation.locator, "file_id": citation.file_id}
        if file["type"] != "file_path":
            file["filename"] = citation.filename or ""
        if file["type"] == "container_file_citation":
            file |= {"start_index": start, "end_index": end}
        return file
    if citation.url is None:
        return None
    title = citation.title or citation.url.partition("://")[2].partition("/")[0]
    return {"type": "url_citation", "start_index": start, "end_index": end, "title": title, "url": citation.url}


def decode_logprobs(value: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()


def encode_logprobs(entries: Iterable[Mapping[str, Any]]) -> list[JsonObject]:
    """Entries with all members that this format requires."""
    return [
        {**_token(entry), "top_logprobs": [_token(other) for other in entry.get("top_logprobs") or ()]}
        for entry in entries
    ]


def _token(entry: Mapping[str, Any]) -> JsonObject:
    token = entry.get("token")
    token = token if isinstance(token, str) else ""
    known = entry.get("bytes")
    data = known if isinstance(known, list) else list(token.encode("utf-8", "surrogatepass"))
    return {"token": token, "bytes": data, "logprob": entry.get("logprob", 0.0)}


def delta_logprobs(entries: Iterable[Mapping[str, Any]]) -> list[JsonObject]:
    """Entries as events have them, without bytes."""
    return [
        {
            "token": entry.get("token", ""),
            "logprob": entry.get("logprob", 0.0),
            "top_logprobs": [
                {"token": other.get("token"), "logprob": other.get("logprob")}
                for other in entry.get("top_logprobs") or ()
            ],
        }
        for entry in entries
    ]
