"""Instructions and turns of other formats as messages.

Encoding is a function of the turns that leaves what it made of the earlier ones unchanged when the history grows:
implicit caches depend on it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CloudUri,
    ContainerFile,
    Document,
    FileRef,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Nested,
    Opaque,
    PlainText,
    Reasoning,
    ReasoningOpaque,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import history_object, text_for_clients, wrapped_text
from oneapi_mw.wire.compaction import summary_of
from oneapi_mw.wire.hosted import spoken
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.openai_chat.content import (
    encode_call,
    encode_details,
    encode_part,
)
from oneapi_mw.wire.openai_chat.hosts import Host, takes_files
from oneapi_mw.wire.openai_chat.losses import refused
from oneapi_mw.wire.openai_chat.tools import Declared
from oneapi_mw.wire.repair import pair_results
from oneapi_mw.wire.target import Target

MAX_MARKS = 4
_BILLING_HEADER = "x-anthropic-billing-header:"
"""What Claude Code's first system block begins with: meant for Anthropic alone."""
_ENVELOPE = "oa1."
_FROM_ASSISTANT = "Image from the assistant:"
_SHORT_TTL = ("5m", "30m")
_MARKS = ("prompt_cache_breakpoint", "cache_control")
_CACHING_FAMILIES = ("claude", "gemini", "minimax", "glm")
"""Whose models take Anthropic's cache marks behind a host that passes them on."""
_VENDORS = {"claude": "anthropic-claude-v1", "gemini": "google-gemini-v1", "openai": "openai-responses-v1"}
"""Family of a model -> whose opaque parts it reads."""
_IMAGES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")
_SVG = "image/svg+xml"
_SOUNDS = ("audio/mpeg", "audio/mp3", "audio/wav", "audio/x-wav", "audio/wave")
_LEVELS = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high", "MEDIA_RESOLUTION_ULTRA_HIGH": "original"}
_SUFFIXES = {"application/pdf": "pdf"}


