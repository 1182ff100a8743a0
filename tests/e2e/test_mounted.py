"""Inside other applications, at a prefix, twice in one process; the host notices nothing."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import openai
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from oneapi_mw import Gateway
from tests.support import harness, servers
from tests.support.serving import Server, Site, data_of, logged_in, serving, settings_for
from tests.support.vendor import Vendor, chunks, stream


def starlette_host(mounts: dict[str, Gateway]) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for gateway in mounts.values():
                await stack.enter_async_context(gateway.lifespan())
            yield

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("host")

    routes = [Route("/", hello), *[Mount(path, gateway) for path, gateway in mounts.items()]]
    return Starlette(routes=routes, lifespan=lifespan)


def fastapi_host(mounts: dict[str, Gateway]) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for gateway in mounts.values():
                await stack.enter_async_context(gateway.lifespan())
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def hello() -> str:
        return "host"

    for path, gateway in mounts.items():
        app.mount(path, gateway)
    return app


HOSTS = {"starlette": starlette_host, "fastapi": fastapi_host}


async def gateway_in(folder: Path) -> Gateway:
    return Gateway(settings_for(await servers.migrated_database("sqlite", folder)))


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
async def test_mounted(
    host: Callable[[dict[str, Gateway]], ASGIApp], server: Server, tmp_path: Path, upstream: Vendor
) -> None:
    gateway = await gateway_in(tmp_path)
    async with serving(host({"/llm": gateway}), server) as base, logged_in(base + "/llm", gateway) as ready:
        await relay_journey(ready, upstream)
        assert (await ready.http.get(base + "/")).text.strip('"') == "host"
        assert (await ready.http.get(base + "/v1/models")).status_code == 404


async def test_mounted_below_another_mount(tmp_path: Path, upstream: Vendor) -> None:
    gateway = await gateway_in(tmp_path)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway.lifespan():
            yield

    app = Starlette(routes=[Mount("/outer", Starlette(routes=[Mount("/llm", gateway)]))], lifespan=lifespan)
    async with serving(app) as base, logged_in(base + "/outer/llm", gateway) as ready:
        await relay_journey(ready, upstream)


async def test_twice_in_one_process(tmp_path: Path, upstream: Vendor) -> None:
    """Two gateways share nothing: neither keys, nor channels, nor sessions, nor balances."""
    gateways = {f"/{name}": await gateway_in(tmp_path) for name in ("one", "two")}
    async with (
        serving(starlette_host(gateways)) as base,
        logged_in(base + "/one", gateways["/one"]) as one,
        logged_in(base + "/two", gateways["/two"]) as two,
    ):
        await one.add_channel(upstream.url)
        assert (await two.chat()).status_code == 503
        assert (await two.chat(one.key)).status_code == 401
        await relay_journey(two, upstream)
        assert (await one.get("/api/log/", p=0)) == []
        async with httpx.AsyncClient(trust_env=False) as browser:
            for cookie in (*one.http.cookies.jar, *two.http.cookies.jar):
                browser.cookies.jar.set_cookie(cookie)
            for mounted in (one, two):  # one browser, logged in to both
                assert data_of(await browser.get(mounted.base + "/api/user/self"))["username"] == "root"


async def test_the_hosts_signals_and_logging_are_left_alone(tmp_path: Path, upstream: Vendor) -> None:
    def state() -> tuple[object, ...]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        return (
            [signal.getsignal(number) for number in numbers],
            list(logging.root.handlers),
            logging.root.level,
            logging.getLogger("oneapi_mw").handlers,
            logging.getLogger("oneapi_mw").level,
        )

    before = state()
    gateway = await gateway_in(tmp_path)
    async with serving(starlette_host({"/llm": gateway})) as base, logged_in(base + "/llm", gateway) as ready:
        await relay_journey(ready, upstream)
        assert state() == before
    assert state() == before


async def test_a_request_before_start_up_says_so(tmp_path: Path) -> None:
    gateway = await gateway_in(tmp_path)
    app = Starlette(routes=[Mount("/llm", gateway)])  # a host that forgot the lifespan
    answer = await harness.call(app, "POST", "/llm/v1/chat/completions", json={})
    assert answer.status == 503
    assert answer.json()["error"]["code"] == "not_started"
    assert "gateway.lifespan()" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "1"
    answer = await harness.call(app, "GET", "/llm/api/status")
    assert answer.status == 503
    assert answer.json()["success"] is False


async def relay_journey(ready: Site, upstream: Vendor) -> None:
    """A stream through the SDK, its cost, and the balance."""
    await ready.add_channel(upstream.url)
    sent = chunks("Hel", "lo")
    upstream.answer = stream(sent)
    before = (await ready.get("/api/user/self"))["quota"]
    async with openai.AsyncOpenAI(base_url=ready.base + "/v1", api_key=ready.key, max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        assert [event.to_dict() async for event in raw.parse()] == sent
        cost = (await ready.http.get(f"{ready.base}/api/cost/request/{raw.headers['x-oneapi-request-id']}")).json()
    assert cost["state"] == "final"
    assert before - (await ready.get("/api/user/self"))["quota"] == cost["quota"] == 3
    assert [row["quota"] for row in await ready.get("/api/log/", p=0)] == [3]
