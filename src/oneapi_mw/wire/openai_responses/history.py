"""Instructions and turns as the item list of a request.

Two audiences: a request that came in this format goes back as it was, ids included; any other is written with no ids
at all, as they would name items the vendor does not have, and with every call answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    ContainerFile,
    Document,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    Reasoning,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.compaction import summary_of
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.hosted import spoken
from oneapi_mw.wire.ids import openai_id
from oneapi_mw.wire.losses import EMULATED, Losses
from oneapi_mw.wire.names import OPENAI_NAMES, NameMap, tool_names
from oneapi_mw.wire.openai_responses.content import (
    MESSAGE_EXTRAS,
    NAME,
    digest,
    encode_parts,
    extras_of,
    unsupported,
)
from oneapi_mw.wire.openai_responses.input import is_custom
from oneapi_mw.wire.openai_responses.items import IMAGE, call_item, message_item
from oneapi_mw.wire.repair import pair_results
from oneapi_mw.wire.target import Target

MAX_MARKS = 4
_BILLING_HEADER = "x-anthropic-billing-header:"
"""What Claude Code's first system block begins with: meant for Anthropic alone."""
_FROM_ASSISTANT = "Image from the assistant:"


@dataclass(slots=True)
class Written:
    """The parts of a request's body that say what was said."""

    instructions: str | None = None
    items: list[JsonObject] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    reasoning: bool = False
    """Whether reasoning items are among the items."""
    marks: int = 0


def write(request: Request, target: Target) -> Written:
    """Raises `InvalidRequest` for what this format cannot say."""
    return _Writer(request, target).write()


