"""Making the price table: models of `genai-prices`, and our supplement on top of them field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from oneapi_mw.pricing.card import Card, decode_card, has_prices
from oneapi_mw.pricing.compile import compile_card
from oneapi_mw.pricing.figures import PER_MTOK, TOKEN_KEYS, from_fraction, text
from oneapi_mw.pricing.genai import card_of, overlaid, rule_of
from oneapi_mw.pricing.table import VERSION, PriceTable, lengthened, long_key, shortened

PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "aws": "aws",
    "azure": "azure",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "fireworks": "fireworks",
    "github-copilot": "copilot",
    "google": "gemini",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "voyageai": "voyage",
    "x-ai": "xai",
    "zai": "zai",
    "zhipuai": "zhipu",
}
"""Their providers that channels exist for, and the names of ours."""

JUMP = 2
"""A price that changes by more than this factor wants somebody's eyes."""
NOTICE = (
    "Prices of models. Those whose source is a page of a provider by way of genai-prices: MIT licence, Copyright (c) "
    "2025 Pydantic Services Inc., https://github.com/pydantic/genai-prices. Those by way of LiteLLM's cost map: MIT "
    "licence, Copyright (c) 2023 Berri AI, https://github.com/BerriAI/litellm. Figures are given without warranty: "
    "the provider's own page decides."
)


def build_table(
    providers: Iterable[Any], supplements: Sequence[Mapping[str, Any]], *, version: str, today: date
) -> dict[str, Any]:
    """The content of `prices.json`.

    Args:
        providers: of `genai_prices.data`.
        supplements: content of the files in `pricing/supplement`.
        version: of `genai-prices`.

    Raises: `ValueError` when a card or a supplement is malformed.
    """
    sections: dict[str, dict[str, Any]] = {}
    for provider in providers:
        if provider.id in PROVIDERS:
            section = sections.setdefault(PROVIDERS[provider.id], {"models": {}, "match": []})
            _add_provider(section, provider, f"genai-prices {version}", today)
    for supplement in supplements:
        _add_supplement(sections, supplement)
    return _packed(sections, version=version, today=today)


def _add_provider(section: dict[str, Any], provider: Any, origin: str, today: date) -> None:
    models = section["models"]
    page = provider.pricing_urls[0] if provider.pricing_urls else "https://github.com/pydantic/genai-prices"
    for model in provider.models:
        card = card_of(model, today=today)
        if card is None or not has_prices(card) or model.id in models:
            continue
        checked = model.prices_checked if getattr(model, "prices_checked", None) else today
        card = _with_cache_writes(card, model.id, storage_only=provider.id in _TELLS_STORAGE_ONLY)
        models[model.id] = {**card, "source": f"{page} ({origin})", "date": checked.isoformat()}
        rule = rule_of(model.match)
        if rule != ["=", model.id]:
            section["match"].append([model.id, _without(rule, model.id)])


_INPUT, _WRITE_5M, _WRITE_1H = (kind + PER_MTOK for kind in ("input", "cache_write_5m", "cache_write_1h"))
_TELLS_STORAGE_ONLY = frozenset({"openrouter"})
"""Who lists five minutes of storage for what Gemini models write to a cache, and charges the input price on top:
https://openrouter.ai/docs/features/prompt-caching"""


def _with_cache_writes(card: dict[str, Any], model: str, *, storage_only: bool) -> dict[str, Any]:
    """`card` with what writing to a cache costs in full, its tiers and services included."""
    completed = dict(card)
    if storage_only and "google/" in model:
        _add_input_price(completed, card, {})
    if "claude" in model:
        _add_hour_writes(completed)
    return completed


def _add_input_price(whole: dict[str, Any], card: Mapping[str, Any], above: Mapping[str, Any]) -> None:
    storage, usual = (Fraction(card.get(key, above.get(key, "0"))) for key in (_WRITE_5M, _INPUT))
    if 0 < storage < usual:
        whole[_WRITE_5M] = text(from_fraction(storage + usual))
    if "tiers" in card:
        whole["tiers"] = [dict(tier) for tier in card["tiers"]]
        for tier, given in zip(whole["tiers"], card["tiers"], strict=True):
            _add_input_price(tier, given, card)


