"""Texts and turns as contents and a system instruction.

Encoding is a function of the turns that leaves what it made of the earlier ones unchanged when the history grows:
implicit caches depend on it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

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
    Source,
    Text,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import well_formed
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import history_object, parsed, wrapped_text
from oneapi_mw.wire.compaction import summary_of
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.gemini.content import (
    FILES,
    NAME,
    PLACEHOLDER,
    VENDOR,
    encode_hosted,
    encode_signature,
    extras_of,
    is_enveloped,
    media_type_of,
    takes_placeholder,
)
from oneapi_mw.wire.gemini.history import DETAILS, RESOLUTION
from oneapi_mw.wire.gemini.losses import refused
from oneapi_mw.wire.hosted import spoken
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.names import NameMap, qualified
from oneapi_mw.wire.repair import merge_turns, pair_results
from oneapi_mw.wire.target import Target

STAND_IN = "."
"""What a user says who says nothing."""
CONTINUE = "Continue."
_SYSTEM_PREFIX = "[system] "
_LEVELS = {detail: level for level, detail in DETAILS.items()}
_AUDIO = {"audio/mpeg": "audio/mp3", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}


class ContentsWriter:
    """Writes the contents of one request for one target."""

    def __init__(self, request: Request, target: Target, names: NameMap, losses: Losses) -> None:
        self._request = request
        self._target = target
        self._names = names
        self._losses = losses
        self._native = request.format == NAME
        self._vendor = target.vendor or VENDOR
        self._details: set[str] = set()
        """What `detail` the images ask for that have no resolution of their own."""

    def system(self) -> list[JsonObject]:
        """Parts of the system instruction."""
        texts = [text for text in self._request.system if text.text]
        return [merged({"text": _clean(text.text)}, extras_of(text.extras)) for text in texts]

    def resolution(self) -> str | None:
        """`generationConfig.mediaResolution`: the highest one an image asked for."""
        for detail in ("original", "high", "low"):
            if detail in self._details:
                return RESOLUTION + ("LOW" if detail == "low" else "HIGH")
        return None

    def contents(self, system: Sequence[JsonObject] = ()) -> list[JsonObject]:
        """The contents, with the parts `system` in front of what the user said first.

        Raises `InvalidRequest` for what nobody may leave out.
        """
        paired = pair_results(self._prepared())
        self._losses.drop(*paired.reported)
        turns = list(merge_turns(paired.turns, results_apart=True))
        turns = self._finished(self._started(turns))
        found: list[JsonObject] = []
        calls: list[ToolCall] = []
        for turn in turns:
            parts = self._parts(turn, calls)
            if not parts:
                continue
            role = "model" if turn.role == "assistant" else "user"
            found.append(merged({"role": role, "parts": parts}, extras_of(turn.extras)))
        if system:
            found = _instructed(found, system)
        return found or [{"role": "user", "parts": [{"text": STAND_IN}]}]

    # Turns.

    def _prepared(self) -> list[Turn]:
        turns: list[Turn] = []
        for index, turn in enumerate(self._request.turns):
            where = f"turns[{index}]"
            if turn.name is not None and turn.role != "system":
                self._losses.drop(f"{where}.name")
            if turn.role == "system":
                self._losses.emulate(f"{where}.system")
                texts = [Text(_SYSTEM_PREFIX + block.text) for block in turn.blocks if isinstance(block, Text)]
                turns.append(Turn("user", tuple(texts)))
                continue
            blocks = tuple(made for block in turn.blocks for made in self._block(block, where))
            if turn.role == "assistant":
                blocks = self._assistant(blocks, where)
                if not blocks:
                    continue
            turns.append(replace(turn, blocks=blocks, name=None))
        return turns

    def _block(self, block: Block, where: str) -> list[Block]:
        """`block` as blocks this format has parts for."""
        match block:
            case Text(text=text, opaque=opaque):
                kept = opaque if opaque is not None and self._reads(opaque) else None
                if not text and kept is None:
                    return []
                return [block if kept is opaque else replace(block, opaque=kept)]
            case Refusal(text=text):
                if text:
                    self._losses.emulate(f"{where}.refusal")
                return [Text(text)] if text else []
            case Audio(source=None):
                self._losses.emulate(f"{where}.audio")
                return [Text(block.transcript)] if block.transcript else []
            case Document():
                return self._document(block, where)
            case SearchResult():
                self._losses.emulate(f"{where}.search_result")
                inner = [made for nested in block.blocks for made in self._block(nested, where)]
                return [Text(f"{block.title} - {block.source}"), *inner]
            case ContainerFile():
                raise refused(self._request, "turns", "A file in a container")
            case Opaque() if block.format != NAME:
                return self._foreign(block, where)
            case ToolResult():
                nested = tuple(made for nested in block.blocks for made in self._block(nested, where))
                return [replace(block, blocks=nested)]
            case _:
                return [block]

    def _document(self, block: Document, where: str) -> list[Block]:
        if block.title:
            self._losses.drop(f"{where}.title")
        if block.cite:
            self._losses.drop(f"{where}.citations")
        context: list[Block] = []
        if block.context:
            self._losses.emulate(f"{where}.context")
            context = [Text(block.context)]
        if isinstance(block.source, Nested):
            self._losses.emulate(f"{where}.document")
            return [*context, *(made for nested in block.source.blocks for made in self._block(nested, where))]
        return [*context, block]

    def _foreign(self, block: Opaque, where: str) -> list[Block]:
        if block.kind == "compaction":
            summary = summary_of(block)
            self._losses.emulate(f"{where}.compaction")
            return [Text(summary)]
        if block.kind == "item_ref":
            raise refused(self._request, "turns", "A reference to a stored item")
        self._losses.drop(f"{where}.{block.type}")
        return []

    def _assistant(self, blocks: tuple[Block, ...], where: str) -> tuple[Block, ...]:
        """Reasoning the vendor can read, its signatures where this format has them; hosted calls of others in words."""
        said: list[Block] = []
        results = {block.call_id: block for block in blocks if isinstance(block, HostedResult)}
        calls = {block.id for block in blocks if isinstance(block, ToolCall)}
        named: dict[str, ReasoningOpaque] = {}  # signatures that say which call they are of
        pending: ReasoningOpaque | None = None
        for block in blocks:
            match block:
                case Reasoning():
                    text, signature = self._reasoning(block)
                    if signature is not None and signature.id in calls:
                        named[signature.id or ""] = signature
                    elif signature is not None:
                        said += _orphaned(pending)
                        pending = signature
                    said += text
                    continue
                case HostedCall():
                    said += self._hosted_call(block, results.get(block.id), where)
                    continue
                case HostedResult():
                    if encode_hosted(block) is not None and block.format == NAME:
                        said.append(block)
                    continue
                case ToolCall(opaque=opaque):
                    own = opaque if opaque is not None and self._reads(opaque) else None
                    own = own or named.get(block.id)
                    if own is None and pending is not None:
                        own, pending = pending, None
                    block = block if own is opaque else replace(block, opaque=own)
                case Text(opaque=None) if pending is not None:
                    block, pending = replace(block, opaque=pending), None
                case Image(opaque=opaque) if opaque is not None and not self._reads(opaque):
                    block = replace(block, opaque=None)
                case _:
                    pass
            if pending is not None and isinstance(block, (ToolCall, Text)):
                said += _orphaned(pending)
                pending = None
            said.append(block)
        said += _orphaned(pending)
        return tuple(said)

    def _reads(self, opaque: ReasoningOpaque) -> bool:
        """Whether the target can read a signature: its own, as bytes."""
        if is_enveloped(opaque):
            return False
        if opaque.vendor != self._vendor and (opaque.vendor or not self._native):
            return False
        return encode_signature(opaque) is not None or opaque.data == PLACEHOLDER

    def _reasoning(self, block: Reasoning) -> tuple[list[Block], ReasoningOpaque | None]:
        """What to say of reasoning, and a signature for the part behind it."""
        opaque = block.opaque
        if opaque is not None and self._reads(opaque):
            if self._native:
                return [block], None
            return ([replace(block, opaque=None)] if block.text else []), opaque
        if self._native and opaque is None:
            return [block], None
        if self._target.options.reasoning_lost == "text" and block.text:
            return [Text(f"<think>{block.text}</think>\n\n")], None
        return [], None

    def _hosted_call(self, call: HostedCall, result: HostedResult | None, where: str) -> Iterable[Block]:
        """The vendor's own call; anybody else's in words."""
        if f"{NAME}.part" in call.extras:
            return [call]
        self._losses.emulate(f"{where}.hosted_calls")
        return [Text(spoken(call, result))]

    def _started(self, turns: list[Turn]) -> list[Turn]:
        if turns and turns[0].role == "assistant" and not self._native:
            self._losses.emulate("turns[0]")
            return [Turn("user", (Text(STAND_IN),)), *turns]
        return turns

    def _finished(self, turns: list[Turn]) -> list[Turn]:
        """What the assistant said last is continued by models that can; others must not be asked to."""
        if self._native or not turns or turns[-1].role != "assistant":
            return turns
        if self._target.rules.prefill != "no":
            return turns
        if self._target.options.emulate_prefill:
            self._losses.emulate("prefill")
            return [*turns, Turn("user", (Text(CONTINUE),))]
        raise InvalidRequest(
            "The conversation ends with what the assistant said, which this model cannot continue: "
            "end it with a message of the user",
            param=refused(self._request, "turns", "").param,
            code="unsupported_parameter",
        )

    # Parts.

    def _parts(self, turn: Turn, calls: list[ToolCall]) -> list[JsonObject]:
        """The parts of a turn. `calls`: of the model content before, in order; replaced by those of this one."""
        if turn.role == "assistant":
            parts = [part for block in turn.blocks for part in self._part(block)]
            calls[:] = [block for block in turn.blocks if isinstance(block, ToolCall)]
            if takes_placeholder(self._target.rules) and not self._native:
                _sign_first_call(parts)
            return parts
        places = {call.id: place for place, call in enumerate(calls)}
        results = [block for block in turn.blocks if isinstance(block, ToolResult)]
        if not results:
            return [part for block in turn.blocks for part in self._part(block)] or self._said_nothing(turn)
        # without ids a result is known by its name and its place among the others
        results.sort(key=lambda result: places.get(result.call_id, len(places)))
        named = {call.id: self._names[qualified(call.name, call.namespace)] for call in calls}
        shown: list[JsonObject] = []
        parts = [self._result(result, named, shown) for result in results]
        others = [block for block in turn.blocks if not isinstance(block, ToolResult)]
        return [*parts, *shown, *(part for block in others for part in self._part(block))]

    def _said_nothing(self, turn: Turn) -> list[JsonObject]:
        """A user's turn that was empty to begin with says nothing, one that lost everything stays."""
        return [{"text": STAND_IN}] if turn.blocks or not self._native else []

    def _part(self, block: Block) -> list[JsonObject]:
        match block:
            case Text(text=text, opaque=opaque):
                return [self._signed(merged({"text": _clean(text)}, extras_of(block.extras)), opaque)]
            case Reasoning(opaque=opaque):
                part: JsonObject = {"text": well_formed(block.text), "thought": True}
                return [self._signed(merged(part, extras_of(block.extras)), opaque)]
            case ToolCall():
                return [self._call(block)]
            case Image(source=source):
                part = self._with_level(self._media(source, "image/jpeg"), block.resolution, block.detail)
                return [self._signed(merged(part, extras_of(block.extras)), block.opaque)]
            case Audio(source=source) if source is not None:
                return [merged(self._media(source, "audio/wav"), extras_of(block.extras))]
            case Video(source=source):
                part = self._with_level(self._media(source, "video/mp4"), block.resolution, None)
                moments = {"startOffset": block.start, "endOffset": block.end, "fps": block.fps}
                video = {name: value for name, value in moments.items() if value is not None}
                if video:
                    part["videoMetadata"] = video
                return [merged(part, extras_of(block.extras))]
            case Document(source=source):
                part = self._with_level(self._media(source, "application/pdf"), None, block.detail)
                return [merged(part, extras_of(block.extras))]
            case HostedCall() | HostedResult():
                hosted = encode_hosted(block)
                return [hosted] if hosted is not None else []
            case Opaque(format="gemini", value=dict(value)):
                return [value]
            case _:
                return []

    def _signed(self, part: JsonObject, opaque: ReasoningOpaque | None) -> JsonObject:
        return {**part, "thoughtSignature": opaque.data} if opaque is not None and self._reads(opaque) else part

    def _call(self, call: ToolCall) -> JsonObject:
        body: JsonObject = {"name": self._names[qualified(call.name, call.namespace)]}
        if self._target.rules.call_ids:
            body = {"id": call.id, **body}
        body["args"] = wrapped_text(call.arguments) if call.kind == "custom" else history_object(call.arguments)
        return self._signed(merged({"functionCall": body}, extras_of(call.extras)), call.opaque)

    def _result(self, result: ToolResult, named: Mapping[str, str], shown: list[JsonObject]) -> JsonObject:
        name = named.get(result.call_id) or (self._names[result.name] if result.name else "unknown")
        texts = [_clean(block.text) for block in result.blocks if isinstance(block, Text)]
        media = [part for block in result.blocks if not isinstance(block, Text) for part in self._part(block)]
        response = result.structured if isinstance(result.structured, dict) else None
        if response is None or (result.is_error and "error" not in response):
            response = _response("\n".join(texts), is_error=bool(result.is_error))
        body: JsonObject = {"name": name, "response": response}
        if self._target.rules.call_ids:
            body = {"id": result.call_id, **body}
        if media and self._target.rules.media_in_results:
            body["parts"] = media
        elif media:
            self._losses.emulate("tool_result.media")
            shown += media
        return merged({"functionResponse": body}, extras_of(result.extras))

    def _media(self, source: Source, default: str) -> JsonObject:
        match source:
            case Inline(media_type, data):
                return {"inlineData": {"mimeType": _AUDIO.get(media_type, media_type), "data": data}}
            case PlainText(text, media_type):
                data = base64.b64encode(well_formed(text).encode()).decode()
                return {"inlineData": {"mimeType": media_type, "data": data}}
            case Url(url=uri, media_type=media_type) | CloudUri(uri=uri, media_type=media_type):
                file: JsonObject = {"fileUri": uri}
                media_type = media_type or (None if isinstance(source, CloudUri) else media_type_of(uri) or default)
                if media_type is not None:
                    file["mimeType"] = media_type
                return {"fileData": file}
            case FileRef(vendor=vendor, id=uri, media_type=media_type) if vendor == FILES:
                file = {"fileUri": uri}
                if media_type is not None:
                    file["mimeType"] = media_type
                return {"fileData": file}
            case _:
                raise refused(self._request, "turns", "A file uploaded to another vendor")

    def _with_level(self, part: JsonObject, resolution: str | None, detail: str | None) -> JsonObject:
        if resolution is None and (detail is None or detail == "auto"):
            return part
        if self._target.rules.part_resolution or resolution is not None:
            level = resolution or RESOLUTION + _LEVELS.get(detail or "", "HIGH")
            return {**part, "mediaResolution": {"level": level}}
        self._losses.emulate("detail")
        self._details.add(detail or "high")
        return part


