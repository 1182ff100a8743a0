"""Finding the price of a model on a channel.

Layers, the first that knows the model wins:

    channel     the channel's own `model_configs`
    override    the operator's cards for all channels: by provider, then by model
    provider    the shipped table, what the channel's provider asks
    global      the shipped table, what the model's maker asks
    free        nothing: for channels whose config says `"unknown_model_policy": "free"`
    default     the operator's card for models nobody knows
    reference   One API's 2.5 US dollars a million tokens

Operators' cards hold for the very name they are written for; the table also finds other spellings (`names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

import orjson

from oneapi_mw.immutable import immutable
from oneapi_mw.pricing.card import Card, decode_card, has_prices, stack
from oneapi_mw.pricing.compile import check_card, compile_card
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.pricing.searches import prices_over
from oneapi_mw.pricing.table import EMPTY, PriceTable, section_of

UnknownModelPolicy: TypeAlias = Literal["reject", "reference", "default_price"]

OPTION = "PriceOverrides"
"""Key in the options under which operators' cards for all channels are kept."""
MAX_REMEMBERED = 16_384

_FREE_CARD: Card = {"input_usd_per_mtok": "0", "output_usd_per_mtok": "0", "source": "free"}
_REFERENCE_CARD: Card = {
    "input_usd_per_mtok": "2.5",
    "output_usd_per_mtok": "2.5",
    "source": "One API's safe default",
}
FREE = compile_card(_FREE_CARD, layer="free")
REFERENCE = compile_card(_REFERENCE_CARD, layer="reference")


@immutable
class Overrides:
    """Operators' cards for all channels, as `decode_card` returned them."""

    models: Mapping[str, Card] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, Card]] = field(default_factory=dict)
    """By name of the provider in tables (`table.section_of`), then by model."""
    default: Card | None = None
    """For models nobody knows, under the policy `default_price`."""

    def find(self, model: str, provider: str) -> Card | None:
        return self.providers.get(section_of(provider), {}).get(model) or self.models.get(model)


def decode_overrides(text: str) -> Overrides:
    """The overrides in the option. Raises `ValueError` naming the model and what is wrong."""
    try:
        given = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError:
        raise ValueError(f'{OPTION} must be a JSON object such as {{"models": {{"gpt-4o": {{...}}}}}}') from None
    if not isinstance(given, dict) or not given.keys() <= {"models", "providers", "default"}:
        raise ValueError(f'{OPTION} must be a JSON object with "models", "providers" and "default", as far as needed')
    providers = _object(given.get("providers"), "providers")
    return Overrides(
        _cards(_object(given.get("models"), "models")),
        {section_of(name): _cards(_object(cards, name)) for name, cards in providers.items()},
        _checked(given["default"], "default") if given.get("default") else None,
    )


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value or {}, dict):
        raise ValueError(f"{OPTION}: {name!r} must be an object")
    return value or {}


def _cards(given: Mapping[str, Any]) -> dict[str, Card]:
    return {model: _checked(config, model) for model, config in given.items()}


def _checked(config: Any, model: str) -> Card:
    if not model.strip():
        raise ValueError(f"{OPTION}: a price card is of a model: write its name before the card")
    if not isinstance(config, dict):
        raise ValueError(f"{model}: a price card must be an object")
    try:
        card = decode_card(config)
        if card.get("mode") != "merge":
            check_card(card)
    except ValueError as exc:
        raise ValueError(f"{model}: {exc}") from None
    return card


def is_free_channel(config: Mapping[str, Any]) -> bool:
    """Whether models nobody has priced cost nothing on this channel (self-hosted upstreams)."""
    return config.get("unknown_model_policy") == "free"


