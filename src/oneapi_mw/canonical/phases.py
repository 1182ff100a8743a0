"""The first event of an answer and the two that end one. Apart from the others, so that stages that only look at these
are imported quickly."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from oneapi_mw.immutable import immutable

if TYPE_CHECKING:
    from oneapi_mw.canonical.blocks import Extras
    from oneapi_mw.errors import GatewayError
    from oneapi_mw.usage import Usage


@immutable
class Started:
    """The answer has begun. Values the upstream did not tell are empty."""

    id: str = ""
    model: str = ""
    created: int = 0
    """Unix seconds."""
    fingerprint: str | None = None
    tier: str | None = None
    """In OpenAI's words: `default`, `flex`, `priority`, ..."""
    usage: Usage | None = None
    extras: Extras = field(default_factory=dict)


@immutable
class Ended:
    """The upstream has said all it had to say. The fields are what is known only by then."""

    completed: int | None = None
    """Unix seconds."""
    status: str | None = None
    tier: str | None = None
    """Replaces the one of `Started`."""
    prompt_block: str | None = None
    """Why the prompt itself was refused, in the vendor's word."""
    container: Any = None


@immutable
class Failed:
    """The answer will not be completed. Decoders say so with an `UpstreamError`."""

    error: GatewayError
    usage: Usage | None = None
    """What the upstream tells of an answer of which nothing came before; of others `UsageReported` does."""
