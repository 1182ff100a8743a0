"""A table of price cards by provider and model, as `data/prices.json` holds it.

    {"version": 1, "generated": "2026-11-27", "notice": ..., "sources": [address, ...],
     "providers": {provider: {"models": {model: row}, "match": [[model, rule], ...], "tools": {kind: price}}}}

A row is a card with `_usd_per_mtok` left out of its keys and `at` for its source and date: `[place in sources, date]`.
The tools of a provider are those of each of its models that is charged by tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oneapi_mw.immutable import immutable
from oneapi_mw.pricing.card import Card, prices_tokens
from oneapi_mw.pricing.figures import PART_TOKENS, PER_MTOK, TEXT_TOKENS
from oneapi_mw.pricing.names import aliases, fits, spellings
from oneapi_mw.pricing.searches import prices_over

VERSION = 1
_SHORT = {kind: kind + PER_MTOK for kind in (*TEXT_TOKENS, *PART_TOKENS)}
_LONG = {long: short for short, long in _SHORT.items()}

GLOBAL_ORDER = (
    "openai",
    "anthropic",
    "gemini",
    "deepseek",
    "moonshot",
    "zhipu",
    "minimax",
    "mistral",
    "cohere",
    "xai",
    "perplexity",
    "ali",
    "doubao",
    "baidu",
    "tencent",
    "xunfei",
    "stepfun",
    "baichuan",
    "lingyiwanwu",
    "voyage",
    "jina",
    "elevenlabs",
    "groq",
)
"""Whose prices hold for a model on a channel of somebody else, first come first served: those who make models before
those who also sell other people's, and who only resells is not among them."""

_SECTIONS = {
    "vertexai": "gemini",
    "vertextai": "gemini",
    "geminiopenaicompatible": "gemini",
    "palm": "gemini",
    "google": "gemini",
    "baiduv2": "baidu",
    "xunfeiv2": "xunfei",
    "alibailian": "ali",
    "dashscope": "ali",
    "awsclaude": "aws",
    "awsbedrock": "aws",
    "bedrock": "aws",
    "togetherai": "together",
    "grok": "xai",
    "lingyi": "lingyiwanwu",
    "volcengine": "doubao",
}
_NOT_A_LETTER = re.compile(r"[^a-z0-9]")


def section_of(provider: str) -> str:
    """The name under which a table has the prices of a provider of the catalogue."""
    plain = _NOT_A_LETTER.sub("", provider.lower())
    return _SECTIONS.get(plain, plain)


@immutable
class Found:
    """A card, who has it and how the name led to it."""

    card: Card
    layer: str
    """`provider`, or `global` for the card of somebody else."""
    rule: str
    provider: str
    model: str


class PriceTable:
    """Looks cards up. Raises `ValueError` for a table of another version."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        if data.get("version") != VERSION:
            raise ValueError(
                f"this is no price table of version {VERSION}: build it anew with 'oneapi-mw prices build'"
            )
        self._providers: Mapping[str, Any] = data["providers"]
        self._sources: Sequence[str] = data.get("sources", ())
        self._names: dict[str, Mapping[str, str]] = {}
        self.generated: str = data.get("generated", "")
        self.notice: str = data.get("notice", "")

    def providers(self) -> Sequence[str]:
        return tuple(self._providers)

    def provider_cards(self, provider: str) -> Iterator[tuple[str, Card]]:
        """(model, card) of one provider."""
        section = self._providers.get(section_of(provider), {"models": {}})
        for model, row in section["models"].items():
            yield model, self._card(row, section)

    def cards(self) -> Iterator[tuple[str, str, Card]]:
        """(provider, model, card) of the whole table."""
        for provider in self._providers:
            for model, card in self.provider_cards(provider):
                yield provider, model, card

    def find(self, model: str, provider: str) -> Found | None:
        """The card of `model` at `provider`, else at whoever is first in `GLOBAL_ORDER`."""
        own = section_of(provider)
        found = self._within(own, model, "provider")
        for other in GLOBAL_ORDER if found is None else ():
            if other != own:
                found = self._within(other, model, "global", rules=False)
                if found is not None:
                    break
        for other in GLOBAL_ORDER if found is None else ():
            if other != own:
                found = self._within(other, model, "global")
                if found is not None:
                    break
        return found

    def _within(self, provider: str, model: str, layer: str, *, rules: bool = True) -> Found | None:
        section = self._providers.get(provider)
        if section is None:
            return None
        rows, names, tried = section["models"], self._names_of(provider), list(spellings(model))
        for spelling, name in tried:
            row = name if name in rows else names.get(name)
            if row is not None:
                rule = spelling if row.lower() == name.lower() else "alias"
                return Found(self._card(rows[row], section), layer, rule, provider, row)
        if rules:
            for row, clause in section.get("match", ()):
                if any(fits(clause, name) for _, name in tried):
                    return Found(self._card(rows[row], section), layer, "matcher", provider, row)
        return None

    def _names_of(self, provider: str) -> Mapping[str, str]:
        """The rows of a provider by all whole names of theirs, in lower case."""
        names = self._names.get(provider)
        if names is None:
            section = self._providers[provider]
            names = {alias: row for row, clause in section.get("match", ()) for alias in aliases(clause)}
            names.update({row.lower(): row for row in section["models"]})
            self._names[provider] = names
        return names

    def _card(self, row: Mapping[str, Any], section: Mapping[str, Any]) -> Card:
        card = lengthened(row)
        at = card.pop("at", None)
        if at is not None:
            card["source"], card["date"] = self._sources[at[0]], at[1]
        if section.get("tools") and prices_tokens(card):
            card["tools"] = prices_over(section["tools"], card.get("tools", {}))
        return card


def lengthened(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the keys of a card."""
    return _renamed(row, _SHORT)


def long_key(key: str) -> str:
    """The key of a card for one of a row."""
    return _SHORT.get(key, key)


def shortened(card: Card) -> dict[str, Any]:
    """A card with the keys of a row."""
    return _renamed(card, _LONG)


def _renamed(card: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in card.items():
        if key == "tiers":
            value = [_renamed(tier, names) for tier in value]
        elif key == "time_windows":
            value = [{**window, "overlay": _renamed(window["overlay"], names)} for window in value]
        elif key == "variants":
            value = {name: _renamed(overlay, names) for name, overlay in value.items()}
        renamed[names.get(key, key)] = value
    return renamed


EMPTY = PriceTable({"version": VERSION, "providers": {}})
