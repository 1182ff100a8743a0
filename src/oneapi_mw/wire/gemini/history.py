"""Contents and the system instruction of a client, as texts and turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.blocks import (
    Block,
    Document,
    Image,
    Inline,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from oneapi_mw.canonical.request import Role, Turn
from oneapi_mw.jsontext import dumps
from oneapi_mw.wire.arguments import arguments_text
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.gemini.content import (
    HOSTED,
    NAME,
    decode_hosted,
    decode_signature,
    decode_uri,
    extras,
    is_enveloped,
    media_block,
    wrong,
)
from oneapi_mw.wire.ids import synthetic_id
from oneapi_mw.wire.media import standard_base64

_CONTENT = mapped("role", "parts")
_TEXT = mapped("text", "thought", "thoughtSignature")
_INLINE = mapped(
    "thoughtSignature", "videoMetadata", inlineData=mapped("mimeType", "data"), mediaResolution=mapped("level")
)
_FILE = mapped(
    "thoughtSignature", "videoMetadata", fileData=mapped("mimeType", "fileUri"), mediaResolution=mapped("level")
)
_CALL = mapped("thoughtSignature", functionCall=mapped("id", "name", "args"))
_RESULT = mapped(functionResponse=mapped("id", "name", "response", "parts"))
_HOSTED_PART = mapped("thoughtSignature", *HOSTED)
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", *HOSTED)
_ROLES: Mapping[object, Role] = {None: "user", "": "user", "user": "user", "function": "user", "model": "assistant"}
RESOLUTION = "MEDIA_RESOLUTION_"
DETAILS = {"LOW": "low", "HIGH": "high", "ULTRA_HIGH": "original"}
"""Levels of `mediaResolution`, in OpenAI's words for the same."""


def decode_system(fields: Fields) -> tuple[Text, ...]:
    """Raises `InvalidRequest`."""
    value = fields.value.get("systemInstruction")
    if value is None:
        return ()
    if isinstance(value, str):
        return (Text(value, origin="system"),)
    texts = []
    for part in fields.inner("systemInstruction").objects("parts"):
        text = part.text("text")
        if text is None:
            raise part.wrong("text", "is required: instructions hold only text")
        texts.append(Text(text, origin="system", extras=extras(part.value, mapped("text"))))
    return tuple(texts)


def decode_turns(fields: Fields) -> tuple[Turn, ...]:
    """Raises `InvalidRequest`."""
    reader = _ContentsReader()
    return tuple(reader.turn(content, index) for index, content in enumerate(fields.objects("contents")))


class _ContentsReader:
    """Reads contents in order: results without ids answer the calls before them by name and place."""

    def __init__(self) -> None:
        self._open: list[ToolCall] = []  # calls of the last model content that have no result yet
        self._code_id = ""

    def turn(self, content: Fields, index: int) -> Turn:
        role = _ROLES.get(content.value.get("role"))
        if role is None:
            raise content.wrong("role", f"{content.value.get('role')!r} is not known: use user or model")
        blocks: list[Block] = []
        for place, part in enumerate(content.objects("parts")):
            self._part(part, index, place, blocks)
        if role == "assistant":
            blocks = _joined(blocks)
            self._open = [block for block in blocks if isinstance(block, ToolCall)]
        return Turn(role, tuple(blocks), extras=extras(content.value, _CONTENT))

    def _part(self, part: Fields, index: int, place: int, blocks: list[Block]) -> None:
        data = [name for name in _DATA if part.value.get(name) is not None]
        where = part.path("")[:-1]
        if len(data) > 1:
            raise wrong(where, f"must have exactly one of {' and '.join(data)}")
        signature = decode_signature(part.value.get("thoughtSignature"))
        kind = data[0] if data else "text" if signature is not None else ""
        if signature is not None and is_enveloped(signature) and part.value.get("thought") is not True:
            _put_back(signature, blocks)
            signature = None
        match kind:
            case "text":
                self._text(part, signature, blocks)
            case "inlineData" | "fileData":
                blocks.append(_decode_media(part, kind, signature))
            case "functionCall":
                blocks.append(_decode_call(part, signature, index, place))
            case "functionResponse":
                blocks.append(self._result(part, index, place))
            case "":
                known = next(iter(part.value), None)
                if known is None:
                    raise wrong(where, 'must have a data field, like {"text": "Hi"}')
                blocks.append(Opaque("foreign", NAME, known, part.value))
            case _:
                blocks.append(self._hosted(part, kind, index, place))

    def _text(self, part: Fields, signature: ReasoningOpaque | None, blocks: list[Block]) -> None:
        text = part.text("text") or ""
        rest = extras(part.value, _TEXT)
        if part.value.get("thought") is True:
            blocks.append(Reasoning((ReasoningText(text),) if text else (), signature, extras=rest))
        else:
            blocks.append(Text(text, opaque=signature, extras=rest))

    def _result(self, part: Fields, index: int, place: int) -> ToolResult:
        value = part.inner("functionResponse")
        name, given = value.required_text("name"), value.text("id")
        call = next((call for call in self._open if given and call.id == given), None)
        call = call or next((call for call in self._open if call.name == name), None)
        if call is not None:
            self._open.remove(call)
        call_id = call.id if call is not None else given or synthetic_id(index, place, name)
        response = value.object("response") or {}
        is_error = True if "error" in response and "output" not in response else None
        blocks = [*_result_texts(response, is_error=bool(is_error))]
        blocks += (
            _decode_media(inner, "inlineData" if "inlineData" in inner.value else "fileData", None)
            for inner in value.objects("parts")
        )
        structured = None if set(response) <= {"output"} or (is_error and len(response) == 1) else response
        return ToolResult(call_id, tuple(blocks), name, is_error, structured, extras=extras(part.value, _RESULT))

    def _hosted(self, part: Fields, kind: str, index: int, place: int) -> Block:
        value = part.inner(kind)
        given = value.text("id")
        if kind in ("executableCode", "toolCall"):
            self._code_id = given or synthetic_id("hosted", index, place)
        call_id = given or self._code_id or synthetic_id("hosted", index, place)
        return decode_hosted(part.value, kind, call_id, extras(part.value, _HOSTED_PART))


