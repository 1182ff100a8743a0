"""The README: its code runs, its commands exist, and CI runs the very command it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from oneapi_mw.cli import build_parser
from oneapi_mw.pipeline import default_stages
from oneapi_mw.settings import Settings
from oneapi_mw.store.memory import MemoryStore
from tests.project.source import ROOT
from tests.support import harness
from tests.support.harness import lifespan

README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]
COMMANDS = [line for line in SHELL if line.startswith("oneapi-mw ")]


def run(code: str) -> ASGIApp:
    """The `app` that a block of the README makes."""
    names: dict[str, ASGIApp] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names["app"]


async def test_mounted_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = run(PYTHON[0])
    async with lifespan(app):
        answer = await harness.call(app, "GET", "/llm/api/status")
        assert answer.json()["success"] is True


async def test_middleware_code() -> None:
    answer = await harness.call(run(PYTHON[1]), "GET", "/")
    assert (answer.status, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_every_block_of_code_is_tested() -> None:
    assert len(PYTHON) == 2


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert build_parser(words[1:]).parse_args(words[1:]) is not None


def test_settings_named_exist() -> None:
    named = re.findall(r"`([A-Z][A-Z_]+)`", README.split("## Run it")[1].split("## Mount it")[0])
    fields = {name.upper() for name in Settings.model_fields} | {"ONEAPI_SECRET_KEY"}
    assert named
    assert set(named) <= fields


def test_ci_runs_the_command_of_the_readme() -> None:
    [command] = [line for line in SHELL if line.endswith("bin/nox")]
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_stages_are_the_default_ones() -> None:
    """The table of stages lists the pipeline in its order."""
    table = README.split("| Stage | Does |")[1].split("##")[0]
    named = re.findall(r"^\| (\w+) \|", table, re.M)
    store = MemoryStore()
    stages = default_stages(
        principals=store.principals,
        router=object(),  # type: ignore[arg-type]
        ledger=store.ledger,
        limiter=object(),  # type: ignore[arg-type]
        drain=object(),  # type: ignore[arg-type]
        states=store.responses,
        idempotency=store.idempotency,
        costs=store.costs,
    )
    classes = [getattr(stage.cls, "__name__", "") for stage in stages]
    expected = [name.replace("ratelimit", "rate_limit").title().replace("_", "") for name in named[:-1]]
    assert [f"{name}Middleware" for name in expected] == classes
    assert named[-1] == "relay"