class PriceBook:
    """Prices by model, provider and channel. Remembers what it compiled, by what it compiled it from.

    Args:
        table: the shipped one (`pricing.shipped`); without it only what operators say has a price.
        policy: what becomes of models nobody knows.
        tools_use_group_ratio: whether the group ratio applies to calls of hosted tools, unless a card says so itself.
    """

    def __init__(
        self,
        table: PriceTable = EMPTY,
        overrides: Overrides | None = None,
        *,
        policy: UnknownModelPolicy = "reject",
        tools_use_group_ratio: bool = False,
    ) -> None:
        self.table = table
        self.overrides = overrides or Overrides()
        self.policy: UnknownModelPolicy = policy
        self._tools_grouped = tools_use_group_ratio
        self._compiled: dict[tuple[str, str, bytes], CompiledPrice | None] = {}

    def price(
        self,
        model: str,
        *,
        provider: str = "",
        model_configs: Mapping[str, Any] | None = None,
        channel_config: Mapping[str, Any] | None = None,
    ) -> CompiledPrice | None:
        """The price of `model` (the provider's name for it) on a channel.

        Returns: `None` when nobody knows the model and the policy is to reject it.
        Raises: `ValueError` when the channel's card is malformed.
        """
        entry = (model_configs or {}).get(model)
        config = channel_config or {}
        own = (entry, config.get("tooling"), is_free_channel(config))
        key = (model, section_of(provider), orjson.dumps(own, option=orjson.OPT_NON_STR_KEYS))
        if key not in self._compiled:
            price = self._compile(model, provider, entry, config)
            if len(self._compiled) >= MAX_REMEMBERED:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[key] = price
        return self._compiled[key]

    def card(self, model: str, provider: str, entry: Any = None) -> tuple[Card, str, str] | None:
        """(card, layer, name rule) of a model that some layer knows. Raises as `price`."""
        found = self.table.find(model, provider)
        card: Card | None = None
        layer, rule = "", "exact"
        if found is not None:
            card, layer, rule = found.card, found.layer, found.rule
        override = self.overrides.find(model, provider)
        if override is not None:
            card, layer, rule = stack(override, card), "override", "exact"
        if isinstance(entry, Mapping):
            decoded = decode_card(entry)
            if has_prices(decoded):
                decoded.setdefault("source", "channel")
                card, layer, rule = stack(decoded, card), "channel", "exact"
            elif card is not None:
                card = stack(decoded, card)  # an output limit or tools: of the price it says nothing
        if card is None or not has_prices(card):
            return None
        return card, layer, rule

    def _compile(self, model: str, provider: str, entry: Any, config: Mapping[str, Any]) -> CompiledPrice | None:
        known = self.card(model, provider, entry)
        if known is None:
            return self._unknown(config)
        card, layer, rule = known
        return compile_card(self._with_tooling(card, config), layer=layer, rule=rule)

    def _with_tooling(self, card: Card, config: Mapping[str, Any]) -> Card:
        """The card with the tools of the channel: its prices beat others, its whitelist says what is allowed."""
        tooling = config.get("tooling")
        own: dict[str, Any] = {}
        if isinstance(tooling, Mapping):
            own = decode_card(
                {"tools": tooling.get("pricing") or {}, "allowed_tools": tooling.get("whitelist") or None}
            )
        if self._tools_grouped:
            own["tools_use_group_ratio"] = True
        return {**card, **own, "tools": prices_over(card.get("tools", {}), own.get("tools", {}))} if own else card

    def _unknown(self, config: Mapping[str, Any]) -> CompiledPrice | None:
        if is_free_channel(config):
            return self._fixed(FREE, _FREE_CARD, config)
        if self.policy == "default_price" and self.overrides.default is not None:
            return compile_card(self._with_tooling(self.overrides.default, config), layer="default")
        if self.policy != "reference":
            return None
        return self._fixed(REFERENCE, _REFERENCE_CARD, config)

    def _fixed(self, price: CompiledPrice, card: Card, config: Mapping[str, Any]) -> CompiledPrice:
        """A price that is the same for all models, with the tools of the channel."""
        whole = self._with_tooling(card, config)
        return price if whole is card else compile_card(whole, layer=price.layer)