class _Writer:
    def __init__(self, request: Request, target: Target) -> None:
        self._request = request
        self._target = target
        self._own = request.format == NAME
        self._marks = self._own or target.rules.cache_marks
        self._out = Written()
        self._losses = self._out.losses
        self._calls: dict[str, ToolCall] = {}
        self._names = NameMap(() if self._own else tool_names(request), OPENAI_NAMES)
        self._pending: list[Block] = []  # what the assistant showed and only a user can, here

    def write(self) -> Written:
        system, turns = self._request.system, self._request.turns
        if not self._own:
            system = tuple(text for text in system if text.text and not text.text.startswith(_BILLING_HEADER))
            repaired = pair_results(turns, join_calls=False, keep_orphans=self._request.state.previous_id is not None)
            self._losses.drop(*repaired.reported)
            turns = self._without_prefill(repaired.turns)
        if not turns and system and not self._own:
            self._losses.emulate("system")  # somebody must have said something
            self._out.items.append(self._message("user", system))
            return self._finished()
        self._system(system)
        for place, turn in enumerate(turns):
            self._turn(turn, f"turns[{place}]")
        self._flush_pending()
        return self._finished()

    def _finished(self) -> Written:
        self._limit_marks()
        return self._out

    def _without_prefill(self, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """A last turn of the assistant's is not continued by models that refuse it."""
        if not turns or turns[-1].role != "assistant":
            return turns
        last = turns[-1]
        if last.blocks and isinstance(last.blocks[-1], (HostedCall, HostedResult)):
            raise unsupported("an answer to be continued after a hosted call")
        if self._target.rules.prefill != "no":
            return turns
        if not any(isinstance(block, Text) and block.text.strip() for block in last.blocks):
            self._losses.emulate("prefill")
            return turns[:-1]
        if not self._target.options.emulate_prefill:
            raise unsupported("a beginning of the answer (a last message of the assistant)")
        self._losses.emulate("prefill")
        return (*turns, Turn("user", (Text("Continue."),)))

    # Instructions.

    def _system(self, system: Sequence[Text]) -> None:
        """`instructions` takes the first text if nothing sits on it that needs a part."""
        if system and self._is_plain(system[0]):
            self._out.instructions, system = system[0].text, system[1:]
        for (role, _), texts in groupby(system, key=lambda text: (self._role(text), text.item_id)):
            self._out.items.append(self._message(role, tuple(texts)))

    def _is_plain(self, text: Text) -> bool:
        if self._own:
            return text.origin == "instructions"
        return text.cache is None or not self._marks

    def _role(self, text: Text) -> str:
        return text.origin if self._own and text.origin in ("system", "developer") else "developer"

    # Turns.

    def _turn(self, turn: Turn, where: str) -> None:
        if turn.name is not None and turn.role != "system":
            self._losses.drop(f"{where}.name")
        if turn.role == "assistant":
            self._assistant(turn, where)
        elif turn.role == "system":
            for text_role, blocks in groupby(turn.blocks, key=self._role_of_block):
                self._instruct(text_role, tuple(blocks), where)
        else:
            self._user(turn, where)

    def _role_of_block(self, block: Block) -> str | None:
        return self._role(block) if isinstance(block, Text) else None

    def _instruct(self, role: str | None, blocks: tuple[Block, ...], where: str) -> None:
        if role is not None:
            self._out.items.append(self._message(role, blocks))
            return
        for block in blocks:
            if isinstance(block, Opaque):
                self._opaque(block, where)

    def _user(self, turn: Turn, where: str) -> None:
        for is_result, blocks in groupby(turn.blocks, key=lambda block: isinstance(block, ToolResult)):
            if is_result:
                for block in blocks:
                    assert isinstance(block, ToolResult)
                    self._out.items.append(self._result(block, where))
                continue
            self._flush_pending()
            content: list[Block] = []
            for block in blocks:
                if isinstance(block, Opaque) and block.format == NAME and not _is_part(block):
                    self._say(content, where)
                    content = []
                    self._out.items.append(block.value)
                else:
                    content.append(block)
            self._say(content, where)

    def _say(self, content: Sequence[Block], where: str) -> None:
        for block in content:
            self._losses.drop(*_lost(block, where))
        kept = [block for block in content if not isinstance(block, (Reasoning, HostedResult))]
        if not self._own:
            kept = [block for block in kept if not (isinstance(block, Text) and not block.text)]
        if kept:
            message = self._message("user", tuple(kept))
            if message["content"]:
                self._out.items.append(message)

    def _message(self, role: str, blocks: Sequence[Block]) -> JsonObject:
        """A message of input: text alone as a string, unless something sits on it."""
        content: str | list[JsonObject]
        first = blocks[0]
        if len(blocks) == 1 and isinstance(first, Text) and not self._needs_part(first):
            content = first.text
        else:
            content = encode_parts(blocks, marks=self._marks)
        message: JsonObject = {"type": "message", "role": role, "content": content}
        if self._own and not isinstance(first, Opaque):
            if isinstance(first, Text | Refusal) and first.item_id is not None:
                message["id"] = first.item_id
            message = merged(message, first.extras.get(MESSAGE_EXTRAS, {}))
        return message

    def _needs_part(self, text: Text) -> bool:
        return bool(extras_of(text.extras)) or (self._marks and text.cache is not None)

    def _result(self, result: ToolResult, where: str) -> JsonObject:
        for block in result.blocks:
            self._losses.drop(*_lost(block, where))
        custom = is_custom(result, self._calls)
        item: JsonObject = {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": result.call_id if self._own else openai_id(result.call_id),
            "output": self._output(result, where),
        }
        if self._own:
            names = {"id": result.item_id, "name": result.name}
            item |= {name: value for name, value in names.items() if value is not None}
            item = merged(item, extras_of(result.extras))
        return item

    def _output(self, result: ToolResult, where: str) -> str | list[JsonObject]:
        """One text as a string, anything else as parts. An error is said in front, as there is no flag for it."""
        blocks = list(result.blocks)
        if result.is_error:
            self._losses.emulate(f"{where}.is_error")
            first = blocks[0] if blocks else Text("")
            if not isinstance(first, Text):
                blocks.insert(0, Text("Error:"))
            elif not first.text.startswith("Error:"):
                blocks[:1] = [replace(first, text=f"Error: {first.text}".rstrip())]
        if not blocks:
            return ""
        if len(blocks) == 1 and isinstance(blocks[0], Text) and not (self._own and self._needs_part(blocks[0])):
            return blocks[0].text
        return encode_parts(blocks, marks=self._marks and self._own)

    # What the model has said.

    def _assistant(self, turn: Turn, where: str) -> None:
        results = {block.call_id: block for block in turn.blocks if isinstance(block, HostedResult)}
        start = len(self._out.items)
        for _, grouped in groupby(_numbered(turn.blocks, own=self._own), key=lambda pair: pair[0]):
            blocks = [block for _, block in grouped]
            if isinstance(blocks[0], (Text, Refusal)):
                self._said(blocks, where, start)
            else:
                self._model_block(blocks[0], results, where)
        if not self._own:
            self._drop_lonely_reasoning(start)

    def _said(self, blocks: Sequence[Block], where: str, start: int) -> None:
        found = [block for block in blocks if isinstance(block, (Text, Refusal))]
        first = found[0]
        if self._own and first.item_id is not None:
            self._out.items.append({"type": "message", **message_item(found, first.item_id)})
        elif isinstance(first, Refusal):
            item_id = "msg_" + digest(where, len(self._out.items) - start, first.text)[:32]
            self._out.items.append({"type": "message", **message_item([replace(first, extras={})], item_id)})
        elif first.text or self._own:
            message: JsonObject = {"type": "message", "role": "assistant", "content": first.text}
            if first.phase is not None:
                message["phase"] = first.phase
            self._out.items.append(message)

    def _model_block(self, block: Block, results: dict[str, HostedResult], where: str) -> None:
        match block:
            case Reasoning():
                self._reasoning(block, where)
            case ToolCall():
                self._call(block)
            case HostedCall():
                self._hosted(block, results.get(block.id), where)
            case HostedResult():
                pass  # written with its call
            case Image():
                self._image(block, where)
            case Document() | SearchResult() | Video():
                self._pend(block, where)
            case Audio(transcript=str(transcript)):
                self._losses.emulate(f"{where}.audio")
                self._out.items.append({"type": "message", "role": "assistant", "content": transcript})
            case Audio():
                raise unsupported("sound the assistant made")
            case ContainerFile():
                raise unsupported("a file in another vendor's container")
            case Opaque():
                self._opaque(block, where)
            case _:
                raise unsupported(f"{type(block).__name__} in an assistant turn")

    def _reasoning(self, block: Reasoning, where: str) -> None:
        """Only the vendor that made a ciphertext reads it, and without one the text means nothing to it."""
        opaque, target = block.opaque, self._target
        known = opaque is not None and bool(opaque.vendor) and opaque.vendor == target.vendor
        if not known and not (self._own and (opaque is None or not opaque.vendor)):
            if target.options.reasoning_lost == "text" and block.text:
                self._losses.emulate(f"{where}.reasoning")
                lost = f"<think>{block.text}</think>\n\n"
                self._out.items.append({"type": "message", "role": "assistant", "content": lost})
            return
        self._out.reasoning = True
        self._out.items.append(_reasoning_item(block, own=self._own))

    def _drop_lonely_reasoning(self, start: int) -> None:
        """Reasoning goes with the item it led to; at the end of a turn there is none."""
        items = self._out.items
        while len(items) > start and items[-1]["type"] == "reasoning":
            items.pop()

    def _call(self, call: ToolCall) -> None:
        self._calls[call.id] = call
        if self._own:
            self._out.items.append(call_item(call, item_id=call.item_id))
            return
        bare = replace(call, id=openai_id(call.id), name=self._names[call.name], caller=None, extras={})
        self._out.items.append(call_item(bare))

    def _hosted(self, call: HostedCall, result: HostedResult | None, where: str) -> None:
        item = extras_of(call.extras)
        if self._own and item:
            self._out.items.append(dict(item))
            return
        self._losses.emulate(f"{where}.hosted_calls")
        self._out.items.append({"type": "message", "role": "assistant", "content": spoken(call, result)})

    def _image(self, image: Image, where: str) -> None:
        if not self._own or not isinstance(image.source, Inline):
            self._pend(image, where)
            return
        item: JsonObject = {"id": image.item_id or "", "type": IMAGE, "result": image.source.data}
        self._out.items.append(merged(item, extras_of(image.extras)))

    def _pend(self, block: Block, where: str) -> None:
        self._losses.emulate(f"{where}.image")
        self._pending.append(block)

    def _flush_pending(self) -> None:
        """What the assistant showed, said by the user: behind the results of its calls."""
        if self._pending:
            blocks, self._pending = [Text(_FROM_ASSISTANT), *self._pending], []
            self._out.items.append(self._message("user", blocks))

    def _opaque(self, block: Opaque, where: str) -> None:
        if block.format == NAME:
            self._out.items.append(block.value)
            return
        if block.kind != "compaction":
            self._losses.drop(f"{where}.{block.type}")
            return
        summary = summary_of(block)
        self._losses.emulate(f"{where}.compaction")
        self._out.items.append({"type": "message", "role": "assistant", "content": summary})

    # Marks.

    def _limit_marks(self) -> None:
        """At most four: the last ones, and the last on the instructions."""
        marked = _marked(self._out.items)
        if not self._own and len(marked) > MAX_MARKS:
            first = _marked(self._out.items[: self._leading()])[-1:]
            if first and any(first[0] is part for part in marked[-MAX_MARKS:]):
                first = []
            kept = [*first, *marked[len(first) - MAX_MARKS :]]
            for part in marked:
                if not any(part is other for other in kept):
                    del part["prompt_cache_breakpoint"]
            marked = kept
        self._out.marks = len(marked)

    def _leading(self) -> int:
        """How many items at the front are instructions."""
        for place, item in enumerate(self._out.items):
            if item.get("role") not in ("developer", "system"):
                return place
        return len(self._out.items)


def _marked(items: Sequence[JsonObject]) -> list[JsonObject]:
    """The parts of messages that carry a mark, in order."""
    found: list[JsonObject] = []
    for item in items:
        content: Any = item.get("content")
        if item.get("type") == "message" and isinstance(content, list):
            found += (part for part in content if "prompt_cache_breakpoint" in part)
    return found


def _is_part(block: Opaque) -> bool:
    """Whether an opaque block was a part of a message rather than an item."""
    return block.type.startswith("input_")


def _numbered(blocks: Sequence[Block], *, own: bool) -> Iterator[tuple[object, Block]]:
    """Blocks with a key that is the same for the parts of one message, and else for none."""
    for place, block in enumerate(blocks):
        item_id = block.item_id if own and isinstance(block, (Text, Refusal)) else None
        yield (place if item_id is None else item_id), block


def _reasoning_item(block: Reasoning, *, own: bool) -> JsonObject:
    """One with a ciphertext is as it was when it left, or the ciphertext means nothing."""
    opaque = block.opaque
    item_id = (opaque.id if opaque is not None else None) or block.item_id
    summary = [part.text for part in block.texts if part.summary]
    raw = [part.text for part in block.texts if not part.summary]
    item: JsonObject = {"type": "reasoning"}
    if item_id is not None:
        item["id"] = item_id
    item["summary"] = [{"type": "summary_text", "text": text} for text in summary]
    if raw:
        item["content"] = [{"type": "reasoning_text", "text": text} for text in raw]
    if opaque is not None:
        item["encrypted_content"] = opaque.data
    if not own:
        return item
    if block.status is not None:
        item["status"] = block.status
    return merged(item, extras_of(block.extras))


def _lost(block: Block, where: str) -> Iterator[str]:
    match block:
        case Document(cite=True):
            yield f"{where}.citations"
        case SearchResult():
            yield f"{where}.search_result{EMULATED}"
        case Image(detail=None, resolution=str()):  # else said as the detail
            yield f"{where}.resolution"
        case Opaque() if block.format != NAME:
            yield f"{where}.{block.type}"
        case Document(title=str()) | Document(context=str()):
            yield f"{where}.document{EMULATED}"
        case _:
            pass