def _add_hour_writes(card: dict[str, Any]) -> None:
    """Whoever serves Claude charges a quarter more than for input for five minutes, and twice as much for an hour:
    https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""
    if _WRITE_5M in card and _WRITE_1H not in card and Fraction(card[_WRITE_5M]) > Fraction(card[_INPUT]):
        card[_WRITE_1H] = text(from_fraction(Fraction(card[_INPUT]) * 2))
    for tier in card.get("tiers", ()):
        _add_hour_writes(tier)


def _without(rule: Any, name: str) -> Any:
    """A rule without the name of the model itself, which is found before any rule is asked."""
    kind, what = rule
    if kind != "|":
        return rule
    kept = [part for part in what if part != ["=", name]]
    return kept[0] if len(kept) == 1 else ["|", kept]


def _add_supplement(sections: dict[str, dict[str, Any]], supplement: Mapping[str, Any]) -> None:
    for provider, given in supplement["providers"].items():
        section = sections.setdefault(provider, {"models": {}, "match": []})
        about = {"source": given.get("source") or supplement["source"], "date": given.get("date") or supplement["date"]}
        rate = _rate(supplement, given.get("currency", "USD"))
        _remove(section, [model for model, row in given.get("models", {}).items() if row is None])
        _remove_rules(section, given.get("no_match", ()))
        spelled = {model.lower(): model for model in section["models"]}
        for name, row in given.get("models", {}).items():
            if row is None:
                continue
            model = spelled.get(name.lower(), name)
            gone = {long_key(key) for key, value in row.items() if value is None}
            card = _converted(lengthened({key: value for key, value in row.items() if value is not None}), rate)
            decoded = decode_card(card, bounded=False)
            below = {key: value for key, value in section["models"].get(model, {}).items() if key not in gone}
            section["models"][model] = overlaid(below, {**about, **decoded} if has_prices(decoded) else decoded)
        for model, limit in given.get("limits", {}).items():
            if model in section["models"]:
                section["models"][model].setdefault("max_output_tokens", limit)
        section["match"] += given.get("match", ())
        if given.get("tools"):
            tools = decode_card(_converted({"tools": given["tools"]}, rate))["tools"]
            section["tools"] = {**section.get("tools", {}), **tools}


def _remove(section: dict[str, Any], models: Sequence[str]) -> None:
    """Take out models that the provider does not sell under that name."""
    for model in models:
        section["models"].pop(model, None)
    _remove_rules(section, models)


def _remove_rules(section: dict[str, Any], models: Sequence[str]) -> None:
    section["match"] = [item for item in section["match"] if item[0] not in models]


def _rate(supplement: Mapping[str, Any], currency: str) -> Fraction:
    """US dollars for one of `currency`."""
    return Fraction(1) if currency == "USD" else 1 / Fraction(supplement["per_usd"][currency]["rate"])


def _converted(card: dict[str, Any], rate: Fraction) -> dict[str, Any]:
    """`card` with its figures in US dollars."""
    if rate == 1:
        return card
    converted: dict[str, Any] = {}
    for key, value in card.items():
        if isinstance(value, dict):
            converted[key] = _converted(value, rate)
        elif isinstance(value, list):
            converted[key] = [_converted(item, rate) if isinstance(item, dict) else item for item in value]
        elif key in TOKEN_KEYS or "usd" in key:
            converted[key] = text(from_fraction(Fraction(str(value)) * rate))
        else:
            converted[key] = value
    return converted


def _packed(sections: Mapping[str, Any], *, version: str, today: date) -> dict[str, Any]:
    sources: dict[str, int] = {}
    packed: dict[str, Any] = {}
    for provider in sorted(sections):
        section = sections[provider]
        models = {}
        for model in sorted(section["models"]):
            card = section["models"][model]
            if not has_prices(card):
                continue
            card = dict(card)
            at = [sources.setdefault(card.pop("source"), len(sources)), card.pop("date")]
            compile_card(card, layer="")
            models[model] = {**shortened(card), "at": at}
        match = [[model, rule] for model, rule in section["match"] if model in models and rule != ["|", []]]
        packed[provider] = {
            "models": models,
            "match": [item for item in match if _adds(item, models)],
            "tools": section.get("tools", {}),
        }
    return {
        "version": VERSION,
        "generated": today.isoformat(),
        "genai_prices": version,
        "notice": NOTICE,
        "sources": list(sources),
        "providers": packed,
    }


def _adds(item: list[Any], models: Mapping[str, Any]) -> bool:
    """Whether a rule names anything that is no model of its own."""
    kind, what = item[1]
    return not (kind == "=" and what in models)


def figures(card: Card, *, within: str = "") -> Iterator[tuple[str, Fraction]]:
    """Every price on a card, by its place: `tiers[0].input_usd_per_mtok`."""
    for key, value in card.items():
        place = f"{within}{key}"
        if isinstance(value, Mapping):
            yield from figures(value, within=place + ".")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from figures(item, within=f"{place}[{number}].")
        elif (key in TOKEN_KEYS or "usd" in place) and isinstance(value, str):
            yield place, Fraction(value)


def differences(old: PriceTable, new: PriceTable) -> Iterator[tuple[str, str, str, Fraction | None, Fraction | None]]:
    """(provider, model, price, before, after) of every price that is not the same in both tables; `None` is none."""
    before = {(provider, model): dict(figures(card)) for provider, model, card in old.cards()}
    after = {(provider, model): dict(figures(card)) for provider, model, card in new.cards()}
    for where in sorted(before.keys() | after.keys()):
        was, now = before.get(where, {}), after.get(where, {})
        for price in sorted(was.keys() | now.keys()):
            if was.get(price) != now.get(price):
                yield (*where, price, was.get(price), now.get(price))


def jumps(before: Fraction | None, after: Fraction | None) -> bool:
    """Whether a price that there was changed by more than `JUMP`, became free, or ceased to be."""
    if before is None or before == after:
        return False
    if after is None or not before or not after:
        return True
    return max(before, after) / min(before, after) > JUMP