class MessagesWriter:
    """Writes the messages of one request for one target."""

    def __init__(
        self, request: Request, target: Target, host: Host, names: NameMap, declared: Declared, losses: Losses
    ) -> None:
        self._request = request
        self._target = target
        self._host = host
        self._names = names
        self._declared = declared
        self._losses = losses
        rules = target.rules
        self._openai = host.openai or rules.family == "openai"
        self._mark = ""
        if host.openai and rules.cache_marks:
            self._mark = "prompt_cache_breakpoint"
        elif host.cache_control and rules.family in _CACHING_FAMILIES:
            self._mark = "cache_control"
        # Everybody but OpenAI may know the older word only.
        self._system_role = "system" if rules.system_role == "developer" and not host.openai else rules.system_role
        self._pending: list[JsonObject] = []  # what the assistant showed and only a user can, here
        self._files = 0
        self.marks = 0
        """Cache marks that were written."""

    def messages(self, sentences: Iterable[str]) -> list[JsonObject]:
        """Raises `InvalidRequest` for what this target cannot be told.

        Args:
            sentences: instructions of the gateway's own, behind the client's.
        """
        system = [text for text in self._request.system if not text.text.startswith(_BILLING_HEADER)]
        system += [Text(sentence) for sentence in sentences]
        repaired = pair_results(self._request.turns, join_calls=False)
        self._losses.drop(*repaired.reported)
        turns = self._without_prefill(repaired.turns)
        if system and "system" in self._target.rules.refuses:
            self._losses.emulate("system")
            system, turns = [], _spoken_by_user(system, turns)
        messages = self._instructions(system)
        leading = len(messages)
        for place, turn in enumerate(turns):
            self._turn(turn, f"turns[{place}]", messages)
        self._flush(messages)
        self.marks = _limit_marks(messages, leading)
        return messages

    # Instructions.

    def _instructions(self, system: Sequence[Text]) -> list[JsonObject]:
        """A message each; parts of one where a cache mark needs a part."""
        if not system:
            return []
        if self._system_role == "user":
            self._losses.emulate("system")
        if self._mark and any(text.cache is not None for text in system):
            content = [part for text in system for part in self._marked(text, [{"type": "text", "text": text.text}])]
            return [{"role": self._system_role, "content": content}]
        return [{"role": self._system_role, "content": text.text} for text in system]

    # Turns.

    def _turn(self, turn: Turn, where: str, messages: list[JsonObject]) -> None:
        if turn.role == "system":
            self._flush(messages)
            messages += self._instructions([block for block in turn.blocks if isinstance(block, Text)])
            for block in turn.blocks:
                if isinstance(block, Opaque):
                    self._foreign(block, where)
        elif turn.role == "assistant":
            self._flush(messages)
            said = self._assistant(turn, where)
            if said is not None:
                messages.append(self._named(said, turn, where))
        else:
            self._user(turn, where, messages)

    def _user(self, turn: Turn, where: str, messages: list[JsonObject]) -> None:
        results = [block for block in turn.blocks if isinstance(block, ToolResult)]
        content = [block for block in turn.blocks if not isinstance(block, ToolResult)]
        shown: list[JsonObject] = []
        for result in results:
            message, parts = self._result(result, where)
            messages.append(message)
            shown += parts
        if shown:
            messages.append({"role": "user", "content": shown})
        self._flush(messages)
        if not content:
            return
        parts = self._parts(content, where)
        if parts or any(isinstance(block, Text) for block in content):
            messages.append(self._named({"role": "user", "content": _plain(parts)}, turn, where))

    def _flush(self, messages: list[JsonObject]) -> None:
        """What the assistant showed, said by the user: behind the results of its calls."""
        if self._pending:
            messages.append({"role": "user", "content": [{"type": "text", "text": _FROM_ASSISTANT}, *self._pending]})
            self._pending = []

    def _named(self, message: JsonObject, turn: Turn, where: str) -> JsonObject:
        if turn.name is None:
            return message
        if "name" in self._target.rules.refuses or "name" in self._host.refuses:
            self._losses.drop(f"{where}.name")
            return message
        return {**message, "name": turn.name}

    # What the user says.

    def _parts(self, blocks: Iterable[Block], where: str) -> list[JsonObject]:
        return [part for block in blocks for part in self._marked(block, self._part(block, where))]

    def _part(self, block: Block, where: str) -> list[JsonObject]:
        """The parts for a block; none for what says nothing here."""
        match block:
            case Text(text=text):
                return encode_part(block) if text else []
            case Image():
                return self._image(block, where)
            case Audio(source=None, transcript=str()):
                return encode_part(block)
            case Audio(source=source):
                if not isinstance(source, Inline) or source.media_type not in _SOUNDS:
                    raise refused(self._request, "turns", "sound that is neither WAV nor MP3")
                return encode_part(block)
            case Video(source=source):
                if not self._host.video or not isinstance(source, Url | Inline):
                    raise refused(self._request, "turns", "a video")
                return encode_part(block)
            case Document():
                return self._document(block, where)
            case SearchResult():
                self._losses.emulate(f"{where}.search_result")
                return [_text(f"{block.title} - {block.source}"), *self._parts(block.blocks, where)]
            case ContainerFile():
                raise refused(self._request, "turns", "a file in another vendor's container")
            case Refusal(text=text):
                return [_text(text)]
            case Opaque(format="openai_chat", value=value):
                return [value]
            case Opaque():
                summary = self._foreign(block, where)
                return [_text(summary)] if summary else []
            case _:
                return []  # reasoning and hosted calls are the assistant's

    def _image(self, image: Image, where: str) -> list[JsonObject]:
        if "images" in self._target.rules.refuses:
            raise refused(self._request, "turns", "an image")
        source = image.source
        if isinstance(source, FileRef | CloudUri):
            raise refused(self._request, "turns", "an image uploaded to another vendor")
        if isinstance(source, Inline) and source.media_type == _SVG:
            self._losses.emulate(f"{where}.image")
            return [_text(self._decoded(source.data))]
        if isinstance(source, Inline) and self._openai and source.media_type not in _IMAGES:
            raise refused(self._request, "turns", f"an image of type {source.media_type}")
        detail = image.detail or _LEVELS.get(image.resolution or "")
        return encode_part(replace(image, detail=detail) if detail != image.detail else image)

    def _document(self, block: Document, where: str) -> list[JsonObject]:
        """Its context, which this format has no place for, as a text in front of it."""
        if block.title is not None or block.context is not None:
            self._losses.emulate(f"{where}.document")
        if block.cite:
            self._losses.drop(f"{where}.citations")
        context = [_text(block.context)] if block.context else []
        source = block.source
        if isinstance(source, Nested):
            return [*context, *self._parts(source.blocks, where)]
        if isinstance(source, Inline) and source.media_type.startswith("text/"):
            block = replace(block, source=PlainText(self._decoded(source.data), source.media_type))
        elif not isinstance(source, PlainText):
            block = self._file(block)
        return [*context, *encode_part(replace(block, context=None))]

    def _file(self, block: Document) -> Document:
        """A file that is sent as one. It needs a name."""
        source = block.source
        if isinstance(source, FileRef) and not (source.vendor == "openai" and self._host.openai):
            raise refused(self._request, "turns", "a file uploaded to another vendor")
        if isinstance(source, Url | CloudUri):
            raise refused(self._request, "turns", "a document that is named by its address")
        if not takes_files(self._target):
            kind = source.media_type if isinstance(source, Inline) else "unknown type"
            raise refused(self._request, "turns", f"a document of type {kind}")
        self._files += 1
        if block.filename or block.title or not isinstance(source, Inline):
            return block
        suffix = _SUFFIXES.get(source.media_type) or source.media_type.rpartition("/")[2]
        return replace(block, filename=f"file-{self._files}.{suffix}")

    def _decoded(self, data: str) -> str:
        try:
            return base64.b64decode(data).decode("utf-8", "replace")
        except binascii.Error:
            raise refused(self._request, "turns", "a text that is no base64") from None

    # Results of tools.

    def _result(self, result: ToolResult, where: str) -> tuple[JsonObject, list[JsonObject]]:
        """The `tool` message, and parts for a user message behind the results: tools may only answer in text."""
        call_id = self._host.call_id(result.call_id)
        texts: list[str] = []
        shown: list[JsonObject] = []
        number = 0
        for block in result.blocks:
            parts = self._part(block, where)
            if all(part.get("type") == "text" for part in parts):
                texts += (part["text"] for part in parts)
                continue
            number += 1
            word = "image" if isinstance(block, Image) else "attachment"
            self._losses.emulate(f"{where}.{word}")
            texts.append(f"[{word} {number} of {call_id} follows]")
            shown += [_text(f"{word.capitalize()} {number} of {call_id}:"), *parts]
        if result.is_error:
            self._losses.emulate(f"{where}.is_error")
            first = texts[0] if texts else ""
            if not first.startswith("Error:"):
                texts[:1] = [f"Error: {first}".rstrip()]
        content: str | list[JsonObject] = "\n".join(texts)
        if self._host.openai and len(texts) > 1 and not shown:
            content = [_text(text) for text in texts]
        return {"role": "tool", "tool_call_id": call_id, "content": content}, shown

    # What the assistant said.

    def _assistant(self, turn: Turn, where: str) -> JsonObject | None:
        """One message, `None` when nothing is left: reasoning, text, refusal and calls have their own members, so
        their order is lost."""
        results = {block.call_id: block for block in turn.blocks if isinstance(block, HostedResult)}
        said: list[Text] = []
        reasoning: list[Reasoning] = []
        calls: list[JsonObject] = []
        members: JsonObject = {}
        for block in turn.blocks:
            match block:
                case Text():
                    said += [block] if block.text else []
                case Refusal(text=text):
                    members["refusal"] = members.get("refusal", "") + text
                case Reasoning():
                    reasoning.append(block)
                case ToolCall():
                    calls.append(self._call(block))
                case HostedCall():
                    self._losses.emulate(f"{where}.hosted_calls")
                    said.append(Text(spoken(block, results.get(block.id))))
                case Image() | Document() | SearchResult() | Video():
                    self._losses.emulate(f"{where}.image")
                    self._pending += self._part(block, where)
                case Audio(transcript=str(transcript)):
                    self._losses.emulate(f"{where}.audio")
                    said.append(Text(transcript))
                case Audio():
                    raise refused(self._request, "turns", "sound the assistant made")
                case ContainerFile():
                    self._losses.drop(f"{where}.container_file")
                case ToolResult():
                    raise refused(self._request, "turns", "a tool result in an assistant turn")
                case Opaque():
                    summary = self._foreign(block, where)
                    said += [Text(summary)] if summary else []
                case HostedResult():
                    pass  # told with its call
        found = self._reasoning(reasoning, bool(calls), where)
        if not found and (lost := self._lost(reasoning, where)):
            said.insert(0, Text(lost))
        if not said and not calls and not members:
            return None
        if calls:
            members["tool_calls"] = calls
        return {"role": "assistant", "content": self._spoken(said), **members, **found}

    def _spoken(self, said: Sequence[Text]) -> str | list[JsonObject] | None:
        if self._mark and any(text.cache is not None for text in said):
            return [part for text in said for part in self._marked(text, [_text(text.text)])]
        return "\n\n".join(text.text for text in said) if said else None

    def _call(self, call: ToolCall) -> JsonObject:
        name = self._names[qualified(call.name, call.namespace)]
        if call.kind == "custom" and not self._host.openai:
            call = replace(call, kind="function", arguments=dumps(wrapped_text(call.arguments)).decode())
        elif call.kind == "function" and name in self._declared.wrapped:
            value = history_object(call.arguments).get("value", {})
            call = replace(call, arguments=dumps({"value": value}).decode())
        elif call.kind == "function":
            call = replace(call, arguments=text_for_clients(call.arguments))
        opaque = call.opaque if self._host.google and _is_of(call.opaque, "google-gemini-v1") else None
        return encode_call(replace(call, id=self._host.call_id(call.id), name=name, opaque=opaque, extras={}))

    def _reasoning(self, blocks: Sequence[Reasoning], calls: bool, where: str) -> JsonObject:
        """Reasoning the target reads: signed parts of the model's own vendor where the host passes them on, else
        text that no other vendor has made, to models that want it back."""
        rules = self._target.rules
        if self._host.details and (vendor := _VENDORS.get(rules.family)):
            readable = [block for block in blocks if _is_of(block.opaque, vendor)]
            if readable:
                return {"reasoning_details": encode_details(readable)}
        if rules.reasoning_history == "drop" or (rules.reasoning_history == "require" and not calls):
            return {}
        texts = [block.text for block in blocks if block.text and _is_anybodys(block.opaque)]
        if texts:
            return {self._host.reasoning: "\n\n".join(texts)}
        if rules.reasoning_history == "keep":
            return {}
        self._losses.emulate(f"{where}.reasoning")
        return {self._host.reasoning: " "}  # its absence is refused, so little is not

    def _lost(self, blocks: Sequence[Reasoning], where: str) -> str:
        if self._target.options.reasoning_lost != "text":
            return ""
        text = "\n\n".join(block.text for block in blocks if block.text)
        if not text:
            return ""
        self._losses.emulate(f"{where}.reasoning")
        return f"<think>{text}</think>"

    def _foreign(self, block: Opaque, where: str) -> str:
        """What to say for something only another format knows: a summary that can be read, else nothing."""
        if block.kind == "item_ref":
            raise refused(self._request, "turns", "a reference to a stored item")
        if block.kind != "compaction":
            self._losses.drop(f"{where}.{block.type}")
            return ""
        summary = summary_of(block)
        self._losses.emulate(f"{where}.compaction")
        return summary

    def _without_prefill(self, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """A last turn of the assistant's is not continued by models that refuse it."""
        if not turns or turns[-1].role != "assistant":
            return turns
        last = turns[-1]
        if last.blocks and isinstance(last.blocks[-1], HostedCall | HostedResult):
            raise refused(self._request, "turns", "an answer to be continued after a hosted call")
        if self._target.rules.prefill != "no":
            return turns
        if not any(isinstance(block, Text) and block.text.strip() for block in last.blocks):
            self._losses.emulate("prefill")
            return turns[:-1]
        if not self._target.options.emulate_prefill:
            raise refused(self._request, "turns", "a beginning of the answer (a last message of the assistant)")
        self._losses.emulate("prefill")
        return (*turns, Turn("user", (Text("Continue."),)))

    # Marks.

    def _marked(self, block: Block, parts: list[JsonObject]) -> list[JsonObject]:
        """`parts` with the block's cache mark on the last of them."""
        mark = getattr(block, "cache", None)
        if mark is None or not self._mark or not parts:
            return parts
        value: JsonObject
        if self._mark == "cache_control":
            value = {"type": "ephemeral"}
            if mark.ttl is not None and mark.ttl not in _SHORT_TTL:
                value["ttl"] = "1h"
        else:
            value = {"mode": "explicit"}
            if mark.ttl is not None:
                value["ttl"] = "30m" if mark.ttl in _SHORT_TTL else "12h"
        return [*parts[:-1], {**parts[-1], self._mark: value}]


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _plain(parts: list[JsonObject]) -> str | list[JsonObject]:
    """One plain text alone as a string."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _is_of(opaque: ReasoningOpaque | None, vendor: str) -> bool:
    return opaque is not None and opaque.vendor == vendor and not opaque.data.startswith(_ENVELOPE)


def _is_anybodys(opaque: ReasoningOpaque | None) -> bool:
    """Whether the text beside it belongs to no vendor that signs its reasoning."""
    return opaque is None or (not opaque.vendor and not opaque.data.startswith(_ENVELOPE))


def _spoken_by_user(system: Sequence[Text], turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns with the instructions in front of what the user says first."""
    if turns and turns[0].role == "user":
        return (replace(turns[0], blocks=(*system, *turns[0].blocks)), *turns[1:])
    return (Turn("user", tuple(system)), *turns)


def _limit_marks(messages: Sequence[JsonObject], leading: int) -> int:
    """At most four: the last ones, and the last on the instructions. Returns how many there are."""
    marked = _marked_parts(messages)
    if len(marked) <= MAX_MARKS:
        return len(marked)
    first = _marked_parts(messages[:leading])[-1:]
    if first and any(first[0] is part for part in marked[-MAX_MARKS:]):
        first = []
    kept = [*first, *marked[len(first) - MAX_MARKS :]]
    for part in marked:
        if not any(part is other for other in kept):
            for name in _MARKS:
                part.pop(name, None)
    return len(kept)


def _marked_parts(messages: Iterable[Mapping[str, Any]]) -> list[JsonObject]:
    return [
        part
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if any(name in part for name in _MARKS)
    ]
