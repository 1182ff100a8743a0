"""The examples do what they say: each is served and used as its reader would."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from examples import mounted, one_middleware, own_stage
from oneapi_mw import Settings
from tests.support import harness, servers
from tests.support.harness import lifespan
from tests.support.serving import serving, settings_for


async def test_standalone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    standalone = importlib.import_module("examples.standalone")
    async with lifespan(standalone.app):
        assert (await harness.call(standalone.app, "GET", "/api/status")).json()["success"] is True
    assert (tmp_path / "gateway.db").exists()


@pytest.mark.parametrize("make", [mounted.in_starlette, mounted.in_fastapi])
async def test_mounted(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    app = make(settings_for(await servers.migrated_database("sqlite", tmp_path)))
    async with lifespan(app):
        assert b"the host's own route" in (await harness.call(app, "GET", "/")).body
        assert (await harness.call(app, "GET", "/llm/api/status")).json()["success"] is True


async def test_one_middleware() -> None:
    app = one_middleware.app
    refused = await harness.call(app, "GET", "/")
    assert (refused.status, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    key = {"authorization": "Bearer alice-key"}
    answers = [await harness.call(app, "GET", "/", headers=key) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].body == b"hello alice"


async def test_own_stage(tmp_path: Path) -> None:
    settings: Settings = settings_for(await servers.migrated_database("sqlite", tmp_path))
    gateway = own_stage.create_app(settings)
    key = {"authorization": f"Bearer sk-{settings.initial_root_token}"}
    async with lifespan(gateway):
        for word, status, code in (("xyzzy", 400, "invalid_request"), ("hello", 503, "no_channel_available")):
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": word}]}
            answer = await harness.call(gateway, "POST", "/v1/chat/completions", json=body, headers=key)
            assert (answer.status, answer.json()["error"]["code"]) == (status, code)


async def test_standalone_under_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    standalone = importlib.reload(importlib.import_module("examples.standalone"))
    async with serving(standalone.app) as base:
        assert base.startswith("http://127.0.0.1:")
