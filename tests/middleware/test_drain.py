"""Counting requests, waiting for them, cutting them."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.errors import Draining
from oneapi_mw.middleware.drain import Drain, DrainMiddleware
from tests.support.harness import call

LONG = 60.0


class Held:
    """An app that stays inside until it is let go."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cleaned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.set()
        try:
            await self.let_go.wait()
        finally:
            await asyncio.sleep(0)  # as settling does: the interrupted task may still wait
            self.cleaned = True
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(app: ASGIApp) -> int:
    return (await call(app)).status


async def test_nothing_inside_is_done_at_once() -> None:
    drain = Drain()
    assert await drain.finish(LONG)
    assert drain.closed


async def test_what_runs_may_finish() -> None:
    drain, inner = Drain(), Held()
    asking = asyncio.create_task(ask(DrainMiddleware(inner, drain=drain)))
    await inner.inside.wait()
    finishing = asyncio.create_task(drain.finish(LONG))
    await asyncio.sleep(0)
    assert drain.closed
    assert not finishing.done()
    inner.let_go.set()
    assert await finishing
    assert await asking == 204


async def test_what_takes_too_long_is_cut_after_its_clean_up() -> None:
    drain, inner = Drain(), Held()
    asking = asyncio.create_task(ask(DrainMiddleware(inner, drain=drain)))
    await inner.inside.wait()
    assert await drain.finish(0.001)
    assert inner.cleaned
    with pytest.raises(Draining):
        await asking


async def test_cut_ends_the_waiting() -> None:
    drain, inner = Drain(), Held()
    asking = asyncio.create_task(ask(DrainMiddleware(inner, drain=drain)))
    await inner.inside.wait()
    finishing = asyncio.create_task(drain.finish(LONG))
    await asyncio.sleep(0)
    drain.cut()
    assert await finishing
    with pytest.raises(Draining):
        await asking
    with pytest.raises(Draining):  # one that slipped in afterwards
        await ask(DrainMiddleware(Held(), drain=drain))


async def test_a_request_that_ignores_its_cut_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.middleware.drain.CUT_SECONDS", 0.001)
    drain, let_go, inside = Drain(), asyncio.Event(), asyncio.Event()

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                pass

    asking = asyncio.create_task(DrainMiddleware(stubborn, drain=drain)({"type": "http"}, _never, _nowhere))
    await inside.wait()
    assert not await drain.finish(0.001)
    let_go.set()
    await asking
    assert await drain.finish(LONG)


async def test_somebody_elses_cancellation_stays_one() -> None:
    drain, inner = Drain(), Held()
    asking = asyncio.create_task(ask(DrainMiddleware(inner, drain=drain)))
    await inner.inside.wait()
    asking.cancel()
    drain.cut()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await drain.finish(LONG)


async def _never() -> dict[str, object]:
    raise AssertionError("nobody asked to read")


async def _nowhere(message: object) -> None:
    raise AssertionError("nobody asked to write")
