"""A request as the convert stage hands it inward: the fields every stage reads, and the original bytes."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from oneapi_mw.immutable import immutable
from oneapi_mw.scope import ScopeKey
from oneapi_mw.types import JsonObject, RawHeaders

if TYPE_CHECKING:
    from oneapi_mw.wire.wish import ReasoningWish


@immutable
class Outside:
    """What a request says beside its body, as ASGI has it. Some formats put the model into the path, and switches
    into the query or the headers."""

    path: str = ""
    """Below the mount."""
    query: bytes = field(default=b"", repr=False)
    headers: RawHeaders = field(default=(), repr=False)


BODY_ALONE = Outside()


@immutable
class Call:
    """One request to a model, checked as far as the gateway reads it.

    The canonical request is decoded from `body` only when an upstream speaks another format.
    """

    operation: str
    format: str
    """Wire format of `body`, by name."""
    model: str
    """As the client asked for it; routing maps it to the upstream's name."""
    stream: bool
    body: JsonObject
    """Parsed body. Never changed in place."""
    raw: bytes | None
    """The bytes `body` was parsed from; `None` once a stage has changed the body."""
    max_output: int | None = None
    """The client's own limit on generated tokens, over all candidates."""
    candidates: int = 1
    """Answers asked for, over all inputs."""
    inputs: int = 1
    """Inputs that are answered one by one, each as often as the others."""
    input_estimate: int = 0
    """Input tokens, estimated from the text without a tokenizer."""
    usage_wanted: bool = True
    """Whether the client asked to see usage in a stream (only formats that make it optional)."""
    outside: Outside = BODY_ALONE
    strict: bool = False
    """Whether the client wants a refusal rather than anything left out or said by other means."""
    wish: ReasoningWish | None = None
    """What the client wants of the model's reasoning, beside what the body says in its format's own words."""
    kept: bool = False
    """Whether the gateway itself keeps the answer: an upstream of another format need not be told to."""

    def with_body(self, body: JsonObject) -> Call:
        """This call with another body; the original bytes no longer apply."""
        return replace(self, body=body, raw=None)


CALL: ScopeKey[Call] = ScopeKey("oneapi_mw.call")
