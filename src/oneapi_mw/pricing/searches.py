"""Searches of the web: one kind of tool, which some vendors price apart by its age or by the engine that answers.

| declared as                                           | priced as            |
|-------------------------------------------------------|----------------------|
| `web_search_preview`, dated or not (OpenAI)           | `web_search_preview` |
| a search that names its engine (Zhipu)                | `search_pro` etc.    |
| any other                                             | `web_search`         |

Where a card has no price of the one, that of `web_search` holds; where it has none either, that of the dearest search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

SEARCH = "web_search"
PREVIEW = "web_search_preview"
_ENGINES = frozenset({"search_std", "search_pro", "search_pro_sogou", "search_pro_quark"})
"""Of Zhipu. What a client names besides is none of them: it must not have a search priced as something cheaper."""
_SEARCHES = _ENGINES | {SEARCH, PREVIEW}

Price = TypeVar("Price")


def is_search(kind: str) -> bool:
    """Whether a kind is `web_search`, or one that a card may price apart from it."""
    return kind in _SEARCHES


def priced_apart(name: str, tool: Mapping[str, Any]) -> str:
    """What a declared search is priced as, beside `web_search`; empty for nothing.

    Args:
        name: its type, in lower case with underscores.
        tool: the whole declaration.
    """
    if name.startswith(PREVIEW):
        return PREVIEW
    options = tool.get(SEARCH)
    engine = options.get("search_engine") if isinstance(options, Mapping) else None
    return engine if isinstance(engine, str) and engine in _ENGINES else ""


def price_of(kind: str, prices: Mapping[str, int]) -> int | None:
    """What a call of a tool, a search or not, costs by `prices`; `None` when these do not say."""
    each = prices.get(kind)
    if each is None and is_search(kind):
        each = prices.get(SEARCH)
        if each is None:
            each = max((price for other, price in prices.items() if is_search(other)), default=None)
    return each


def prices_over(below: Mapping[str, Price], own: Mapping[str, Price]) -> dict[str, Price]:
    """Prices of tools of one layer over those of the next lower one: what it asks for `web_search` it asks for every
    search, unless it prices that apart itself."""
    kept = {kind: price for kind, price in below.items() if SEARCH not in own or not is_search(kind)}
    return {**kept, **own}
