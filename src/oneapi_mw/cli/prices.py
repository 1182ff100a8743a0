"""`oneapi-mw prices`: what models cost, and where that is known from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson

from oneapi_mw.admin.channel_text import check_json
from oneapi_mw.admin.envelope import Refusal
from oneapi_mw.cli import prices_build
from oneapi_mw.cli.arguments import add_command, add_group, add_json
from oneapi_mw.cli.channel import find_channel
from oneapi_mw.cli.database import with_store
from oneapi_mw.cli.failure import CommandFailed, Misused
from oneapi_mw.cli.output import print_json, print_rows
from oneapi_mw.pricing import litellm
from oneapi_mw.pricing.book import OPTION, PriceBook, decode_overrides
from oneapi_mw.pricing.build import figures
from oneapi_mw.pricing.card import Card, decode_card, has_prices
from oneapi_mw.pricing.compile import card_id
from oneapi_mw.pricing.figures import from_fraction, text
from oneapi_mw.pricing.live import LivePrices
from oneapi_mw.pricing.shipped import shipped_table
from oneapi_mw.pricing.table import Found, section_of
from oneapi_mw.providers.catalogue import ROWS
from oneapi_mw.routing.router import RoutingTable
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store

MAX_NAMED = 10
"""Models named in one line, at most."""
UNITS = {
    "_usd_per_mtok": "USD per 1M tokens",
    "usd_per_mchar": "USD per 1M characters",
    "usd_per_kpage": "USD per 1000 pages",
    "usd_per_ksearch": "USD per 1000 searches",
    "usd_per_krequest": "USD per 1000 requests",
    "usd_per_second": "USD per second",
    "usd_per_audio_second": "USD per second",
    "usd_per_image": "USD per image",
    "usd_per_video_frame": "USD per frame",
    "usd_per_document_page": "USD per page",
    "usd_per_video": "USD per video",
    "usd_per_call": "USD per call",
    "minimum_usd": "USD per request, at least",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    commands = add_group(command)

    show = add_command(
        commands,
        "show",
        "Show every price of a model, as shipped.",
        show_model,
        examples="""
        oneapi-mw prices show gpt-4o
        oneapi-mw prices show claude-sonnet-4-5 --provider aws
        """,
    )
    show.add_argument("model", help="its name at the provider")
    show.add_argument("--provider", default="", metavar="NAME", help="whose price: a provider's own may differ")
    add_json(show)

    missing = add_command(
        commands,
        "missing",
        "List models of enabled channels that have no price.",
        with_store(list_missing),
        examples="oneapi-mw prices missing",
    )
    add_json(missing)

    load = add_command(
        commands,
        "import",
        "Take over prices from a file.",
        with_store(import_file),
        examples="""
        oneapi-mw prices import prices.json --global
        oneapi-mw prices import model_configs.json --channel openai
        oneapi-mw prices import model_prices_and_context_window.json --global --models gpt-4o,gpt-4o-mini
        """,
    )
    load.add_argument("file", type=Path, help="cards by model: ours, One API's model_configs, or LiteLLM's cost map")
    where = load.add_mutually_exclusive_group(required=True)
    where.add_argument("--channel", metavar="CHANNEL", help="for one channel: id, uuid or name")
    where.add_argument("--global", dest="for_all", action="store_true", help="for all channels")
    load.add_argument("--provider", default="", metavar="NAME", help="with --global: of this provider only")
    load.add_argument("--models", default="", metavar="A,B", help="only these")
    load.add_argument("--dry-run", action="store_true", help="check the file and change nothing")

    prices_build.add_commands(commands)


def check_provider(name: str) -> None:
    """Raises `CommandFailed` for a name that no provider has: its prices would be those of nobody."""
    known = sorted({*shipped_table().providers(), *(row.name for row in ROWS)})
    if name and section_of(name) not in {section_of(other) for other in known}:
        raise CommandFailed(f"no provider is called {name!r}: write one of {', '.join(known)}")


def show_model(args: argparse.Namespace) -> int:
    check_provider(args.provider)
    found = shipped_table().find(args.model, args.provider)
    if found is None:
        raise CommandFailed(
            f"no price of {args.model!r} is shipped: write one into model_configs of the channel that serves it, or "
            "import one with 'oneapi-mw prices import'"
        )
    rows = list(_rows(found.card))
    if args.json:
        print_json({**_about(found), "prices": rows})
        return 0
    for name, value in _about(found).items():
        print(f"{name}: {value}")
    print()
    print_rows(rows, as_json=False, nothing="")
    return 0


def _about(found: Found) -> dict[str, Any]:
    audio = found.card.get("audio", {})
    lengths = {
        "audio is billed in steps of, seconds": audio.get("round_up_seconds"),
        "audio is billed for at least, seconds": audio.get("minimum_seconds"),
    }
    return {
        "model": f"{found.provider}/{found.model}",
        "layer": found.layer,
        "found by": found.rule,
        "source": found.card.get("source", ""),
        "date": found.card.get("date", ""),
        "card": card_id(found.card),
        "longest answer, tokens": found.card.get("max_output_tokens", "not known"),
        **{name: seconds for name, seconds in lengths.items() if seconds},
    }


def _rows(card: Card) -> Iterator[dict[str, Any]]:
    for place, price in figures(card):
        yield {"price": _named(place, card), "usd": _plain(price), "unit": _unit(place)}


def _named(place: str, card: Card) -> str:
    """The place of a price, with windows and tiers by what they are."""
    name = place
    for number, window in enumerate(card.get("time_windows", ())):
        times = ", ".join(f"{item['start']}-{item['end']}" for item in window.get("ranges", ()))
        when = " ".join(part for part in (window["name"], times, window.get("timezone", "UTC")) if part)
        name = name.replace(f"time_windows[{number}].overlay.", f"[{when}] ")
    for number, tier in enumerate(card.get("tiers", ())):
        name = name.replace(f"tiers[{number}].", f"[from {tier['input_tokens_from']} input tokens] ")
    return name.removesuffix(".usd_per_call").replace("_usd_per_mtok", "")


def _unit(place: str) -> str:
    for part in reversed(place.split(".")):
        for ending, unit in UNITS.items():
            if part.endswith(ending):
                return unit
    return "USD"


def _plain(price: Fraction) -> str:
    return text(from_fraction(price))


async def list_missing(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    prices = LivePrices(shipped_table(), policy=settings.price_policy())
    prices.take(await store.options.all())
    table = RoutingTable(store.channel_table.snapshot(), group_ratios={}, prices=prices.book)
    rows = [{"model": model, "channels": ", ".join(names)} for model, names in table.without_price().items()]
    print_rows(rows, as_json=args.json, nothing="every model of the enabled channels has a price")


async def import_file(args: argparse.Namespace, store: Store, settings: Settings) -> None:
    if args.provider and not args.for_all:
        raise Misused("--provider goes with --global: a channel has its provider")
    check_provider(args.provider)
    given = read_cards(args.file)
    cards = _wanted({model: card for model, card in given.items() if card}, args.models)
    if not cards:
        raise CommandFailed(
            f'{str(args.file)!r} has no price: an entry is such as "gpt-4o": {{"input_usd_per_mtok": 2.5, '
            '"output_usd_per_mtok": 10}'
        )
    if args.channel:
        target = await _import_to_channel(args, store, cards)
    else:
        target = await _import_for_all(args, store, cards)
    done = "would be taken over" if args.dry_run else "taken over"
    print(f"{len(cards)} price cards {done} for {target}")
    left_out = [] if args.models else [model for model, card in given.items() if not card]
    if left_out:
        named = ", ".join([*left_out[:MAX_NAMED], *(["..."] if len(left_out) > MAX_NAMED else [])])
        print(f"{len(left_out)} without a price left out: {named}")


async def _import_to_channel(args: argparse.Namespace, store: Store, cards: Mapping[str, Any]) -> str:
    channel = await find_channel(store, args.channel)
    text = channel.model_configs or ""
    known = orjson.loads(text) if text.strip() else {}
    merged = orjson.dumps({**known, **cards}).decode()
    try:
        check_json("model_configs", merged)
    except Refusal as refusal:
        raise CommandFailed(refusal.message) from None
    if not args.dry_run:
        await store.channels.update(channel.uuid, {"model_configs": merged})
    return f"channel {channel.name!r}"


async def _import_for_all(args: argparse.Namespace, store: Store, cards: Mapping[str, Any]) -> str:
    known = orjson.loads((await store.options.all()).get(OPTION) or "{}")
    if args.provider:
        models = known.setdefault("providers", {}).setdefault(args.provider, {})
    else:
        models = known.setdefault("models", {})
    models.update(cards)
    merged = orjson.dumps(known).decode()
    try:
        PriceBook(shipped_table(), decode_overrides(merged))
    except ValueError as exc:
        raise CommandFailed(str(exc)) from None
    if not args.dry_run:
        await store.options.set(OPTION, merged)
    return f"all channels of {args.provider}" if args.provider else "all channels"


def read_cards(path: Path) -> dict[str, dict[str, Any]]:
    """Cards by model, whichever of the three formats the file has; empty where there is no price. Raises
    `CommandFailed` saying what is wrong. LiteLLM's rows for images of one size are in the cards of their models."""
    try:
        given = orjson.loads(path.read_bytes())
    except OSError as exc:
        raise CommandFailed(f"cannot read {str(path)!r}: {exc.strerror}") from None
    except orjson.JSONDecodeError as exc:
        raise CommandFailed(f"{str(path)!r} is not JSON: {exc}") from None
    if not isinstance(given, dict) or not all(isinstance(entry, dict) for entry in given.values()):
        raise CommandFailed(f"{str(path)!r} must hold an object of price cards by model name")
    try:
        cards = {model: _decoded(model, entry) for model, entry in _entries(given).items()}
    except ValueError as exc:
        raise CommandFailed(f"{str(path)!r}: {exc}") from None
    priced = {model: {"source": path.name, **card} for model, card in cards.items() if has_prices(card)}
    return {**{model: {} for model in given if model not in priced and "-x-" not in model}, **priced}


def _entries(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return litellm.cards(given) if litellm.speaks(given) else given


def _decoded(model: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if not model.strip():
        raise ValueError("a price card is of a model: write its name before the card")
    try:
        return decode_card(entry)
    except ValueError as exc:
        raise ValueError(f"{model}: {exc}") from None


def _wanted(cards: dict[str, dict[str, Any]], models: str) -> dict[str, dict[str, Any]]:
    names = [name for part in models.split(",") if (name := part.strip())]
    unknown = [name for name in names if name not in cards]
    if unknown:
        raise CommandFailed(f"the file has no price of {', '.join(unknown)}")
    return {name: cards[name] for name in names} if names else cards
