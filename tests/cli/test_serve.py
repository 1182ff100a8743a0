"""`oneapi-mw serve` as an operator runs it: real processes, real signals, a provider on a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from oneapi_mw import Settings
from oneapi_mw.ids import token_key
from oneapi_mw.ledger.operation import SETTLED
from oneapi_mw.resources import open_store, prepare
from tests.cli.conftest import PASSWORD, SECRET
from tests.support.process import Running, running
from tests.support.vendor import MODEL, Vendor, chunks, stream, vendor

KEY = token_key()
ENVIRONMENT = {"ONEAPI_SECRET_KEY": SECRET, "INITIAL_ROOT_TOKEN": KEY}
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": True}
HEADERS = {"authorization": f"Bearer sk-{KEY}"}
URL = r"listens on (http://\S+)"


async def prepared(folder: Path, upstream: str) -> None:
    """A database with root, root's key, and a channel to `upstream`."""
    settings = Settings(
        sqlite_path=str(folder / "one-api.db"),
        secret_key=SECRET,
        initial_root_password=PASSWORD,
        initial_root_token=KEY,
    )
    await prepare(settings, loopback=True)
    async with open_store(settings) as store:
        values = {"type": 1, "name": "vendor", "key": "k", "base_url": upstream, "models": MODEL, "status": 1}
        await store.channels.create({**values, "group": "default"})


@asynccontextmanager
async def site(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Running, Vendor, httpx.AsyncClient]]:
    """A gateway in its own process in front of a vendor, and a client of it."""
    async with vendor() as upstream:
        await prepared(folder, upstream.url)
        words = ("serve", "--bind", "127.0.0.1:0", *words)
        async with running(*words, cwd=folder, env={**ENVIRONMENT, **(env or {})}) as server:
            base = (await server.until(URL))[1]
            async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=60, headers=HEADERS) as client:
                yield server, upstream, client


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stream_outlives_sigterm_and_is_charged(tmp_path: Path, workers: int) -> None:
    async with site(tmp_path, "--workers", str(workers)) as (server, upstream, client):
        go_on = asyncio.Event()
        upstream.answer = stream(chunks("first ", "second"), hold=go_on, hold_after=2)
        async with client.stream("POST", "/v1/chat/completions", json=BODY) as answer:
            lines = answer.aiter_lines()
            seen = ""
            while "first" not in seen:
                seen += await anext(lines)

            server.signal(signal.SIGTERM)
            await refused(client)
            go_on.set()
            seen += "".join([line async for line in lines])

        assert "second" in seen
        assert seen.endswith("data: [DONE]")
        assert await server.ended() == 0
    assert charged(tmp_path) == [(SETTLED, True)]


async def refused(client: httpx.AsyncClient) -> None:
    """Wait until nobody accepts connections any more."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as other:
                    await other.get("/readyz")
            except httpx.TransportError:
                return
            await asyncio.sleep(0.01)


def charged(folder: Path) -> list[tuple[int, bool]]:
    """The state of every hold, and whether a charge was written down for it."""
    with sqlite3.connect(folder / "one-api.db") as database:
        rows = database.execute("SELECT state, quota FROM billing_holds LEFT JOIN logs ON request_id = key").fetchall()
    database.close()
    return [(state, bool(quota)) for state, quota in rows]


@pytest.mark.parametrize(("again", "env"), [(True, {}), (False, {"SHUTDOWN_TIMEOUT": "1"})], ids=["signal", "time"])
async def test_an_endless_stream_is_cut_and_charged(tmp_path: Path, again: bool, env: dict[str, str]) -> None:
    """By a second signal, or when its time is over."""
    async with site(tmp_path, env=env) as (server, upstream, client):
        upstream.answer = stream(chunks("first"), hold=asyncio.Event(), hold_after=2)
        async with client.stream("POST", "/v1/chat/completions", json=BODY) as answer:
            lines = answer.aiter_lines()
            while "first" not in await anext(lines):
                pass
            server.signal(signal.SIGINT)
            await server.until("stopping: no new requests")
            if again:
                server.signal(signal.SIGINT)
            rest = "".join([line async for line in lines])
        assert "draining" in rest
        assert "[DONE]" not in rest
        assert await server.ended() == 0
    assert charged(tmp_path) == [(SETTLED, True)]


async def test_a_killed_worker_is_replaced_and_a_killed_supervisor_takes_all_along(tmp_path: Path) -> None:
    async with site(tmp_path, "--workers", "2") as (server, _, client):
        first = int((await server.until(r"worker 1 is ready, process (\d+)"))[1])
        seen = len(server.lines)
        os.kill(first, signal.SIGKILL)
        await server.until(r"worker 1, process \d+, was ended by signal 9", since=seen)
        for _ in range(4):
            async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as other:
                assert (await other.get("/healthz")).status_code == 200
        second = int((await server.until(r"worker 1 is ready, process (\d+)", since=seen))[1])
        assert second != first
        server.signal(signal.SIGKILL)
        assert await server.ended() == -signal.SIGKILL  # its output ends only when the last worker has ended


async def test_what_is_printed_at_the_start(tmp_path: Path) -> None:
    env = {"ONEAPI_SECRET_KEY": SECRET}
    async with running(
        "serve", "--bind", "127.0.0.1:0", "--bind", "unix:gateway.sock", cwd=tmp_path, env=env
    ) as server:
        await server.until("oneapi-mw user password root")
        assert server.lines[-4:-1] == [
            server.lines[-4],
            "oneapi-mw 0.1.0 listens on unix:gateway.sock",
            "database sqlite:///one-api.db, 1 worker",
        ]
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(tmp_path / "gateway.sock"))) as client:
            assert (await client.get("http://gateway/healthz")).text == "ok\n"
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    assert not (tmp_path / "gateway.sock").exists()


async def test_other_machines_need_a_password(tmp_path: Path) -> None:
    env = {"ONEAPI_SECRET_KEY": SECRET}
    for known in ("INITIAL_ROOT_PASSWORD", "oneapi-mw user password root"):
        async with running("serve", "--bind", "0.0.0.0:0", cwd=tmp_path, env=env) as server:
            assert await server.ended() == 1
            assert known in server.lines[-1]
            assert "Traceback" not in server.output
        await prepare(Settings(sqlite_path=str(tmp_path / "one-api.db"), secret_key=SECRET), loopback=True)


async def test_other_machines_with_a_password(tmp_path: Path) -> None:
    env = {"ONEAPI_SECRET_KEY": SECRET, "INITIAL_ROOT_PASSWORD": PASSWORD}
    async with running("serve", "--bind", "0.0.0.0:0", cwd=tmp_path, env=env) as server:
        port = (await server.until(r"listens on http://0\.0\.0\.0:(\d+)"))[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        async with running("serve", cwd=tmp_path, env={**ENVIRONMENT, "PORT": port}) as server:
            assert await server.ended() == 1
            assert server.output.count("\n") == 0
            assert f"cannot listen on 127.0.0.1:{port}: another program listens there" in server.output
    assert not (tmp_path / "one-api.db").exists()
