"""Apps on real sockets, and a whole gateway with everything a test needs to talk to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import hypercorn.asyncio
import uvicorn
from hypercorn.config import Config
from starlette.types import ASGIApp

from oneapi_mw import Gateway, Settings
from oneapi_mw.ids import token_key
from oneapi_mw.store.dsn import DatabaseUrl

ROOT_PASSWORD = "a password for tests"
SECRET = "a secret for tests that is long enough"

Server = Literal["hypercorn", "uvicorn"]


@asynccontextmanager
async def serving(app: ASGIApp, server: Server = "hypercorn") -> AsyncIterator[str]:
    """Serve `app` on a free loopback port; gives its base URL once it is started."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = asyncio.Event()
        stop = asyncio.Event()
        run = _hypercorn if server == "hypercorn" else _uvicorn
        task = asyncio.create_task(run(_announcing(app, started), listener, stop))
        waiting = asyncio.create_task(started.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
                raise RuntimeError("the server ended instead of starting")
            yield base
        finally:
            waiting.cancel()
            stop.set()
            await task


def _announcing(app: ASGIApp, started: asyncio.Event) -> ASGIApp:
    """`app`, setting `started` when its start-up is complete."""

    async def announcing(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                started.set()

        await app(scope, receive, sending if scope["type"] == "lifespan" else send)

    return announcing


async def _hypercorn(app: ASGIApp, listener: socket.socket, stop: asyncio.Event) -> None:
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.graceful_timeout = 5
    config.errorlog = None
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
    listener.detach()  # hypercorn has closed it


async def _uvicorn(app: ASGIApp, listener: socket.socket, stop: asyncio.Event) -> None:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    serving_task = asyncio.create_task(server._serve(sockets=[listener]))  # `serve` would take over signals
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving_task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving_task


def settings_for(database: DatabaseUrl, **changes: Any) -> Settings:
    """Settings of a gateway over `database`, with root's API key in `initial_root_token`."""
    where = {"sqlite_path": database.path} if database.path is not None else {"sql_dsn": dsn(database)}
    defaults = {
        "secret_key": SECRET,
        "initial_root_password": ROOT_PASSWORD,
        "initial_root_token": token_key(),
        "global_relay_rate_limit": 0,
        "enable_cookie_secure": False,
    }
    return Settings(**{**defaults, **where, **changes})


def dsn(database: DatabaseUrl) -> str:
    """`database` as an operator writes it in `SQL_DSN`."""
    return database.sqlalchemy.set(drivername=database.dialect).render_as_string(hide_password=False)


@dataclass
class Site:
    """A served gateway as its administrator sees it."""

    base: str
    """URL of the gateway, its mount included, without a slash at the end."""
    gateway: Gateway
    http: httpx.AsyncClient
    """Logged in as root; paths are below `base`."""
    key: str
    """Root's unlimited API key."""

    async def add_channel(self, upstream: str, **changes: Any) -> dict[str, Any]:
        body = {
            "name": "relay-mock-channel",
            "type": 1,
            "key": "sk-mock-upstream",
            "base_url": upstream,
            "models": "gpt-4o-mini",
            "group": "default",
            "priority": 0,
        }
        channel: dict[str, Any] = await self.post("/api/channel/", {**body, **changes})
        return channel

    async def add_token(self, **changes: Any) -> dict[str, Any]:
        body = {"name": "relay-token", "remain_quota": 500_000, "expired_time": -1, "unlimited_quota": False}
        token: dict[str, Any] = await self.post("/api/token/", {**body, **changes})
        return token

    async def post(self, path: str, body: Any) -> Any:
        return data_of(await self.http.post(self.base + path, json=body))

    async def get(self, path: str, **query: Any) -> Any:
        return data_of(await self.http.get(self.base + path, params=query))

    async def chat(self, key: str | None = None, **body: Any) -> httpx.Response:
        """One chat completion with `key`, root's by default."""
        request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}], **body}
        headers = {"authorization": f"Bearer {key or self.key}"}
        return await self.http.post(self.base + "/v1/chat/completions", json=request, headers=headers)


def data_of(response: httpx.Response) -> Any:
    """`data` of a management answer that reports success."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["success"], body
    return body.get("data")


@asynccontextmanager
async def logged_in(base: str, gateway: Gateway) -> AsyncIterator[Site]:
    """An administrator's view of the gateway that is served at `base`."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as http:
        login = {"username": "root", "password": ROOT_PASSWORD}
        data_of(await http.post(base + "/api/user/login", json=login))
        settings = gateway.settings
        yield Site(base, gateway, http, settings.token_key_prefix + str(settings.initial_root_token))


@asynccontextmanager
async def site(database: DatabaseUrl, *, server: Server = "hypercorn", **changes: Any) -> AsyncIterator[Site]:
    """A gateway over `database`, served alone."""
    gateway = Gateway(settings_for(database, **changes))
    async with serving(gateway, server) as base, logged_in(base, gateway) as ready:
        yield ready
