"""The rules of a model, by its name as the upstream knows it.

The families are loaded when a model is first asked for: whoever only may have to ask is imported quickly.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, lru_cache
from importlib import import_module

from oneapi_mw.models.family import Entry, Family
from oneapi_mw.models.names import forms_of
from oneapi_mw.models.rules import UNKNOWN, ModelRules

_MODULES = ("openai", "claude", "gemini", "others")
"""Beside this one; each has `FAMILIES`."""


@cache
def families() -> tuple[Family, ...]:
    """All families; a name that two of them might claim belongs to the first."""
    return tuple(family for name in _MODULES for family in import_module(f"oneapi_mw.models.{name}").FAMILIES)


@cache
def _exact() -> dict[str, Entry]:
    return {entry.pattern: entry for family in families() for entry in family.entries if "*" not in entry.pattern}


@cache
def _wild() -> tuple[tuple[re.Pattern[str], Entry], ...]:
    entries = (entry for family in families() for entry in family.entries if "*" in entry.pattern)
    return tuple((re.compile(re.escape(entry.pattern).replace(r"\*", ".*")), entry) for entry in entries)


@lru_cache(maxsize=4096)
def rules_of(model: str) -> ModelRules:
    """What `model` takes and refuses; `UNKNOWN` when neither the name nor its family is known.

    The most specific pattern wins. A name newer than the catalogue inherits from its family, with its own version.
    """
    forms = forms_of(model)
    listed = _listed(forms)
    if listed is not None:
        return listed
    for family in families():
        place = family.place(forms[0])
        if place is not None:
            rules = family.newest(place)
            return UNKNOWN if rules is None else replace(rules, version=place.version or rules.version)
    return UNKNOWN


def _listed(forms: tuple[str, ...]) -> ModelRules | None:
    exact = _exact()
    found = [exact[form] for form in forms if form in exact]
    found += [entry for form in forms for pattern, entry in _wild() if pattern.fullmatch(form)]
    return max(found, key=lambda entry: entry.literal).rules if found else None
