"""Prices: of one channel, as shipped for a provider, of all channels, and which are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from oneapi_mw.admin.body import Body, read
from oneapi_mw.admin.channel_config import set_tooling, tooling_of
from oneapi_mw.admin.channel_text import check_json
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, Refusal, ok
from oneapi_mw.admin.query import path_reference
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.pricing.book import OPTION, decode_overrides
from oneapi_mw.pricing.card import Card
from oneapi_mw.pricing.figures import PER_MTOK
from oneapi_mw.pricing.groups import DEFAULT_RATIOS, decode_group_ratios
from oneapi_mw.pricing.live import GROUP_RATIO, LivePrices
from oneapi_mw.pricing.price import RATIO_SCALE
from oneapi_mw.store.records import ChannelRecord

_JSON_FIELDS = ("model_configs", "model_ratio", "completion_ratio", "tooling")


class ChannelPrices(Body):
    """Objects, or their JSON as text."""

    model_configs: dict[str, Any] | str | None = None
    model_ratio: dict[str, Any] | str | None = None
    completion_ratio: dict[str, Any] | str | None = None
    tooling: dict[str, Any] | str | None = None


async def _find(call: Call) -> ChannelRecord:
    channel = await call.store.channels.get(path_reference(call))
    if channel is None:
        raise Missing
    return channel


async def show_channel_prices(call: Call) -> Response:
    """What the channel itself says; models it says nothing of have the prices of the layers below."""
    channel = await _find(call)
    tooling = tooling_of(channel.config)
    return ok(
        {
            "model_ratio": _object(channel.model_ratio),
            "completion_ratio": _object(channel.completion_ratio),
            "model_configs": _object(channel.model_configs),
            "tooling": orjson.loads(tooling) if tooling else None,
        }
    )


async def set_channel_prices(call: Call) -> Response:
    """Replace the saved maps. With `model_configs` the two older ones are dropped: it wins."""
    body = await read(call, ChannelPrices)
    channel = await _find(call)
    given = {field: _text(getattr(body, field)) for field in body.model_fields_set & set(_JSON_FIELDS)}
    for field, text in given.items():
        check_json(field, text)
    tooling = given.pop("tooling", None)
    changes: dict[str, Any] = dict(given)
    if given.get("model_configs"):
        changes["model_ratio"] = changes["completion_ratio"] = ""
    if tooling is not None:
        changes["config"] = set_tooling(channel.config, tooling or "{}")
    if changes and await call.store.channels.update(channel.uuid, changes) is None:
        raise Missing
    return ok()


def _object(text: str | None) -> Any:
    try:
        return orjson.loads(text) if text and text.strip() else {}
    except orjson.JSONDecodeError:  # written by somebody else
        return {}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def show_default_prices(call: Call) -> Response:
    """The shipped prices of a channel type's provider, each map as JSON text, in One API's terms."""
    asked = call.request.query_params.get("type", "")
    if not (asked.isascii() and asked.isdecimal()):
        raise Refusal(f"Invalid channel type: {asked[:32]!r} is not a number")
    provider = call.services.provider_name(int(asked))
    if provider is None:
        raise Refusal("Unsupported channel type")
    cards = dict(_prices(call).book.table.provider_cards(provider))
    ratios = {model: ratio for model, card in cards.items() if (ratio := _ratio(card)) is not None}
    return ok(
        {
            "model_ratio": _dump({model: ratio for model, (ratio, _) in ratios.items()}),
            "completion_ratio": _dump({model: completion for model, (_, completion) in ratios.items()}),
            "model_configs": _dump(cards),
            "tooling": _dump(_tooling(cards)),
        }
    )


def _ratio(card: Card) -> tuple[float, float] | None:
    """(ratio, completion ratio), as near as floats come."""
    usd_in = float(card.get("input" + PER_MTOK, 0))
    if not usd_in:
        return None
    return usd_in / 2, float(card.get("output" + PER_MTOK, usd_in)) / usd_in


def _tooling(cards: Mapping[str, Card]) -> dict[str, Any]:
    """The dearest price of each tool over all models: One API knows one per provider."""
    dearest: dict[str, Any] = {}
    for card in cards.values():
        for kind, price in card.get("tools", {}).items():
            if float(price.get("usd_per_call", 0)) >= float(dearest.get(kind, {}).get("usd_per_call", 0)):
                dearest[kind] = price
    return {"whitelist": [], "pricing": dearest}


def _dump(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


async def list_missing(call: Call) -> Response:
    """Models that enabled channels list and nobody has priced: requests for them are refused."""
    rows = [{"model": model, "channels": list(names)} for model, names in sorted(call.services.without_price().items())]
    return ok(rows, total=len(rows))


class Overrides(Body):
    overrides: dict[str, Any] | None = None


async def show_overrides(call: Call) -> Response:
    """The operator's price cards for all channels."""
    return ok(_object((await call.store.options.all()).get(OPTION)))


async def set_overrides(call: Call) -> Response:
    body = await read(call, Overrides)
    if body.overrides is None:
        raise Refusal('overrides is required: {"overrides": {"models": {"gpt-4o": {"input_usd_per_mtok": 2.5}}}}')
    text = orjson.dumps(body.overrides).decode()
    try:
        decode_overrides(text)
    except ValueError as exc:
        raise Refusal(str(exc)) from None
    await _store(call, OPTION, text)
    return ok()


class GroupRatios(Body):
    ratios: dict[str, Any] | None = None


async def show_group_ratios(call: Call) -> Response:
    """What each group pays in terms of list price, as it is in force."""
    prices = call.services.prices
    ratios = DEFAULT_RATIOS if prices is None else prices.group_ratios
    return ok({group: ratio / RATIO_SCALE for group, ratio in ratios.items()})


async def set_group_ratios(call: Call) -> Response:
    """Replace the map. A wrong one is refused and changes nothing."""
    body = await read(call, GroupRatios)
    if body.ratios is None:
        raise Refusal('ratios is required: {"ratios": {"default": 1, "vip": 0.8}}')
    text = orjson.dumps(body.ratios).decode()
    try:
        decode_group_ratios(text)
    except ValueError as exc:
        raise Refusal(str(exc)) from None
    await _store(call, GROUP_RATIO, text)
    return ok()


async def _store(call: Call, key: str, text: str) -> None:
    """Keep a checked option and put it in force here at once; other workers look for it within seconds."""
    await call.store.options.set(key, text)
    _prices(call).take({key: text})


def _prices(call: Call) -> LivePrices:
    prices = call.services.prices
    return LivePrices() if prices is None else prices


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("GET", "/api/channel/pricing/{uuid}", Access.ADMIN, show_channel_prices),
        Endpoint("PUT", "/api/channel/pricing/{uuid}", Access.ADMIN, set_channel_prices),
        Endpoint("GET", "/api/channel/default-pricing", Access.ADMIN, show_default_prices),
        Endpoint("GET", "/api/pricing/missing", Access.ADMIN, list_missing),
        Endpoint("GET", "/api/pricing/overrides", Access.ADMIN, show_overrides),
        Endpoint("PUT", "/api/pricing/overrides", Access.ROOT, set_overrides),
        Endpoint("GET", "/api/pricing/groups", Access.ADMIN, show_group_ratios),
        Endpoint("PUT", "/api/pricing/groups", Access.ROOT, set_group_ratios),
    )
