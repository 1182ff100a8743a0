"""Start everything, ask a few questions, show answers and costs."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from hypercorn.asyncio import serve
from starlette.types import ASGIApp

from oneapi_mw.app import Gateway
from oneapi_mw.cli.binding import DEFAULT_HOST, DEFAULT_PORT, Address, bind, listen, url
from oneapi_mw.cli.server import configuration, requests_only
from oneapi_mw.cli.server import run as run_loop
from oneapi_mw.demo import provider
from oneapi_mw.demo.questions import CHAT, MESSAGES, Question, questions
from oneapi_mw.ids import token_key
from oneapi_mw.settings import Settings


class DemoFailed(Exception):
    """A request of the demo did not go as it should; the message says which and how."""


async def demo(host: str, port: int, *, once: bool) -> None:
    """Run the demo on `host:port` (0: any free port) until Ctrl-C, or once.

    Raises: `DemoFailed`; `CommandFailed` when it cannot listen there.
    """
    key = token_key()
    with tempfile.TemporaryDirectory(prefix="oneapi-demo-", ignore_cleanup_errors=True) as folder:
        settings = Settings(
            sqlite_path=str(Path(folder) / "demo.db"),
            secret_key=secrets.token_hex(32),
            initial_root_token=key,
            enable_cookie_secure=False,
        )
        gateway = Gateway(settings, loopback=True)
        listener = bind([Address(host, port)])[0]
        async with (
            _serving(provider.app, bind([Address(DEFAULT_HOST, 0)])[0]) as upstream,
            gateway.lifespan(),
            _serving(gateway, listener) as base,
        ):
            await _add_channel(gateway, upstream)
            print(f"The gateway listens on {base}, with a fresh database and the provider 'demo' behind it.\n")
            await _ask_all(base, settings.token_key_prefix + key)
            _explain(base, settings.token_key_prefix + key)
            if not once:
                await _until_interrupted()


def run(*, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, once: bool = False) -> int:
    """The `demo` command. Returns its exit code. Raises `CommandFailed` when it cannot listen there."""
    try:
        run_loop(demo(host, port, once=once))
    except DemoFailed as failed:
        print(f"demo failed: {failed}", file=sys.stderr)
        return 1
    return 0


@asynccontextmanager
async def _serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[str]:
    """Serve `app`, which has been started, with hypercorn, and give its base URL."""
    base = url(listener)
    listen([listener])
    stop = asyncio.Event()
    server = asyncio.create_task(
        serve(requests_only(app), configuration([listener], patience=1), shutdown_trigger=stop.wait, mode="asgi")
    )
    try:
        yield base
    finally:
        stop.set()
        await server


async def _add_channel(gateway: Gateway, upstream: str) -> None:
    price = {provider.MODEL: {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8, "max_tokens": 1000}}
    await gateway.store.channels.create(
        {
            "type": 50,
            "name": "demo",
            "key": provider.KEY,
            "base_url": upstream,
            "models": provider.MODEL,
            "model_configs": json.dumps(price),
        }
    )


async def _ask_all(base: str, key: str) -> None:
    async with httpx.AsyncClient(base_url=base, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        for question in questions():
            answer, request_id = await _ask(client, question)
            cost = (await client.get(f"/api/cost/request/{request_id}")).json()
            print(f"{question.title}  (POST {question.path})")
            print(f"    {answer}")
            if cost.get("state") != "final" or not cost.get("quota"):
                raise DemoFailed(f"{question.title}: the cost of {request_id} is not there: {cost}")
            print(f"    cost: {cost['quota']} quota units = ${cost['cost_usd']:.6f}   request {request_id}\n")


async def _ask(client: httpx.AsyncClient, question: Question) -> tuple[str, str]:
    response = await client.post(question.path, json=question.body)
    if response.status_code != 200:
        raise DemoFailed(f"{question.title}: status {response.status_code}: {response.text}")
    try:
        answer = question.read(response.content)
    except ValueError as exc:
        raise DemoFailed(f"{question.title}: the answer is not whole: {exc}") from exc
    if not answer:
        raise DemoFailed(f"{question.title}: the answer is empty: {response.text}")
    return answer, response.headers["x-oneapi-request-id"]


def _explain(base: str, key: str) -> None:
    said = [{"role": "user", "content": "Hello!"}]
    body = json.dumps({"model": provider.MODEL, "messages": said})
    claude = json.dumps({"model": provider.MODEL, "max_tokens": 200, "messages": said})
    print("Ask yourself:\n")
    print(f"    curl {base}{CHAT} -H 'Authorization: Bearer {key}' \\")
    print(f"         -H 'Content-Type: application/json' -d '{body}'")
    claude = json.dumps(
        {"model": provider.MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": "Hello!"}]}
    )
    print(f"    curl {base}{MESSAGES} -H 'x-api-key: {key}' -H 'Content-Type: application/json' -d '{claude}'")
    print(f"    curl {base}/v1/models -H 'Authorization: Bearer {key}'")
    print(f"    curl {base}/api/cost/request/REQUEST-ID        # the X-Oneapi-Request-Id header of an answer")
    print(f'    curl {base}/api/user/login -d \'{{"username":"root","password":"123456"}}\'\n')


async def _until_interrupted() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print("Running until Ctrl-C.", flush=True)
    await stop.wait()
