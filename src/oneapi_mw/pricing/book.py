"""Finding the price of a model on a channel."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from oneapi_mw.pricing.builtin import BUILTIN
from oneapi_mw.pricing.card import PriceCard, compile_card, decode_card
from oneapi_mw.pricing.price import CompiledPrice

UnknownModelPolicy: TypeAlias = Literal["reject", "reference"]

FREE = compile_card(PriceCard(Decimal(0), Decimal(0), source="free"), layer="free")
REFERENCE = compile_card(PriceCard(Decimal("2.5"), Decimal("2.5"), source="One API's safe default"), layer="default")


def is_free_channel(config: Mapping[str, Any]) -> bool:
    """Whether models nobody has priced cost nothing on this channel (self-hosted upstreams)."""
    return config.get("unknown_model_policy") == "free"


def resolve_price(
    model: str,
    *,
    model_configs: Mapping[str, Any],
    channel_config: Mapping[str, Any],
    policy: UnknownModelPolicy = "reject",
) -> CompiledPrice | None:
    """The price of `model` (the provider's name for it): the channel's own card, else the built-in one.

    Returns: `None` when nobody knows the model and the policy is to reject it.
    Raises: `ValueError` when the channel's card is malformed.
    """
    config = model_configs.get(model)
    if isinstance(config, Mapping):
        card = decode_card(config)
        if card.input_usd_per_mtok is not None:
            return compile_card(card, layer="channel")
    card_or_none = BUILTIN.get(model)
    if card_or_none is not None:
        return compile_card(card_or_none, layer="builtin")
    if is_free_channel(channel_config):
        return FREE
    return REFERENCE if policy == "reference" else None
