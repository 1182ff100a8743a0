"""`oneapi-mw prices`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from oneapi_mw.cli import prices_build
from oneapi_mw.pricing.shipped import read_shipped
from tests.cli.conftest import Shell


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        ("gpt-4o", {"input": "2.5", "output": "10", "cache_read": "1.25", "tools.web_search": "0.01"}),
        ("claude-sonnet-4-5", {"cache_write_5m": "3.75", "cache_write_1h": "6", "cache_read": "0.3"}),
        ("gemini-2.5-pro", {"input": "1.25", "[from 200001 input tokens] input": "2.5", "tools.web_search": "0.035"}),
        ("deepseek-v4-flash", {"input": "0.15", "[peak 01:00-04:00, 06:00-10:00 UTC] input": "0.3"}),
        ("dall-e-3", {"image.usd_per_image.hd.1024x1792": "0.12"}),
        ("tts-1", {"usd_per_mchar": "15"}),
        ("sonar-pro", {"input": "3", "usd_per_krequest": "14"}),
    ],
)
def test_show(shell: Shell, model: str, rows: dict[str, str]) -> None:
    shown = shell.json("prices", "show", model)
    assert shown["source"].startswith("https://")
    assert len(shown["date"]) == 10
    assert rows.items() <= {row["price"]: row["usd"] for row in shown["prices"]}.items()
    assert all(row["unit"].startswith("USD per ") for row in shown["prices"])
    text = shell.ok("prices", "show", model)
    assert f"source: {shown['source']}" in text
    assert next(iter(rows)) in text


def test_show_how_audio_is_measured(shell: Shell) -> None:
    assert "audio is billed in steps of, seconds: 1" in shell.ok("prices", "show", "whisper-1")


def test_show_what_another_provider_asks(shell: Shell) -> None:
    shown = shell.json("prices", "show", "Anthropic.Claude-Sonnet-4-5-20250929-v1:0", "--provider", "aws")
    assert (shown["layer"], shown["model"].split("/")[0]) == ("provider", "aws")
    found = [shell.json("prices", "show", name)["found by"] for name in ("gpt-4o-2024-11-20", "gpt-4o-2025-11-20")]
    assert found == ["alias", "date"]
    assert "prices import" in shell.refused("prices", "show", "nobody-knows-this")


def channel(shell: Shell, models: str = "gpt-4o,mine") -> None:
    shell.ok("channel", "create", "main", "--type", "openai", "--models", models, "--key", "k")


def test_missing(shell: Shell) -> None:
    channel(shell)
    assert shell.json("prices", "missing") == [{"model": "mine", "channels": "main"}]
    assert "mine" in shell.ok("prices", "missing")


FILES: dict[str, tuple[dict[str, Any], str]] = {
    "ours": ({"mine": {"input_usd_per_mtok": 3}}, "3"),
    "one-api": ({"mine": {"ratio": 1.5}}, "3"),
    "litellm": ({"mine": {"litellm_provider": "x", "input_cost_per_token": 3e-06}, "sample_spec": {}}, "3"),
}


@pytest.mark.parametrize("name", FILES)
def test_import_to_a_channel(shell: Shell, tmp_path: Path, name: str) -> None:
    channel(shell)
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(FILES[name][0]))
    assert "would be" in shell.ok("prices", "import", str(file), "--channel", "main", "--dry-run")
    assert shell.json("prices", "missing")
    assert shell.ok("prices", "import", str(file), "--channel", "main").startswith("1 price cards taken over")
    assert shell.json("prices", "missing") == []
    with sqlite3.connect("one-api.db") as database:
        (configs,) = database.execute("SELECT model_configs FROM channels").fetchone()
    database.close()
    stored = json.loads(configs)["mine"]
    assert (stored["source"], stored["input_usd_per_mtok"]) == (f"{name}.json", FILES[name][1])


def test_import_for_all_channels(shell: Shell, tmp_path: Path) -> None:
    channel(shell)
    file = tmp_path / "cards.json"
    file.write_text(json.dumps({"mine": {"ratio": 1}, "other": {"ratio": 2}}))
    shell.ok("prices", "import", str(file), "--global", "--provider", "anthropic")
    assert shell.json("prices", "missing")
    shell.ok("prices", "import", str(file), "--global", "--models", "mine")
    assert shell.json("prices", "missing") == []
    with sqlite3.connect("one-api.db") as database:
        (text,) = database.execute("SELECT value FROM options WHERE key = 'PriceOverrides'").fetchone()
    database.close()
    stored = json.loads(text)
    assert (sorted(stored["models"]), sorted(stored["providers"]["anthropic"])) == (["mine"], ["mine", "other"])


LITELLM = '{"a": {"litellm_provider": "x", "mode": "chat", %s}}'


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("{", ["--global"], "is not JSON"),
        ("[]", ["--global"], "price cards by model name"),
        ('{"a": {"ratio": -1}}', ["--global"], "a: 'ratio' must not be negative"),
        ('{"a": {"output_usd_per_mtok": 1}}', ["--global"], "input price"),
        ('{"a": {"output_usd_per_mtok": 1}}', ["--channel", "main"], "input price"),
        ('{"a": {"ratio": 1}}', ["--global", "--models", "b"], "no price of b"),
        ('{"a": {"ratio": 1}}', ["--channel", "nobody"], "no channel 'nobody'"),
        ('{"a": {"ratio": 1}}', ["--global", "--provider", "nobody"], "no provider is called 'nobody': write one of"),
        ('{" ": {"ratio": 1}}', ["--global"], "is of a model: write its name"),
        (LITELLM % '"input_cost_per_token": "x"', ["--global"], "a: 'input_cost_per_token' must be a number"),
        (LITELLM % '"tiered_pricing": [3]', ["--global"], "a: tiered_pricing must be a list such as"),
        (LITELLM % '"tiered_pricing": [{"range": "x"}]', ["--global"], "a: tiered_pricing must be a list such as"),
        (LITELLM % '"tiered_pricing": [{"range": []}]', ["--global"], "a: tiered_pricing must be a list such as"),
        (LITELLM % '"input_cost_per_token": -1', ["--global"], "a: 'input_usd_per_mtok' must not be negative"),
        ("{}", ["--global"], "has no price: an entry is such as"),
        ('{"a": {"price": 3}}', ["--global"], "has no price: an entry is such as"),
        ('{"a": {"litellm_provider": "x"}}', ["--global"], "has no price: an entry is such as"),
        ('{"a": {"ratio": 1}, "b": {"price": 3}}', ["--global", "--models", "b"], "no price of b"),
    ],
)
def test_what_cannot_be_imported(shell: Shell, tmp_path: Path, content: str, words: list[str], message: str) -> None:
    channel(shell)
    file = tmp_path / "cards.json"
    file.write_text(content)
    assert message in shell.refused("prices", "import", str(file), *words)


def test_entries_without_a_price_are_named(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "cards.json"
    file.write_text(json.dumps({"mine": {"ratio": 1}, **{f"odd-{number}": {"price": 1} for number in range(11)}}))
    told = shell.ok("prices", "import", str(file), "--global")
    assert told.splitlines()[0] == "1 price cards taken over for all channels"
    assert "11 without a price left out: odd-0, odd-1," in told
    assert told.rstrip().endswith("odd-9, ...")
    assert "left out" not in shell.ok("prices", "import", str(file), "--global", "--models", "mine")


def test_a_provider_that_is_none(shell: Shell) -> None:
    assert "no provider is called 'opnai'" in shell.refused("prices", "show", "gpt-4o", "--provider", "opnai")
    assert shell.json("prices", "show", "gpt-4o", "--provider", "OpenAI")["layer"] == "provider"
    assert "such as 2026-11-27" in shell.refused("prices", "build", "--today", "tomorrow", code=2)


def test_import_misused(shell: Shell, tmp_path: Path) -> None:
    assert "cannot read" in shell.refused("prices", "import", str(tmp_path / "none.json"), "--global")
    words = ["prices", "import", "x", "--channel", "c", "--provider", "p"]
    assert "--provider goes with --global" in shell.refused(*words, code=2)


def shipped_with(model: str, **changes: str) -> dict[str, Any]:
    table = read_shipped()
    table["providers"]["openai"]["models"][model].update(changes)
    return table


def test_build_and_diff(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "prices.json"
    monkeypatch.setattr(prices_build, "build_now", lambda today: shipped_with("gpt-4o", input="3"))
    (row,) = shell.json("prices", "diff")
    assert row == {
        "model": "openai/gpt-4o", "price": "input_usd_per_mtok", "before": "2.5", "after": "3", "jump": "",
    }  # fmt: skip
    assert "price cards of" in shell.ok("prices", "build", "--output", str(target))
    assert orjson.loads(target.read_bytes()) == shipped_with("gpt-4o", input="3")
    assert target.read_bytes().count(b"\n") > 2000  # a model a line
    assert "cannot write" in shell.refused("prices", "build", "--output", str(tmp_path / "no" / "file"))

    monkeypatch.setattr(prices_build, "build_now", lambda today: shipped_with("gpt-4o", input="30"))
    refused = shell.refused("prices", "build", "--output", str(target))
    assert "openai/gpt-4o input_usd_per_mtok: 2.5 -> 30" in refused
    assert "--accept-jumps" in refused
    shell.ok("prices", "build", "--output", str(target), "--accept-jumps")

    monkeypatch.setattr(prices_build, "build_now", lambda today: read_shipped())
    assert "are those of" in shell.ok("prices", "diff")


def test_building_needs_the_extra(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
    assert "oneapi-mw[prices]" in shell.refused("prices", "diff")