def _joined(blocks: list[Block]) -> list[Block]:
    """What was said and thought in one stretch as one block each: clients keep a stream's parts as they came.

    A signature ends a stretch of thoughts it is about; signed texts stay as they are.
    """
    joined: list[Block] = []
    for block in blocks:
        match joined[-1:], block:
            case [Reasoning(opaque=None) as last], Reasoning() if not (last.extras or block.extras):
                text = last.text + block.text
                joined[-1] = replace(block, texts=(ReasoningText(text),) if text else ())
            case [Text(opaque=None) as last], Text(opaque=None) if not (last.extras or block.extras):
                joined[-1] = Text(last.text + block.text)
            case _:
                joined.append(block)
    return joined


def _put_back(signature: ReasoningOpaque, blocks: list[Block]) -> None:
    """Another vendor's signature stands on the part behind the thoughts it is about."""
    last = blocks[-1] if blocks else None
    if isinstance(last, Reasoning) and last.opaque is None:
        blocks[-1] = replace(last, opaque=signature)
    else:
        blocks.append(Reasoning((), signature))


def _decode_media(part: Fields, kind: str, signature: ReasoningOpaque | None) -> Block:
    value = part.inner(kind)
    media_type = value.text("mimeType")
    source: Source
    if kind == "inlineData":
        data = value.text("data")
        if data is None:
            raise value.wrong("data", "is required: base64 text")
        source = Inline(media_type or "application/octet-stream", standard_base64(data))
    else:
        source = decode_uri(value.required_text("fileUri"), media_type)
    block = media_block(source, extras(part.value, _INLINE if kind == "inlineData" else _FILE))
    level = part.inner("mediaResolution").text("level")
    detail = DETAILS.get(level.removeprefix(RESOLUTION)) if level else None
    match block:
        case Image():
            return replace(block, detail=detail, resolution=level, opaque=signature)
        case Video():
            video = part.inner("videoMetadata")
            fps = video.number("fps")
            return replace(
                block, start=video.text("startOffset"), end=video.text("endOffset"), fps=fps, resolution=level
            )
        case Document():
            return replace(block, detail=detail)
        case _:
            return block


def _decode_call(part: Fields, signature: ReasoningOpaque | None, index: int, place: int) -> ToolCall:
    call = part.inner("functionCall")
    name = call.required_text("name")
    return ToolCall(
        call.text("id") or synthetic_id(index, place, name),
        name,
        arguments_text(call.object("args")),
        opaque=signature,
        extras=extras(part.value, _CALL),
    )


def _result_texts(response: Mapping[str, Any], *, is_error: bool) -> list[Block]:
    if not response:
        return []
    key = "error" if is_error else "output"
    value: Any = response[key] if set(response) == {key} else response
    text = value if isinstance(value, str) else dumps(value).decode()
    return [Text(text)] if text else []
