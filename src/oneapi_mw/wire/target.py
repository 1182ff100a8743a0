"""Who a request is written for: the model, what it takes, and how far the gateway may go to please it."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from oneapi_mw.immutable import immutable
from oneapi_mw.models.rules import UNKNOWN, ModelRules


@immutable
class ConversionOptions:
    """What the operator, the channel or the request decided about conversion."""

    strict: bool = False
    """What would be dropped or emulated is refused."""
    strict_passthrough: bool = False
    """Where both sides speak the same format nothing is removed, not even what the model is known to refuse."""
    emulate_stop: bool = True
    emulate_prefill: bool = False
    emulate_client_tools: bool = False
    drop_hosted_tools: bool = False
    fan_out_n: bool = False
    """Several answers from an upstream that gives one at a time are asked for one by one."""
    reasoning_lost: Literal["drop", "text"] = "drop"
    """What becomes of reasoning text that cannot go back as such."""
    default_max_output: int | None = None
    """Output limit where the format needs one and the client gave none; `None` takes the model's."""
    gemini_safety: str | None = None
    """Threshold for all of Gemini's categories where the client named none."""
    gemini_schema: Literal["auto", "json", "openapi"] = "auto"
    fetches_urls: bool = True
    """Whether media named by URL are fetched where the target cannot."""
    inline_urls: bool = False
    """The target cannot: it takes data alone, also in its own format."""


@immutable
class Target:
    """The upstream a request goes to, as codecs need to know it."""

    model: str
    """Upstream name."""
    rules: ModelRules = UNKNOWN
    vendor: str = ""
    """Whose opaque reasoning parts it reads (`ReasoningOpaque.vendor`); empty: nobody's."""
    official: bool = False
    """The vendor's own host, which takes every field of its format."""
    platform: Literal["", "azure", "bedrock", "vertex"] = ""
    provider: str = ""
    """Name of the channel's provider in the catalogue: what hosts of one wire do differently goes by it."""
    options: ConversionOptions = field(default_factory=ConversionOptions)


def target_for(model: str) -> Target:
    """A target about which only the name is known."""
    return Target(model)
