"""System prompt and messages, to and from the canonical texts and turns.

Encoding is a function of the turns that leaves what it made of the earlier ones unchanged when the history grows:
prompt caches, and models that bind signatures to what came before, depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    Document,
    HostedCall,
    HostedResult,
    Image,
    Opaque,
    Reasoning,
    ReasoningOpaque,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from oneapi_mw.canonical.request import Request, Role, Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.anthropic_messages.blocks import BlockWriter, is_blank, plain
from oneapi_mw.wire.anthropic_messages.content import CODE, ENVELOPE, NAME, decode_content, extras, extras_of
from oneapi_mw.wire.anthropic_messages.losses import refused
from oneapi_mw.wire.compaction import summary_of
from oneapi_mw.wire.extras import mapped, merged
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.hosted import spoken
from oneapi_mw.wire.losses import Losses
from oneapi_mw.wire.repair import merge_turns, pair_results
from oneapi_mw.wire.target import Target

STAND_IN = "."
"""What a user says who says nothing: a turn may not be empty."""
CONTINUE = "Continue."
_SYSTEM_PREFIX = "[system] "
_IMAGE_HEADING = "Image from the assistant:"
_MESSAGE = mapped("role", "content")
_ROLES: dict[object, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


# Decoding.


def decode_system(fields: Fields) -> tuple[Text, ...]:
    """The system prompt, one text per block. Raises `InvalidRequest`."""
    texts = []
    for place, block in enumerate(decode_content(fields.value.get("system"), "system")):
        if not isinstance(block, Text):
            raise InvalidRequest(f"system[{place}] must be a text", param=f"system[{place}]", code=CODE)
        texts.append(replace(block, origin="system"))
    return tuple(texts)


def decode_turns(fields: Fields) -> tuple[Turn, ...]:
    """Raises `InvalidRequest`."""
    return tuple(
        _decode_turn(message, f"messages[{index}]") for index, message in enumerate(fields.objects("messages"))
    )


def _decode_turn(message: Fields, where: str) -> Turn:
    role = _ROLES.get(message.value.get("role"))
    if role is None:
        raise InvalidRequest(
            f"{where}.role {message.value.get('role')!r} is not known: use user or assistant",
            param=f"{where}.role",
            code=CODE,
        )
    blocks = decode_content(message.value.get("content"), f"{where}.content")
    return Turn(role, blocks, extras=extras(message.value, _MESSAGE))


# Encoding.


@immutable
class Thinking:
    """What of the reasoning in the history goes to the model."""

    vendor: str
    """Whose signatures it reads."""
    kept: bool = True
    """Whether it may see reasoning at all: with thinking switched off the last message may hold none."""
    on: bool = False
    """Whether it is told to think: then nothing can be put into its mouth."""


class MessagesWriter:
    """Writes the messages of one request for one target."""

    def __init__(self, request: Request, target: Target, writer: BlockWriter, thinking: Thinking) -> None:
        self._request = request
        self._target = target
        self._writer = writer
        self._thinking = thinking
        self._native = request.format == NAME
        self.losses = Losses()

    def messages(self) -> list[JsonObject]:
        """Raises `InvalidRequest` for what nobody may leave out."""
        turns = self._prepared()
        repaired = pair_results(turns)
        self.losses.drop(*repaired.reported)
        turns = [turn for turn in repaired.turns if turn.blocks or turn.role != "assistant"]
        turns = self._started(self._placed(turns))
        turns = self._finished(turns)
        return [self._message(turn) for turn in turns]

    def _message(self, turn: Turn) -> JsonObject:
        content = self._writer.content(turn.blocks)
        return merged({"role": turn.role, "content": plain(content)}, extras_of(turn.extras))

    # Each turn by itself.

    def _prepared(self) -> list[Turn]:
        """The turns with the blocks this format has, one of the assistant perhaps with none: it still divides what
        the user said."""
        turns: list[Turn] = []
        for index, turn in enumerate(self._request.turns):
            where = f"turns[{index}]"
            if turn.name is not None and turn.role != "system":
                self.losses.drop(f"{where}.name")
            if turn.role == "assistant":
                said, shown = self._assistant(turn, where, last=index == len(self._request.turns) - 1)
                turns.append(said)
                if shown:
                    turns.append(Turn("user", (Text(_IMAGE_HEADING), *shown)))
            elif turn.role == "system" and not self._target.rules.system_between and not self._native:
                self.losses.emulate(f"{where}.system")
                turns.append(Turn("user", tuple(_as_user(block) for block in turn.blocks if isinstance(block, Text))))
            else:
                blocks = [made for block in turn.blocks for made in self._user_block(block, where)]
                turns.append(replace(turn, blocks=tuple(blocks), name=None))
        return turns

    def _user_block(self, block: Block, where: str) -> list[Block]:
        match block:
            case Audio(transcript=str(transcript)):
                self.losses.emulate(f"{where}.audio")
                return [Text(transcript)]
            case Audio() | Video():
                raise refused(self._request, "turns", "Audio" if isinstance(block, Audio) else "A video")
            case Image(detail=detail):
                if detail not in (None, "auto"):
                    self.losses.drop(f"{where}.detail")
                return [block]
            case Document() if block.cite and self._request.output is not None and not self._native:
                self.losses.drop(f"{where}.citations")
                return [block]
            case ToolResult():
                inner = [made for nested in block.blocks for made in self._user_block(nested, where)]
                return [block if tuple(inner) == block.blocks else replace(block, blocks=tuple(inner))]
            case Opaque() if block.format != NAME:
                return self._foreign(block, where)
            case _:
                return [] if is_blank(block) else [block]

    def _assistant(self, turn: Turn, where: str, *, last: bool) -> tuple[Turn, list[Block]]:
        """What the assistant said, and what it showed: this format has no pictures in its turns."""
        said: list[Block] = []
        shown: list[Block] = []
        results = {block.call_id: block for block in turn.blocks if isinstance(block, HostedResult)}
        calls = {block.id for block in turn.blocks if isinstance(block, HostedCall)}
        for place, block in enumerate(turn.blocks):
            match block:
                case Reasoning():
                    said += self._reasoning(block)
                case Image() | Document() if not self._native:
                    self.losses.emulate(f"{where}.image")
                    shown.append(block)
                case HostedCall():
                    pending = last and place == len(turn.blocks) - 1
                    said += self._hosted_call(block, results.get(block.id), where, pending=pending)
                case HostedResult():
                    if block.format == NAME and block.call_id in calls:
                        said.append(block)
                case Refusal(text=text) if text.strip():
                    self.losses.emulate(f"{where}.refusal")
                    said.append(Text(text, cache=block.cache))
                case Audio(transcript=str(transcript)) if transcript.strip():
                    self.losses.emulate(f"{where}.audio")
                    said.append(Text(transcript))
                case Audio() | Video():
                    raise refused(self._request, "turns", "Audio" if isinstance(block, Audio) else "A video")
                case Opaque() if block.format != NAME:
                    said += self._foreign(block, where)
                case _ if not is_blank(block):
                    said.append(block)
                case _:
                    pass
        return replace(turn, blocks=tuple(said), name=None), shown

    def _reasoning(self, block: Reasoning) -> list[Block]:
        """Reasoning the target can read; else nothing, or its text where the operator wants that."""
        if block.opaque is not None and self._reads(block.opaque):
            return [block] if self._thinking.kept else []
        if self._target.options.reasoning_lost == "text" and block.text:
            return [Text(f"<think>{block.text}</think>\n\n")]
        return []

    def _reads(self, opaque: ReasoningOpaque) -> bool:
        if opaque.data.startswith(ENVELOPE):
            return False
        return opaque.vendor == self._thinking.vendor if opaque.vendor else self._native

    def _hosted_call(
        self, call: HostedCall, result: HostedResult | None, where: str, *, pending: bool
    ) -> Iterable[Block]:
        """The vendor's own call, with its result or waiting for it; anybody else's in words."""
        if self._native and (result is not None or pending):
            return [call]
        if result is not None and result.format == NAME:
            return [call]
        if self._native:
            return []
        self.losses.emulate(f"{where}.hosted_calls")
        return [Text(spoken(call, result))]

    def _foreign(self, block: Opaque, where: str) -> list[Block]:
        """Something only another format knows. A summary that nobody else can read is worth more than silence."""
        if block.kind == "compaction":
            summary = summary_of(block)
            self.losses.emulate(f"{where}.compaction")
            return [Text(summary)]
        if block.kind == "item_ref":
            raise refused(self._request, "turns", "A reference to a stored item")
        self.losses.drop(f"{where}.{block.type}")
        return []

    # Turns among each other.

    def _placed(self, turns: Sequence[Turn]) -> list[Turn]:
        """Sides taking turns, with instructions where they are accepted: behind what the user said, once."""
        placed: list[Turn] = []
        region: list[Turn] = []
        for turn in turns:
            if turn.role == "assistant":
                placed += self._region(region)
                region = []
                placed.append(turn)
            else:
                region.append(turn)
        placed += self._region(region)
        return list(merge_turns(list(_spoken(placed))))

    def _region(self, turns: list[Turn]) -> list[Turn]:
        users = [turn for turn in turns if turn.role == "user"]
        system = [turn for turn in turns if turn.role == "system"]
        if not system or self._native:
            return turns
        if not users:
            return [Turn("user", tuple(block for turn in system for block in turn.blocks))]
        return [*users, *merge_turns(system)]

    def _started(self, turns: list[Turn]) -> list[Turn]:
        if turns and turns[0].role == "assistant":
            self.losses.emulate("turns[0]")
            return [Turn("user", (Text(STAND_IN),)), *turns]
        return turns

    def _finished(self, turns: list[Turn]) -> list[Turn]:
        """What the assistant said last is continued by models that can; others must not be asked to."""
        if self._native or not turns or turns[-1].role != "assistant":
            return turns
        *before, last = turns
        if isinstance(last.blocks[-1], HostedCall | HostedResult):
            return turns  # a paused answer is taken up again
        prefill = self._target.rules.prefill
        if prefill == "yes" or (prefill == "not_with_thinking" and not self._thinking.on):
            return [*before, _without_trailing_space(last)]
        if self._target.options.emulate_prefill:
            self.losses.emulate("prefill")
            return [*turns, Turn("user", (Text(CONTINUE),))]
        raise InvalidRequest(
            "The conversation ends with what the assistant said, which this model cannot continue: "
            "end it with a message of the user",
            param="messages" if self._request.format == "openai_chat" else None,
            code="unsupported_parameter",
        )


def _spoken(turns: Iterable[Turn]) -> Iterable[Turn]:
    """The turns that say something. Where the user's turn begins with nothing a stand-in is said, whatever follows:
    a longer history may have more to follow."""
    role: Role | None = None
    for turn in turns:
        if turn.blocks:
            yield turn
        elif turn.role == "user" and role != "user":
            yield replace(turn, blocks=(Text(STAND_IN),))
        else:
            continue
        role = turn.role


def _as_user(text: Text) -> Text:
    return Text(_SYSTEM_PREFIX + text.text, cache=text.cache)


def _without_trailing_space(turn: Turn) -> Turn:
    last = turn.blocks[-1]
    if not isinstance(last, Text):
        return turn
    return replace(turn, blocks=(*turn.blocks[:-1], replace(last, text=last.text.rstrip())))


def loop_lacks_thinking(turns: Sequence[Turn], vendor: str) -> bool:
    """Whether the tool loop under way began without reasoning of `vendor`: the model must not be told to think now.

    The loop is everything since the user spoke last; its first turn with a call begins with the reasoning.
    """
    start = 0
    for index, turn in enumerate(turns):
        if turn.role == "user" and not all(isinstance(block, ToolResult) for block in turn.blocks):
            start = index + 1
    for turn in turns[start:]:
        if turn.role == "assistant" and any(isinstance(block, ToolCall) for block in turn.blocks):
            first = turn.blocks[0]
            return not (
                isinstance(first, Reasoning)
                and first.opaque is not None
                and not first.opaque.data.startswith(ENVELOPE)
                and first.opaque.vendor in (vendor, "")
            )
    return False


def called_names(turns: Iterable[Turn]) -> list[str]:
    """Names of the tools the history calls, in order, each once."""
    return list(dict.fromkeys(block.name for turn in turns for block in turn.blocks if isinstance(block, ToolCall)))
