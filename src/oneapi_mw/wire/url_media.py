"""Media that a request names by URL: where they stand in the client's body, who takes them so, and how they look
when their data stand there instead.

The body is edited in its own format, before anything is converted: what a client of another format sent and what is
passed on as it came get the same treatment, and an error names the field the client wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeGuard

from oneapi_mw.canonical.blocks import CloudUri, Inline
from oneapi_mw.canonical.call import Call
from oneapi_mw.immutable import immutable
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.gemini.content import decode_uri, media_type_of
from oneapi_mw.wire.media import encode_url
from oneapi_mw.wire.openai_chat.hosts import takes_files
from oneapi_mw.wire.target import Target

Kind: TypeAlias = Literal["image", "document", "audio", "video", "any"]


@immutable
class UrlPart:
    """A URL in the place of media."""

    path: str
    """Of the URL in the body."""
    url: str
    kind: Kind
    """What has to be there; `any` where the request does not say."""
    media_type: str | None = None
    """As the client declares it."""


Edit: TypeAlias = Callable[[UrlPart], Inline | None]
"""What to write in place of a part; `None` leaves it alone."""


def url_parts(call: Call) -> list[UrlPart]:
    """The parts of `call`, in order."""
    found: list[UrlPart] = []
    _EDITED[call.format](call.body, found.append)
    return found


def with_data(call: Call, data: Mapping[str, Inline]) -> Call:
    """`call` with data at these paths. What does not lead there is shared with the old body."""
    return call.with_body(_EDITED[call.format](call.body, lambda part: data.get(part.path)))


# Who takes what.

_BLIND = ("bedrock", "vertex")
"""Platforms on which Claude fetches nothing."""


def takes_urls(wire: str, target: Target) -> bool:
    """Whether requests that come in the upstream's own format can go there with all their URLs. What is not known to
    be refused is the upstream's to judge."""
    if target.options.inline_urls:
        return False
    if target.options.strict_passthrough:
        return True
    match wire:
        case "anthropic_messages":
            return target.platform not in _BLIND
        case "gemini":
            return target.platform == "vertex" or target.rules.url_media or not target.rules.known
        case _:
            return True


def takes_url(part: UrlPart, wire: str, target: Target) -> bool:
    """Whether this part of a request in another format can be written as a URL for `target`, or not at all."""
    if part.kind == "video":  # too large to be data
        return True
    if target.options.inline_urls:
        return False
    is_https = part.url[:8].lower() == "https://"
    match wire:
        case "anthropic_messages":
            return part.kind == "audio" or (is_https and target.platform not in _BLIND)
        case "gemini":
            is_typed = (part.media_type or media_type_of(part.url)) is not None
            return is_https and is_typed and (target.platform == "vertex" or target.rules.url_media)
        case "openai_chat":  # only images have a URL there, and not everybody takes files
            return part.kind == "image" or (part.kind == "document" and not takes_files(target))
        case _:
            return True


def parts_to_inline(call: Call, wire: str, target: Target) -> list[UrlPart]:
    """The parts of `call` whose data an upstream that speaks `wire` has to be sent."""
    if call.format == wire:
        return [] if takes_urls(wire, target) else [part for part in url_parts(call) if part.kind != "video"]
    return [part for part in url_parts(call) if not takes_url(part, wire, target)]


# Bodies. Whatever is not as it should be is left to the decoders to complain about.

_EXTENSIONS = {"application/pdf": "pdf"}
_GEMINI_AUDIO = {"audio/mpeg": "audio/mp3"}


def _each(owner: JsonObject, name: str, where: str, edited: Callable[[JsonObject, str], JsonObject]) -> JsonObject:
    """`owner` with the objects in its list `name` edited; itself when none was."""
    old = owner.get(name)
    if not isinstance(old, list):
        return owner
    path = f"{where}.{name}" if where else name
    new = [edited(item, f"{path}[{index}]") if isinstance(item, dict) else item for index, item in enumerate(old)]
    return owner if all(one is other for one, other in zip(new, old, strict=True)) else {**owner, name: new}


def _is_address(value: object) -> TypeGuard[str]:
    """Whether it is a URL whose content is elsewhere, and not in a cloud's own store."""
    return isinstance(value, str) and value[:5].lower() not in ("data:", "gs://")


def _chat(body: JsonObject, edit: Edit) -> JsonObject:
    def message(value: JsonObject, where: str) -> JsonObject:
        return _each(value, "content", where, lambda part, at: _openai_part(part, at, edit))

    return _each(body, "messages", "", message)


