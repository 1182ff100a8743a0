"""A request to a model, richer than any one wire format.

Absent (`None`) differs from present with the default value. JSON values are kept as parsed and never changed
in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

from oneapi_mw.canonical.blocks import Block, CacheMark, Extras, Text
from oneapi_mw.immutable import immutable
from oneapi_mw.types import JsonObject

Role: TypeAlias = Literal["user", "assistant", "system"]
Modality: TypeAlias = Literal["text", "audio", "image", "video"]


@immutable
class Turn:
    """What one side said. `system` stands only for instructions in mid-conversation."""

    role: Role
    blocks: tuple[Block, ...]
    name: str | None = None
    extras: Extras = field(default_factory=dict)


# Tools and the choice among them.


@immutable
class FunctionTool:
    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    """JSON Schema; `None` when none was given."""
    strict: bool | None = None
    output_schema: JsonObject | None = None
    examples: tuple[Any, ...] = ()
    defer: bool | None = None
    callers: tuple[str, ...] = ()
    eager: bool | None = None
    namespace: str | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Grammar:
    syntax: str
    definition: str


@immutable
class CustomTool:
    """A tool that takes free text, perhaps bound by a grammar."""

    name: str
    description: str | None = None
    grammar: Grammar | None = None
    defer: bool | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class HostedTool:
    """A tool the vendor runs. `raw` is its declaration in `format`; `options` what other vendors know, too."""

    kind: str
    type: str
    format: str
    raw: JsonObject
    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    cache: CacheMark | None = None


@immutable
class McpServer:
    label: str
    url: str | None = None
    connector: str | None = None
    tunnel: str | None = None
    auth: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed: tuple[str, ...] | None = None
    approval: Any = None
    defer: bool | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class ToolSearch:
    mode: Literal["server", "client"]
    variant: Literal["regex", "bm25"] | None = None
    cache: CacheMark | None = None
    extras: Extras = field(default_factory=dict)


Tool: TypeAlias = FunctionTool | CustomTool | HostedTool | McpServer | ToolSearch


@immutable
class ToolChoice:
    """Whether and which tools are called.

    `only` lists (kind, name) pairs: one with `required` is a named tool, several are the allowed ones.
    """

    mode: Literal["auto", "none", "required"] | None = None
    """`None`: the client chose nothing and only set `parallel`."""
    only: tuple[tuple[str, str], ...] = ()
    parallel: bool | None = None
    validated: bool = False
    """Calls must match their schema (Gemini's mode `VALIDATED`)."""


# Settings of the answer.


@immutable
class Sampling:
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    logit_bias: Mapping[str, float] | None = None


@immutable
class OutputFormat:
    kind: Literal["text", "json", "schema", "enum"]
    name: str | None = None
    schema: JsonObject | None = None
    strict: bool | None = None
    description: str | None = None


@immutable
class ReasoningAsk:
    """What the client wants of the model's reasoning."""

    on: bool | None = None
    effort: str | None = None
    budget: int | None = None
    """Tokens."""
    display: str | None = None
    context: str | None = None
    mode: str | None = None
    extras: Extras = field(default_factory=dict)
    """The members it was read from, where a format has several ways to say it."""


@immutable
class AudioOut:
    voice: Any = None
    """A name, or an object naming a custom voice."""
    format: str | None = None
    speakers: tuple[Any, ...] = ()
    language: str | None = None


@immutable
class ImageOut:
    size: str | None = None
    aspect: str | None = None
    quality: str | None = None
    format: str | None = None


@immutable
class CachePlan:
    mode: Literal["implicit", "explicit", "auto_last"] | None = None
    default_ttl: str | None = None
    key: str | None = None
    retention: str | None = None
    resource: str | None = None


@immutable
class State:
    """What the vendor is to remember, and how the answer is carried out."""

    store: bool | None = None
    previous_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    truncation: str | None = None
    context_edits: Any = None
    include: tuple[str, ...] = ()


@immutable
class Identity:
    end_user: str | None = None
    safety_id: str | None = None
    metadata: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None


@immutable
class Service:
    """Anything here may change the price."""

    tier: str | None = None
    speed: str | None = None
    geo: str | None = None


@immutable
class Safety:
    settings: Any = None
    """Gemini's `safetySettings`."""
    moderation: Any = None
    """OpenAI's `moderation`."""


@immutable
class StreamOptions:
    on: bool = False
    include_usage: bool | None = None
    obfuscation: bool | None = None


@immutable
class Request:
    """A whole request."""

    format: str
    """Wire format the client speaks, by name."""
    model: str
    turns: tuple[Turn, ...] = ()
    system: tuple[Text, ...] = ()
    """Leading instructions, one entry per block of the original."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    max_output: int | None = None
    max_hosted_calls: int | None = None
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    candidates: int | None = None
    logprobs: int | None = None
    """How many alternatives per token; 0 is the chosen token alone."""
    output: OutputFormat | None = None
    verbosity: str | None = None
    reasoning: ReasoningAsk | None = None
    modalities: tuple[Modality, ...] = ()
    audio: AudioOut | None = None
    image: ImageOut | None = None
    cache: CachePlan = CachePlan()
    state: State = State()
    identity: Identity = Identity()
    service: Service = Service()
    safety: Safety = Safety()
    stream: StreamOptions = StreamOptions()
    prediction: Any = None
    prompt_template: Any = None
    container: Any = None
    """The vendor's sandbox, and what is to be in it. No other vendor has it."""
    betas: tuple[str, ...] = ()
    extras: Extras = field(default_factory=dict)
