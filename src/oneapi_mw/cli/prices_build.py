"""`oneapi-mw prices build` and `prices diff`: the shipped table from `genai-prices` and our supplement."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from oneapi_mw.cli.arguments import add_command, add_json
from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.cli.output import print_rows
from oneapi_mw.pricing.build import JUMP, build_table, differences, jumps
from oneapi_mw.pricing.figures import from_fraction, text
from oneapi_mw.pricing.shipped import FILE, read_shipped
from oneapi_mw.pricing.table import PriceTable

if TYPE_CHECKING:
    from oneapi_mw.cli.arguments import Commands

EXTRA = "this needs the package genai-prices: install it with: pip install 'oneapi-mw[prices]'"
LAST = "own.json"
"""The supplement that has the last word."""


def add_commands(commands: Commands) -> None:
    build = add_command(
        commands,
        "build",
        "Make the table of shipped prices anew.",
        build_file,
        examples="""
        oneapi-mw prices build --output prices.json
        oneapi-mw prices build --accept-jumps
        """,
    )
    build.add_argument("--output", type=Path, metavar="FILE", help="instead of the table in the package")
    build.add_argument("--today", type=_day, metavar="DATE", help="which prices are in force by now")
    build.add_argument(
        "--accept-jumps", action="store_true", help=f"also when prices changed by more than a factor of {JUMP}"
    )

    diff = add_command(
        commands,
        "diff",
        "Show what would change if the table was built now.",
        show_differences,
        examples="oneapi-mw prices diff",
    )
    add_json(diff)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"write a day such as 2026-11-27, not {text!r}") from None


def build_file(args: argparse.Namespace) -> int:
    made = build_now(args.today)
    target = args.output or _shipped_path()
    suspects = [row for row in _rows(made) if row["jump"]]
    if suspects and not args.accept_jumps:
        shown = "; ".join(f"{r['model']} {r['price']}: {r['before']} -> {r['after']}" for r in suspects[:20])
        raise CommandFailed(
            f"{len(suspects)} prices changed by more than a factor of {JUMP}: check them against their source, then "
            f"add --accept-jumps: {shown}"
        )
    try:
        target.write_bytes(dump(made))
    except OSError as exc:
        raise CommandFailed(f"cannot write {str(target)!r}: {exc.strerror}") from None
    count = sum(len(section["models"]) for section in made["providers"].values())
    print(f"{count} price cards of {len(made['providers'])} providers written to {target}")
    return 0


def show_differences(args: argparse.Namespace) -> int:
    rows = _rows(build_now(None))
    print_rows(rows, as_json=args.json, nothing="the shipped prices are those of genai-prices and our supplement")
    return 0


def build_now(today: date | None) -> dict[str, Any]:
    """The table as it would be built now. Raises `CommandFailed` without the package."""
    try:
        import genai_prices
        from genai_prices.data import providers
    except ModuleNotFoundError as exc:
        raise CommandFailed(EXTRA) from exc
    now = today or date.fromisoformat(time.strftime("%Y-%m-%d", time.gmtime()))
    return build_table(providers, read_supplements(), version=genai_prices.__version__, today=now)


def read_supplements() -> list[dict[str, Any]]:
    """Our additions, the ones with the last word last."""
    folder = resources.files("oneapi_mw").joinpath("pricing", "supplement")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return [orjson.loads(file.read_bytes()) for file in sorted(files, key=lambda file: file.name == LAST)]


def dump(table: Mapping[str, Any]) -> bytes:
    """A line per model, so that a change of prices is a change of lines."""
    head = {key: value for key, value in table.items() if key != "providers"}
    lines = [orjson.dumps(head)[:-1] + b',"providers":{']
    sections = []
    for provider, section in table["providers"].items():
        rest = {key: value for key, value in section.items() if key != "models"}
        rows = [orjson.dumps(name) + b":" + orjson.dumps(row) for name, row in section["models"].items()]
        tail = orjson.dumps(rest)[1:]
        sections.append(orjson.dumps(provider) + b':{"models":{\n' + b",\n".join(rows) + b"\n}," + tail)
    return b"\n".join([*lines, b",\n".join(sections), b"}}\n"])


def _rows(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        shipped = PriceTable(read_shipped())
    except FileNotFoundError:
        return []
    return [
        {
            "model": f"{provider}/{model}",
            "price": price,
            "before": _plain(before),
            "after": _plain(after),
            "jump": f"more than {JUMP}x" if jumps(before, after) else "",
        }
        for provider, model, price, before, after in differences(shipped, PriceTable(made))
    ]


def _plain(price: Fraction | None) -> str:
    return "none" if price is None else text(from_fraction(price))


def _shipped_path() -> Path:
    return Path(str(resources.files("oneapi_mw").joinpath("data", FILE)))