def _orphaned(signature: ReasoningOpaque | None) -> list[Block]:
    """A signature nothing followed stands on an empty text."""
    return [Text("", opaque=signature)] if signature is not None else []


def _sign_first_call(parts: list[JsonObject]) -> None:
    """The first call of a step needs a signature: the documented stand-in, where the call's own is not known."""
    for place, part in enumerate(parts):
        if "functionCall" in part:
            if "thoughtSignature" not in part:
                parts[place] = {**part, "thoughtSignature": PLACEHOLDER}
            return


def _response(text: str, *, is_error: bool) -> JsonObject:
    """What a tool said, as the object this format wants."""
    if is_error:
        return {"error": text or "error"}
    if text[:1] in ("{", "[") or text in ("true", "false", "null") or _is_number(text):
        try:
            value = parsed(text)
        except ValueError:
            return {"output": text}
        if isinstance(value, dict) and "output" not in value and "error" not in value:
            return value
        return {"output": value}
    return {"output": text}


def _is_number(text: str) -> bool:
    return text[:1] in "-0123456789" and text[-1:].isdecimal() and len(text) < 32 and bool(text)


def _clean(text: str) -> str:
    """Text as the API takes it: no NUL, no half characters."""
    return well_formed(text.replace("\0", "") if "\0" in text else text)


def _instructed(contents: list[JsonObject], system: Sequence[JsonObject]) -> list[JsonObject]:
    """Instructions in front of what the user said first, for models without a place for them."""
    if contents and contents[0]["role"] == "user" and "functionResponse" not in contents[0]["parts"][0]:
        first = {**contents[0], "parts": [*system, *contents[0]["parts"]]}
        return [first, *contents[1:]]
    return [{"role": "user", "parts": list(system)}, *contents]
