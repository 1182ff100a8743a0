"""Pieces of content, as requests hold them, answers bring them and streams build them up.

A closed union: whoever matches over `Block` handles every kind and ends in `assert_never`. Block order is the
order on the wire. Base64 stays text; nothing here decodes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

from oneapi_mw.immutable import immutable

Extras: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Wire format -> fields its decoder did not map, nested as they were. Written back to that format only, never over
a mapped field. A format that must keep two places apart adds one as `<format>.<place>`."""


@immutable
class CacheMark:
    """The prefix up to and including what carries this is worth caching."""

    ttl: Literal["5m", "30m", "1h", "12h", "24h"] | None = None


# Where media and files come from.


@immutable
class Inline:
    media_type: str
    data: str
    """Base64, standard alphabet."""


@immutable
class Url:
    url: str
    media_type: str | None = None


@immutable
class FileRef:
    """A file uploaded to a vendor. Its id means nothing to another one."""

    vendor: str
    id: str
    media_type: str | None = None


@immutable
class CloudUri:
    """`gs://` objects, URIs of the Gemini Files API, YouTube pages."""

    uri: str
    media_type: str | None = None


@immutable
class PlainText:
    text: str
    media_type: str = "text/plain"


@immutable
class Nested:
    """A document given as blocks."""

    blocks: tuple[Block, ...]


Source: TypeAlias = Inline | Url | FileRef | CloudUri | PlainText | Nested


# What blocks are made of.


@immutable
class Citation:
    """Where a span of a text block comes from. `start` and `end` count code points in the block."""

    kind: Literal["url", "file", "document", "search_result"]
    url: str | None = None
    file_id: str | None = None
    title: str | None = None
    filename: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None
    opaque: str | None = None
    """A vendor's encrypted index, wanted back by that vendor."""
    locator: Mapping[str, Any] = field(default_factory=dict)
    """Pages, blocks or chunks, as the vendor counts them."""


@immutable
class ReasoningText:
    """What can be read of a model's reasoning."""

    text: str
    summary: bool = False
    """Written for the reader rather than the reasoning itself."""


@immutable
class ReasoningOpaque:
    """A signature over the text beside it, or reasoning as ciphertext. Sent back only to the vendor it came from."""

    data: str
    vendor: str
    """Who can read it, by the vendor's own name for the format (`anthropic-claude-v1`, ...); empty if unknown."""
    kind: Literal["signature", "encrypted"] = "signature"
    id: str | None = None


# The blocks.


@immutable
class Text:
    text: str
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[Mapping[str, Any], ...] = ()
    """Token entries as OpenAI has them: `token`, `logprob`, `bytes`, `top_logprobs`."""
    origin: Literal["system", "developer", "instructions"] | None = None
    """Only for instructions: the word the client used."""
    opaque: ReasoningOpaque | None = None
    """Gemini signs texts, too. A signed text is kept even when it is empty."""
    item_id: str | None = None
    """Of the message item the text is part of (Responses): texts with one id are parts of one message."""
    phase: str | None = None
    """`commentary` or `final_answer`, of that message."""
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Refusal:
    """The model says no, in words."""

    text: str
    logprobs: tuple[Mapping[str, Any], ...] = ()
    item_id: str | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Image:
    source: Source
    detail: str | None = None
    resolution: str | None = None
    opaque: ReasoningOpaque | None = None
    item_id: str | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Audio:
    """Sound going in or coming out. An answer played earlier may be named by `audio_id` alone."""

    source: Source | None = None
    transcript: str | None = None
    audio_id: str | None = None
    expires_at: int | None = None
    """Unix seconds."""
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Video:
    source: Source
    start: str | None = None
    end: str | None = None
    fps: float | None = None
    resolution: str | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Document:
    source: Source
    filename: str | None = None
    title: str | None = None
    context: str | None = None
    cite: bool | None = None
    detail: str | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class SearchResult:
    source: str
    title: str
    blocks: tuple[Block, ...]
    cite: bool | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class ContainerFile:
    """A file inside the vendor's sandbox."""

    file_id: str
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Reasoning:
    """One stretch of reasoning, at its place among text and calls. The text of a signed block never changes.

    Without texts it is a ciphertext, or a signature over text the vendor does not show.
    """

    texts: tuple[ReasoningText, ...] = ()
    """Parts as the vendor divides them: Responses has several summaries, and raw text beside them."""
    opaque: ReasoningOpaque | None = None
    item_id: str | None = None
    status: str | None = None
    extras: Extras = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All that can be read, the parts a blank line apart."""
        return "\n\n".join([part.text for part in self.texts if part.text])

    @property
    def is_summary(self) -> bool:
        """Whether all of it was written for the reader."""
        return bool(self.texts) and all(part.summary for part in self.texts)


@immutable
class ToolCall:
    """A call the client is to carry out."""

    id: str
    name: str
    arguments: str
    """The original text: JSON for functions, free text for custom tools. Parsed by whoever needs an object."""
    kind: Literal["function", "custom"] = "function"
    item_id: str | None = None
    namespace: str | None = None
    caller: Mapping[str, Any] | None = None
    opaque: ReasoningOpaque | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class ToolResult:
    call_id: str
    blocks: tuple[Block, ...]
    name: str | None = None
    is_error: bool | None = None
    structured: Any = None
    """The parsed object, when the source had one."""
    item_id: str | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class HostedCall:
    """A call the vendor carries out itself."""

    kind: str
    """`web_search`, `code`, `file_search`, ...: the group, not the vendor's type."""
    id: str
    name: str
    input: Any = None
    """As plain as it can be said: `{"query": ...}`, `{"code": ...}`, ...; else the vendor's own."""
    status: str | None = None
    server: str | None = None
    """Label of the MCP server that is called."""
    opaque: ReasoningOpaque | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class HostedResult:
    call_id: str
    kind: str
    is_error: bool = False
    format: str = ""
    """Wire format of `raw`."""
    raw: Any = None
    """The result in the vendor's own shape: nobody else can make one."""
    blocks: tuple[Block, ...] = ()
    """What can be read of it by others: output of code as text, pages found as search results."""
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


OpaqueKind: TypeAlias = Literal[
    "approval", "compaction", "tool_change", "config_change", "item_ref", "program", "foreign"
]


@immutable
class Opaque:
    """An item whose meaning the gateway need not know: it goes back to its own format, elsewhere it is dropped.

    `foreign` is anything unknown; the other kinds are named so that a codec can say what it cannot express.
    """

    kind: OpaqueKind
    format: str
    type: str
    """The type in the format's own words."""
    value: Any
    cache: CacheMark | None = None


Block: TypeAlias = (
    Text
    | Refusal
    | Image
    | Audio
    | Video
    | Document
    | SearchResult
    | ContainerFile
    | Reasoning
    | ToolCall
    | ToolResult
    | HostedCall
    | HostedResult
    | Opaque
)
