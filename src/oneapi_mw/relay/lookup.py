"""Host names to addresses for fetches: bounded, off the event loop, and never through its thread pool."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Addresses of a host, as text. Raises `LookupFailed`."""

LOOKUP_SECONDS = 2.0
AT_ONCE = 64
FOUND_SECONDS, MISSED_SECONDS = 30.0, 5.0
"""How long an answer is used; the system's resolver does not tell how long it holds."""
MAX_NAMES = 1024


class LookupFailed(Exception):
    """The name has no address, or not in time."""


class Lookup:
    """Asks the system's resolver, each question in a thread of its own.

    Threads cannot be stopped, and a resolver may take half a minute: whoever waits goes on after `LOOKUP_SECONDS`,
    the thread counts until it has ended, and is a daemon, so that no process waits for it at its end.
    """

    def __init__(self, ask: Callable[[str], Sequence[str]] | None = None, *, seconds: float = LOOKUP_SECONDS) -> None:
        """
        Args:
            ask: blocks until it knows; raises `OSError`. By default the system's resolver.
        """
        self._ask = ask or _system
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, Sequence[str]]] = OrderedDict()
        self._running = 0

    async def __call__(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        until, addresses = self._known.get(host, (0.0, ()))
        if loop.time() >= until:
            addresses = await self._look_up(loop, host)
            until = loop.time() + (FOUND_SECONDS if addresses else MISSED_SECONDS)
            self._known[host] = until, addresses
            if len(self._known) > MAX_NAMES:
                self._known.popitem(last=False)
        if not addresses:
            raise LookupFailed(host)
        return addresses

    async def _look_up(self, loop: asyncio.AbstractEventLoop, host: str) -> Sequence[str]:
        if self._running >= AT_ONCE:
            raise LookupFailed(host)
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def end(addresses: Sequence[str]) -> None:
            self._running -= 1
            if not answer.done():
                answer.set_result(addresses)

        def work() -> None:
            try:
                addresses = self._ask(host)
            except (OSError, UnicodeError):  # the latter: a name that no DNS name can be
                addresses = ()
            try:
                loop.call_soon_threadsafe(end, addresses)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        self._running += 1
        threading.Thread(target=work, name="oneapi_mw.lookup", daemon=True).start()
        try:
            async with asyncio.timeout(self._seconds):
                return await answer
        except TimeoutError:
            return ()


def _system(host: str) -> Sequence[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))
