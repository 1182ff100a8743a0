"""The price table in the package."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import orjson

from oneapi_mw.pricing.table import PriceTable

FILE = "prices.json"


def read_shipped() -> dict[str, Any]:
    """The table's JSON, read anew."""
    data: dict[str, Any] = orjson.loads(resources.files("oneapi_mw").joinpath("data", FILE).read_bytes())
    return data


@cache
def shipped_table() -> PriceTable:
    """The table, read once when it is first asked for: some milliseconds."""
    return PriceTable(read_shipped())
