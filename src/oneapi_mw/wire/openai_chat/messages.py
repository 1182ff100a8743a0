"""The message list, to and from system texts and turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    ContainerFile,
    HostedCall,
    HostedResult,
    Opaque,
    Reasoning,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from oneapi_mw.canonical.request import Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.ids import synthetic_id, without_composite
from oneapi_mw.wire.openai_chat.content import (
    CODE,
    NAME,
    arguments_text,
    cache_mark,
    call_signature,
    claude_opaque,
    decode_parts,
    detail_opaque,
    detail_text,
    encode_call,
    encode_content,
    encode_details,
    extras,
    extras_of,
    joined_text,
    reasoning_source,
    reasoning_text,
    unsupported,
)
from oneapi_mw.wire.openai_chat.produced import REASONING_FIELDS

_INSTRUCTIONS = ("system", "developer")
_MESSAGE_EXTRAS = f"{NAME}.message"
"""Where a text of instructions keeps the members of its message, apart from those of its part."""
_SAID = mapped("role", "content")
_USER = mapped("role", "content", "name")
_RESULT = mapped("role", "content", "name", "tool_call_id")
_SIGNATURE = mapped(google=mapped("thought_signature"))
_CALL = mapped("id", "type", function=mapped("name", "arguments"), extra_content=_SIGNATURE)
_CUSTOM_CALL = mapped("id", "type", custom=mapped("name", "input"), extra_content=_SIGNATURE)
_ASSISTANT = mapped(
    "role",
    "content",
    "name",
    "refusal",
    "tool_calls",
    "function_call",
    "reasoning_details",
    *REASONING_FIELDS,
    audio=mapped("id", "transcript"),
)


# Decoding.


def decode_messages(messages: Sequence[JsonObject]) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """Leading instructions, and what was said after them. Raises `InvalidRequest`."""
    start = 0
    system: list[Text] = []
    while start < len(messages) and messages[start].get("role") in _INSTRUCTIONS:
        system += _instructions(messages[start], f"messages[{start}]")
        start += 1
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for index in range(start, len(messages)):
        message, where = messages[index], f"messages[{index}]"
        fields = Fields(message, where, code=CODE)
        match message.get("role"):
            case "system" | "developer":
                turns.append(Turn("system", _instructions(message, where)))
            case "user":
                blocks = decode_parts(message.get("content"), f"{where}.content")
                turns.append(Turn("user", blocks, fields.text("name"), extras=extras(message, _USER)))
            case "assistant":
                turns.append(_assistant(fields, where, index))
                names |= {block.id: block.name for block in turns[-1].blocks if isinstance(block, ToolCall)}
            case "tool" | "function":
                result = _tool_result(fields, where, names)
                if turns and _is_results(turns[-1]):
                    turns[-1] = Turn("user", (*turns[-1].blocks, result))
                else:
                    turns.append(Turn("user", (result,)))
            case role:
                raise InvalidRequest(
                    f"{where}.role {role!r} is not known: use system, developer, user, assistant or tool",
                    param=f"{where}.role",
                    code=CODE,
                )
    return tuple(system), tuple(turns)


def _is_results(turn: Turn) -> bool:
    return bool(turn.blocks) and isinstance(turn.blocks[-1], ToolResult)


def _instructions(message: JsonObject, where: str) -> tuple[Text, ...]:
    role = message["role"]
    rest = extras(message, _SAID)
    texts = []
    for block in decode_parts(message.get("content"), f"{where}.content"):
        if not isinstance(block, Text):
            raise InvalidRequest(f"{where}.content may hold only text", param=f"{where}.content", code=CODE)
        merged_extras = {**block.extras, **({_MESSAGE_EXTRAS: rest[NAME]} if rest else {})}
        texts.append(Text(block.text, origin=role, cache=block.cache or cache_mark(message), extras=merged_extras))
    return tuple(texts)


def _assistant(fields: Fields, where: str, index: int) -> Turn:
    message = fields.value
    blocks: list[Block] = [*decode_reasoning(message)]
    blocks += (block for block in decode_parts(message.get("content"), f"{where}.content") if not _is_empty(block))
    refusal = fields.text("refusal")
    if refusal:
        blocks.append(Refusal(refusal))
    audio = fields.inner("audio")
    audio_id = audio.text("id")
    if audio_id is not None:
        blocks.append(Audio(transcript=audio.text("transcript"), audio_id=audio_id))
    blocks += (_decode_call(call, index, place) for place, call in enumerate(fields.objects("tool_calls")))
    legacy = fields.object("function_call")
    if legacy is not None:
        call = Fields({"function": legacy}, f"{where}.function_call", code=CODE)
        blocks.append(_decode_call(call, index, 0))
    return Turn("assistant", tuple(blocks), fields.text("name"), extras=extras(message, _ASSISTANT))


def _is_empty(block: Block) -> bool:
    return isinstance(block, Text) and not block.text


def decode_reasoning(message: JsonObject) -> list[Reasoning]:
    """Reasoning of a whole message: one block per entry index of `reasoning_details`, Claude's blocks as they are, or
    one of a text field."""
    source = reasoning_source(message)
    blocks: dict[int | str, Reasoning] = {}
    details = message.get("reasoning_details")
    for place, entry in enumerate(details if isinstance(details, list) else ()):
        if not isinstance(entry, dict):
            continue
        key = entry.get("index")
        key = key if type(key) is int else f"place {place}"
        known = blocks.get(key, Reasoning())
        texts = known.texts
        if source == "reasoning_details" and (more := detail_text(entry)):
            texts = (*texts, ReasoningText(more, entry.get("type") == "reasoning.summary"))
        blocks[key] = Reasoning(texts, detail_opaque(entry) or known.opaque)
    found = [block for block in blocks.values() if block.texts or block.opaque]
    if not found and (whole := _thinking_blocks(message)):
        return whole
    if source is None or source == "reasoning_details":
        return found
    text = ReasoningText(reasoning_text(message, source))
    if not found:
        return [Reasoning((text,), claude_opaque({"signature": message.get("signature")}))]
    return [Reasoning((text,), found[0].opaque), *found[1:]]


def _thinking_blocks(message: JsonObject) -> list[Reasoning]:
    blocks = message.get("thinking_blocks")
    found = []
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict):
            text = joined_text(block.get("thinking"))
            found.append(Reasoning((ReasoningText(text),) if text else (), claude_opaque(block)))
    return [block for block in found if block.texts or block.opaque]


def _decode_call(call: Fields, index: int, place: int) -> ToolCall:
    custom = call.value.get("type") == "custom"
    kind: Literal["function", "custom"] = "custom" if custom else "function"
    body = call.inner(kind)
    name = body.required_text("name")
    return ToolCall(
        without_composite(call.text("id") or "") or synthetic_id(index, place, name),
        name,
        arguments_text(body.value.get("input" if custom else "arguments")),
        kind,
        opaque=call_signature(call.value),
        cache=cache_mark(call.value),
        extras=extras(call.value, _CUSTOM_CALL if custom else _CALL),
    )


def _tool_result(fields: Fields, where: str, names: dict[str, str]) -> ToolResult:
    message = fields.value
    name, call_id = fields.text("name"), fields.text("tool_call_id")
    if message["role"] == "function":
        # results of the old kind name the function; they answer its last call
        call_id = next((known for known, called in reversed(names.items()) if called == name), None)
    call_id = without_composite(call_id or "")
    if not call_id:
        raise fields.wrong("tool_call_id", "is required: name the call this answers")
    return ToolResult(
        call_id,
        decode_parts(message.get("content"), f"{where}.content"),
        name or names.get(call_id),
        cache=cache_mark(message),
        extras=extras(message, _RESULT),
    )


# Encoding.


def encode_messages(system: Iterable[Text], turns: Iterable[Turn]) -> list[JsonObject]:
    """Raises `InvalidRequest` for what this format cannot say."""
    messages = [_encode_instructions(text) for text in system]
    for turn in turns:
        if turn.role == "system":
            messages += [_encode_instructions(block) for block in turn.blocks if isinstance(block, Text)]
        elif turn.role == "assistant":
            messages.append(encode_assistant(turn))
        else:
            messages += _encode_user(turn)
    return messages


def _encode_instructions(text: Text) -> JsonObject:
    """One message per text. What sits on a part keeps it in the form of one."""
    part = extras_of(text.extras)
    content: Any = [merged({"type": "text", "text": text.text}, part)] if part else text.text
    message = {"role": "developer" if text.origin == "developer" else "system", "content": content}
    return merged(message, text.extras.get(_MESSAGE_EXTRAS, {}))


def _encode_user(turn: Turn) -> list[JsonObject]:
    """Results become `tool` messages in front, the rest one user message behind them."""
    results = [block for block in turn.blocks if isinstance(block, ToolResult)]
    content = [block for block in turn.blocks if not isinstance(block, ToolResult)]
    messages: list[JsonObject] = []
    shown: list[JsonObject] = []
    for result in results:
        message, images = _encode_result(result)
        messages.append(message)
        shown += images
    if content or not results:
        said: JsonObject = {"role": "user", "content": encode_content(content) if content else ""}
        messages.append(_named(said, turn))
    if shown:
        messages.insert(len(results), {"role": "user", "content": shown})
    return messages


def _encode_result(result: ToolResult) -> tuple[JsonObject, list[JsonObject]]:
    """The `tool` message, and parts for a user message behind the results: tools may only answer in text."""
    texts: list[str] = []
    shown: list[JsonObject] = []
    for block in result.blocks:
        if isinstance(block, Text):
            texts.append(block.text)
            continue
        parts = encode_content([block])
        assert isinstance(parts, list)
        number = len(shown) // 2 + 1
        word = "image" if parts and parts[0]["type"] == "image_url" else "attachment"
        texts.append(f"[{word} {number} of {result.call_id} follows]")
        shown += [{"type": "text", "text": f"{word.capitalize()} {number} of {result.call_id}:"}, *parts]
    text = "\n".join(texts)
    if result.is_error and not text.startswith("Error: "):
        text = f"Error: {text}"
    message: JsonObject = {"role": "tool", "tool_call_id": result.call_id, "content": text}
    return merged(message, extras_of(result.extras)), shown


def _named(message: JsonObject, turn: Turn) -> JsonObject:
    if turn.name is not None:
        message["name"] = turn.name
    return merged(message, extras_of(turn.extras))


def encode_assistant(turn: Turn) -> JsonObject:
    """One message: reasoning, text, refusal, audio and calls have their own members, so their order is lost."""
    content: list[Block] = []
    reasoning: list[Reasoning] = []
    calls: list[JsonObject] = []
    message: JsonObject = {"role": "assistant", "content": None}
    for block in turn.blocks:
        match block:
            case Reasoning():
                reasoning.append(block)
            case ToolCall():
                calls.append(encode_call(block))
            case Refusal(text=text):
                message["refusal"] = message.get("refusal", "") + text
            case Audio(audio_id=str(audio_id)):
                message["audio"] = {"id": audio_id}
            case HostedCall() | HostedResult() | ContainerFile():
                pass  # this format has no place for them
            case Opaque() if block.format != "openai_chat":
                pass
            case ToolResult():
                raise unsupported("a tool result in an assistant turn")
            case _:
                content.append(block)
    if content:
        message["content"] = _assistant_content(content)
    elif not calls and "refusal" not in message and "audio" not in message:
        message["content"] = ""
    message.update(encode_reasoning(reasoning))
    if calls:
        message["tool_calls"] = calls
    return _named(message, turn)


def _assistant_content(blocks: list[Block]) -> str | list[JsonObject]:
    texts = [block.text for block in blocks if isinstance(block, Text) and not extras_of(block.extras)]
    return "\n\n".join(texts) if len(texts) == len(blocks) else encode_content(blocks)


def encode_reasoning(blocks: Sequence[Reasoning]) -> JsonObject:
    """Text in `reasoning_content`; signatures, ciphertexts and the bounds of several blocks in `reasoning_details`."""
    texts = [block.text for block in blocks if block.text]
    members: JsonObject = {"reasoning_content": "\n\n".join(texts)} if texts else {}
    plain = len(blocks) == 1 and blocks[0].opaque is None and len(blocks[0].texts) == 1 and not blocks[0].is_summary
    if blocks and not plain:
        members["reasoning_details"] = encode_details(blocks)
    return members
