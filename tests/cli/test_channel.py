"""`oneapi-mw channel`."""

from __future__ import annotations

import sqlite3

import pytest

from tests.cli.conftest import Shell


def test_create_and_list(shell: Shell) -> None:
    made = shell.json(
        *["channel", "create", "main", "--type", "openai", "--models", " gpt-4o, gpt-4o,mini", "--key-stdin"],
        *["--priority", "3", "--weight", "2", "--group", "default,vip", "--model-mapping", '{"mini": "gpt-4o-mini"}'],
        stdin="sk-provider\n",
    )
    assert (made["provider"], made["type"], made["base_url"]) == ("openai", 1, "https://api.openai.com")
    assert (made["models"], made["group"], made["priority"], made["weight"]) == ("gpt-4o,mini", "default,vip", 3, 2)
    assert shell.json("channel", "list") == [made]
    assert "sk-provider" not in shell.ok("channel", "list")
    with sqlite3.connect("one-api.db") as database:
        (mapping,) = database.execute("SELECT model_mapping FROM channels").fetchone()
    database.close()
    assert mapping == '{"mini": "gpt-4o-mini"}'


def test_by_number_and_with_an_address(shell: Shell) -> None:
    words = ["channel", "create", "gpu", "--type", "50", "--models", "a", "--key", "k", "--base-url", "http://gpu:8000"]
    assert shell.ok(*words) == "created channel 'gpu' (1)\n"
    assert shell.json("channel", "list")[0]["base_url"] == "http://gpu:8000"


@pytest.mark.parametrize("reference", ["1", "gpu", "uuid"])
def test_switched_and_deleted(shell: Shell, reference: str) -> None:
    made = shell.json("channel", "create", "gpu", "--type", "openai", "--models", "a", "--key", "k")
    reference = made["uuid"] if reference == "uuid" else reference
    assert shell.ok("channel", "disable", reference) == "channel 'gpu' (1) is disabled\n"
    assert shell.json("channel", "list")[0]["status"] == "disabled"
    shell.ok("channel", "enable", reference)
    assert shell.json("channel", "list")[0]["status"] == "enabled"
    shell.ok("channel", "delete", reference)
    assert shell.json("channel", "list") == []


def test_a_name_that_means_two(shell: Shell) -> None:
    for _ in range(2):
        shell.ok("channel", "create", "twin", "--type", "openai", "--models", "a", "--key", "k")
    assert shell.refused("channel", "delete", "twin").endswith("name one by its id, 1, 2")
    assert "there is no channel 'third'" in shell.refused("channel", "delete", "third")
    shell.ok("channel", "delete", "2")
    assert [channel["id"] for channel in shell.json("channel", "list")] == [1]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--type", "nonsense", "--models", "a"], "is not a provider: choose one of openai"),
        (["--type", "openai", "--models", ","], "at least one name"),
        (["--type", "openai", "--models", "a", "--base-url", "ftp://x"], "is not an address"),
        (["--type", "openai", "--models", "a", "--base-url", "http://[x"], "is not an address"),
        (["--type", "openai-compatible", "--models", "a", "--key", "k"], "add --base-url"),
        (["--type", "openai", "--models", "a", "--key", "k", "--model-configs", "{"], "model_configs must hold"),
        (["--type", "openai", "--models", "a"], "--key-stdin"),
    ],
)
def test_what_cannot_be_a_channel(shell: Shell, words: list[str], what: str) -> None:
    assert what in shell.refused("channel", "create", "x", *words, code=2)
