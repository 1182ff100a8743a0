"""A whole answer, richer than any one wire format."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from oneapi_mw.canonical.blocks import Block, Extras
from oneapi_mw.canonical.events import FinishReason
from oneapi_mw.immutable import immutable
from oneapi_mw.usage import Usage


@immutable
class Candidate:
    """One of the answers to a request. Mostly there is only one."""

    blocks: tuple[Block, ...] = ()
    finish: FinishReason = "unknown"
    index: int = 0
    stop_sequence: str | None = None
    finish_detail: str | None = None
    explanation: str | None = None
    """Why it ended so, in the vendor's words for people."""
    safety: Any = None
    grounding: Any = None
    extras: Extras = field(default_factory=dict)


@immutable
class Response:
    id: str = ""
    model: str = ""
    created: int = 0
    """Unix seconds; 0 when the upstream did not tell."""
    candidates: tuple[Candidate, ...] = ()
    usage: Usage | None = None
    usage_extras: Extras = field(default_factory=dict)
    """Counts the canonical record has no place for."""
    completed: int | None = None
    """Unix seconds."""
    status: str | None = None
    tier: str | None = None
    fingerprint: str | None = None
    prompt_block: str | None = None
    """Why the prompt itself was refused, in the vendor's word."""
    container: Any = None
    extras: Extras = field(default_factory=dict)
