"""An `Idempotency-Key` over real sockets and databases, with two gateways on one database."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from oneapi_mw import Gateway
from oneapi_mw.store.dsn import DatabaseUrl
from tests.e2e.test_crash import environment, execute, swept
from tests.support.hostile import Peer, Received
from tests.support.process import running
from tests.support.serving import Site, logged_in, settings_for, site
from tests.support.vendor import Vendor

KEY = "twice0twice0twice0twice0twice0twice0twice0twice0"
"""One key at every gateway of a database."""
MESSAGES: Any = [{"role": "user", "content": "hello"}]


async def ask(gateway: Site, key: str = "key-1", **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key}", "idempotency-key": key}
    request = {"model": "gpt-4o-mini", "messages": MESSAGES, "max_tokens": 50, **body}
    return await gateway.http.post(gateway.base + "/v1/chat/completions", json=request, headers=headers)


async def test_two_workers_answer_a_key_once(migrated_url: DatabaseUrl, upstream: Vendor) -> None:
    gate, plain = asyncio.Event(), upstream.answer

    async def held(peer: Peer, request: Received) -> None:
        await gate.wait()
        await plain(peer, request)

    upstream.answer = held
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(site(migrated_url, initial_root_token=KEY)) for _ in range(2)]
        await workers[0].add_channel(upstream.url)
        await workers[1].gateway.store.channel_table.reload()  # type: ignore[attr-defined]
        before = (await workers[0].get("/api/user/self"))["quota"]
        asking = [asyncio.create_task(ask(workers[n % 2])) for n in range(32)]
        early = []
        for ended in asyncio.as_completed(asking):
            early.append(await ended)
            if len(early) == 31:
                gate.set()
        assert {(reply.status_code, reply.json()["error"]["code"]) for reply in early[:31]} == {
            (409, "idempotency_in_progress")
        }
        first = early[31]
        assert first.status_code == 200
        again = [await ask(worker) for worker in workers]

        assert {reply.content for reply in again} == {first.content}
        assert all(reply.headers["idempotent-replayed"] == "true" for reply in again)
        assert len(upstream.requests) == 1
        cost = await workers[0].http.get(f"{workers[0].base}/api/cost/request/{first.headers['x-oneapi-request-id']}")
        after = (await workers[0].get("/api/user/self"))["quota"]
        assert before - after == cost.json()["quota"] > 0
        assert not await workers[0].gateway.ledger.audit()
        assert (await ask(workers[1], max_tokens=51)).json()["error"]["code"] == "idempotency_key_reused"


async def test_a_key_outlives_the_gateway(migrated_url: DatabaseUrl, upstream: Vendor) -> None:
    answers = []
    for _ in range(2):
        async with site(migrated_url, initial_root_token=KEY) as ready:
            await ready.add_channel(upstream.url)
            answers.append(await ask(ready))
    assert answers[0].content == answers[1].content
    assert answers[1].headers["x-oneapi-original-request-id"] == answers[0].headers["x-oneapi-request-id"]
    assert len(upstream.requests) == 1


async def test_what_was_dropped_is_said_again(gateway: Site, upstream: Vendor) -> None:
    headers = {"x-api-key": gateway.key, "anthropic-version": "2023-06-01", "idempotency-key": "k"}
    body = {"model": "gpt-4o-mini", "max_tokens": 50, "top_k": 5, "messages": MESSAGES}
    first, second = [
        await gateway.http.post(f"{gateway.base}/v1/messages", json=body, headers=headers) for _ in range(2)
    ]

    assert first.headers["x-oneapi-dropped"] == second.headers["x-oneapi-dropped"] == "top_k"
    assert first.content == second.content


async def test_the_official_sdks(gateway: Site, upstream: Vendor) -> None:
    """Their own retries wait for a running request; a used key is an error they show."""
    gate, plain = asyncio.Event(), upstream.answer

    async def held(peer: Peer, request: Received) -> None:
        await gate.wait()
        await plain(peer, request)

    upstream.answer = held
    async with openai.AsyncOpenAI(api_key=gateway.key, base_url=f"{gateway.base}/v1", max_retries=5) as client:

        async def create(**changes: Any) -> Any:
            return await client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, extra_headers={"Idempotency-Key": "k"}, **changes
            )

        first = asyncio.create_task(create())
        await upstream.asked.wait()
        second = asyncio.create_task(create())
        gate.set()
        assert await first == await second
        assert len(upstream.requests) == 1
        with pytest.raises(openai.ConflictError, match="asked for something else"):
            await create(max_tokens=5)
    async with anthropic.AsyncAnthropic(api_key=gateway.key, base_url=gateway.base, max_retries=0) as claude:
        with pytest.raises(anthropic.ConflictError, match="asked for something else"):
            await claude.messages.create(
                model="gpt-4o-mini", max_tokens=5, messages=MESSAGES, extra_headers={"Idempotency-Key": "k"}
            )


async def test_a_key_whose_request_died_with_its_gateway(
    sqlite_url: DatabaseUrl, upstream: Vendor, tmp_path: Path
) -> None:
    """Its hold tells that it was charged: the request is not made again."""
    begun, plain = asyncio.Event(), upstream.answer

    async def never(peer: Peer, request: Received) -> None:
        begun.set()
        await peer.until_gone()

    upstream.answer = never
    settings = settings_for(sqlite_url, initial_root_token=KEY)
    async with running(
        "serve", "--bind", "127.0.0.1:0", cwd=tmp_path, env={**environment(sqlite_url), "INITIAL_ROOT_TOKEN": KEY}
    ) as server:
        base = (await server.until(r"(http://127\.0\.0\.1:\d+)"))[1]
        async with logged_in(base, Gateway(settings)) as dying:
            await dying.add_channel(upstream.url)
            asking = asyncio.create_task(ask(dying))
            await begun.wait()
            server.signal(signal.SIGKILL)
            await server.ended()
            await asyncio.gather(asking, return_exceptions=True)

    upstream.answer = plain
    async with site(sqlite_url, initial_root_token=KEY) as ready:
        assert (await ask(ready)).json()["error"]["code"] == "idempotency_in_progress"
        await execute(sqlite_url, "UPDATE idempotency_keys SET busy_until = 0")
        assert (await ask(ready)).json()["error"]["code"] == "idempotency_in_progress"  # its hold is still open
        await execute(sqlite_url, "UPDATE billing_holds SET lease_until = 0")
        await swept(ready.gateway)
        for _ in range(2):
            refused = await ask(ready)
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        assert len(upstream.requests) == 1
        assert (await ask(ready, "key-2")).status_code == 200
