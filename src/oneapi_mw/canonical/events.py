"""What happens while an answer streams in: a closed union of events that every stream codec speaks.

    Started  (BlockStarted  delta*  BlockEnded)*  Finished  UsageReported  Ended
    ... or at any point                                                    Failed

`candidate` numbers the answers of one request, `block` the blocks of one candidate; blocks of one candidate
may overlap. `UsageReported` may come several times: each replaces the one before. `Ended` and `Failed` are
terminal: exactly one of them comes, and nothing after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from oneapi_mw.canonical.phases import Ended as Ended
from oneapi_mw.canonical.phases import Failed as Failed
from oneapi_mw.canonical.phases import Started as Started
from oneapi_mw.immutable import immutable
from oneapi_mw.usage import Usage

if TYPE_CHECKING:
    from oneapi_mw.canonical.blocks import Block, Citation, Extras, ReasoningOpaque

FinishReason: TypeAlias = Literal[
    "stop",
    "stop_sequence",
    "length",
    "tool_calls",
    "content_filter",
    "refusal",
    "pause",
    "context_window",
    "compaction",
    "malformed_call",
    "continuation",
    "error",
    "cancelled",
    "unknown",
]

BlockKind: TypeAlias = Literal[
    "text", "refusal", "reasoning", "tool_call", "image", "audio", "video", "hosted_call", "hosted_result", "opaque"
]


@immutable
class BlockStarted:
    candidate: int
    block: int
    kind: BlockKind
    item_id: str | None = None
    call_id: str | None = None
    name: str | None = None
    """Name of the tool that is called."""
    tool: Literal["function", "custom"] = "function"
    hosted: str | None = None
    """Group of the hosted tool, as in `HostedCall.kind`."""
    opaque: ReasoningOpaque | None = None
    """A signature that is known from the start; one that comes later is an `OpaqueDelta`."""


@immutable
class TextDelta:
    candidate: int
    block: int
    text: str


@immutable
class RefusalDelta:
    candidate: int
    block: int
    text: str


@immutable
class ReasoningDelta:
    candidate: int
    block: int
    text: str
    summary: bool = False


@immutable
class ArgumentsDelta:
    """More of the arguments of a tool call or a hosted call; the text as it came, not necessarily whole JSON tokens."""

    candidate: int
    block: int
    text: str


@immutable
class AudioDelta:
    candidate: int
    block: int
    data: str = ""
    """Base64."""
    transcript: str = ""
    audio_id: str | None = None
    expires_at: int | None = None


@immutable
class CodeDelta:
    """Code that a hosted tool is about to run."""

    candidate: int
    block: int
    text: str


@immutable
class OpaqueDelta:
    """Signature or ciphertext of the block; the last one counts."""

    candidate: int
    block: int
    opaque: ReasoningOpaque


@immutable
class CitationAdded:
    candidate: int
    block: int
    citation: Citation


@immutable
class LogprobsAdded:
    candidate: int
    block: int
    logprobs: tuple[Mapping[str, Any], ...]


@immutable
class PartialImage:
    candidate: int
    block: int
    index: int
    data: str
    """Base64 of a preview that the next one replaces."""


@immutable
class HostedProgress:
    candidate: int
    block: int
    status: str


@immutable
class BlockEnded:
    candidate: int
    block: int
    content: Block
    """The whole block."""


@immutable
class UsageReported:
    usage: Usage
    extras: Extras = field(default_factory=dict)
    """Counts the canonical record has no place for."""


@immutable
class Finished:
    candidate: int
    reason: FinishReason
    stop_sequence: str | None = None
    detail: str | None = None
    """The vendor's own word, where the reason alone loses it."""
    explanation: str | None = None
    """The same for people."""
    safety: Any = None
    grounding: Any = None
    extras: Extras = field(default_factory=dict)


@immutable
class Ping:
    """The upstream is alive and has nothing to say yet."""


@immutable
class ForeignEvent:
    """An event of `format` that the canonical model does not know: written back to that format, else dropped."""

    format: str
    name: str
    data: Any


Event: TypeAlias = (
    Started
    | BlockStarted
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ArgumentsDelta
    | AudioDelta
    | CodeDelta
    | OpaqueDelta
    | CitationAdded
    | LogprobsAdded
    | PartialImage
    | HostedProgress
    | BlockEnded
    | UsageReported
    | Finished
    | Ended
    | Failed
    | Ping
    | ForeignEvent
)