def _responses(body: JsonObject, edit: Edit) -> JsonObject:
    def item(value: JsonObject, where: str) -> JsonObject:
        for name in ("content", "output"):  # of messages, and of what tools gave
            value = _each(value, name, where, lambda part, at: _openai_part(part, at, edit))
        return value

    return _each(body, "input", "", item)


def _openai_part(part: JsonObject, where: str, edit: Edit) -> JsonObject:
    match part.get("type"):
        case "image_url" | "input_image":
            return _openai_image(part, where, edit)
        case "input_file":
            return _openai_file(part, where, edit)
        case "file" if isinstance(part.get("file"), dict):
            file = _openai_file(part["file"], f"{where}.file", edit)
            return part if file is part["file"] else {**part, "file": file}
        case _:
            return part


def _openai_image(part: JsonObject, where: str, edit: Edit) -> JsonObject:
    image = part.get("image_url")
    nested = isinstance(image, dict)
    url = image.get("url") if isinstance(image, dict) else image
    if not _is_address(url):
        return part
    found = edit(UrlPart(f"{where}.image_url.url" if nested else f"{where}.image_url", url, "image"))
    if found is None:
        return part
    data = encode_url(found)
    return {**part, "image_url": {**image, "url": data} if isinstance(image, dict) else data}


def _openai_file(file: JsonObject, where: str, edit: Edit) -> JsonObject:
    url = file.get("file_url")
    if not _is_address(url) or file.get("file_id") is not None or file.get("file_data") is not None:
        return file
    found = edit(UrlPart(f"{where}.file_url", url, "document"))
    if found is None:
        return file
    rest = {name: value for name, value in file.items() if name != "file_url"}
    name = file.get("filename") or f"file-1.{_EXTENSIONS.get(found.media_type, 'bin')}"
    return {**rest, "filename": name, "file_data": encode_url(found)}


def _messages(body: JsonObject, edit: Edit) -> JsonObject:
    def block(value: JsonObject, where: str) -> JsonObject:
        match value.get("type"):
            case "tool_result":
                return _each(value, "content", where, block)
            case "image" | "document" as kind if isinstance(value.get("source"), dict):
                source = _source(value["source"], kind, f"{where}.source")
                return value if source is value["source"] else {**value, "source": source}
            case _:
                return value

    def _source(source: JsonObject, kind: Literal["image", "document"], where: str) -> JsonObject:
        url = source.get("url")
        if source.get("type") == "content":
            return _each(source, "content", where, block)
        if source.get("type") != "url" or not isinstance(url, str):
            return source
        found = edit(UrlPart(f"{where}.url", url, kind))
        if found is None:
            return source
        return {"type": "base64", "media_type": found.media_type, "data": found.data}

    return _each(body, "messages", "", lambda message, where: _each(message, "content", where, block))


def _gemini(body: JsonObject, edit: Edit) -> JsonObject:
    def part(value: JsonObject, where: str) -> JsonObject:
        for name in ("functionResponse", "function_response"):
            inner = value.get(name)
            if isinstance(inner, dict):
                edited = _each(inner, "parts", f"{where}.{name}", part)
                return value if edited is inner else {**value, name: edited}
        name = "fileData" if "fileData" in value else "file_data"
        file = value.get(name)
        return _gemini_file(value, name, file, f"{where}.{name}", edit) if isinstance(file, dict) else value

    return _each(body, "contents", "", lambda content, where: _each(content, "parts", where, part))


def _gemini_file(part: JsonObject, name: str, file: JsonObject, where: str, edit: Edit) -> JsonObject:
    field = "fileUri" if "fileUri" in file else "file_uri"
    uri, media_type = file.get(field), file.get("mimeType", file.get("mime_type"))
    if not isinstance(uri, str) or isinstance(decode_uri(uri, None), CloudUri):
        return part
    media_type = media_type.lower() if isinstance(media_type, str) else None
    found = edit(UrlPart(f"{where}.{field}", uri, _kind(media_type or media_type_of(uri)), media_type))
    if found is None:
        return part
    data = {"mimeType": _GEMINI_AUDIO.get(found.media_type, found.media_type), "data": found.data}
    if "displayName" in file:
        data["displayName"] = file["displayName"]
    return {key if key != name else "inlineData": value if key != name else data for key, value in part.items()}


def _nothing(body: JsonObject, edit: Edit) -> JsonObject:
    """Of a format without media."""
    return body


def _kind(media_type: str | None) -> Kind:
    match (media_type or "").partition("/")[0]:
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
        case "":
            return "any"
        case _:
            return "document"


_EDITED: Mapping[str, Callable[[JsonObject, Any], JsonObject]] = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic_messages": _messages,
    "gemini": _gemini,
    "openai_completions": _nothing,
}
