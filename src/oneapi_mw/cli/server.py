"""One process that serves a gateway through hypercorn, and ends without losing an answer or a charge.

What hypercorn 0.18 does by itself, and what is done here instead (spec: reliability-security, appendix A):

- an app whose start-up fails is served all the same: the gateway is started here, before hypercorn
- its graceful timeout cancels streams in the middle on Python 3.11 and never fires from 3.12 on: the gateway's own
  drain decides when a request has had its time, and hypercorn is given more than that
- a connection whose client does not read holds its shutdown for ever: it gets `LINGER_SECONDS`, then is dropped
- it takes over signals and closes its listeners on its own terms: it gets a trigger, and sockets that are bound

    serving --stop--> draining --last request ended, or time is up, or hurry--> closing connections --> ended
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import hypercorn.asyncio
from hypercorn.config import Config
from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.app import Gateway
from oneapi_mw.cli.binding import BACKLOG
from oneapi_mw.process import tune_memory

log = logging.getLogger("oneapi_mw.server")

LINGER_SECONDS = 5.0
"""How long connections may take to send what is written already, once no request runs any more."""
KEEP_ALIVE_SECONDS = 5.0
"""How long a connection may be idle, and how long a request's head may take to arrive."""
CUT_AND_CLOSE_SECONDS = 60.0
"""How long everything after the drain may take: settling what was cut, closing connections, ledger and store."""

T = TypeVar("T")


class Control:
    """What a running server is told: to stop, and then that it should hurry."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def press(self) -> None:
        """Stop; pressed again, hurry."""
        (self.hurry if self.stop.is_set() else self.stop).set()

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT press; the third one ends the process as if nobody listened. SIGHUP means nothing."""
        loop = asyncio.get_running_loop()

        def press() -> None:
            if self.stop.is_set():
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(number)
            self.press()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, press)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in an event loop of its own, uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:  # an extra, and not there on every platform
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def serve(
    gateway: Gateway, sockets: Sequence[socket.socket], control: Control, *, ready: Callable[[], None]
) -> bool:
    """Serve on `sockets`, which are bound and taken over, until `control` says stop.

    Calls `ready` once requests are answered. Returns whether everything that ran came to its end.

    Raises: what `Gateway.lifespan` raises.
    """
    async with gateway.lifespan():
        tune_memory()
        config = configuration(sockets, patience=gateway.settings.shutdown_timeout)
        server = asyncio.create_task(
            hypercorn.asyncio.serve(requests_only(gateway), config, shutdown_trigger=control.stop.wait, mode="asgi")
        )
        ready()
        stopping = asyncio.create_task(control.stop.wait())
        await asyncio.wait({server, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if server.done():
            server.result()
            raise RuntimeError("the server ended although nobody stopped it")
        log.info("stopping: no new requests, those that run may finish")
        ended = await _drain(gateway, control)
        await _close(server)
        return ended


async def _drain(gateway: Gateway, control: Control) -> bool:
    draining = asyncio.create_task(gateway.drain())
    hurrying = asyncio.create_task(control.hurry.wait())
    await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        gateway.cut()
    hurrying.cancel()
    return await draining


async def _close(server: asyncio.Task[None]) -> None:
    """Let hypercorn close its connections, and drop those that take too long."""
    await asyncio.wait({server}, timeout=LINGER_SECONDS)
    if not server.done():
        log.warning("connections whose clients do not read are dropped")
        server.cancel()
    # a connection that fails while it is closed fails hypercorn: every request has been answered by then
    for outcome in await asyncio.gather(server, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.warning("closing connections: %s: %s", type(outcome).__name__, outcome)


def configuration(sockets: Sequence[socket.socket], *, patience: float) -> Config:
    """hypercorn's settings for `sockets`, which it takes over; `patience` is the longest a drain may take."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}" for listener in sockets]
    config.backlog = BACKLOG
    config.accesslog = None  # ours has more, and hypercorn's prints decoded line breaks
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.graceful_timeout = patience + CUT_AND_CLOSE_SECONDS
    config.h2_max_concurrent_streams = 32
    config.h2_max_header_list_size = 32 * 1024
    config.websocket_max_message_size = 16 * 1024 * 1024
    return config


def requests_only(started: ASGIApp) -> Any:
    """An app whose lifespan has been entered already, without it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await started(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    return app
