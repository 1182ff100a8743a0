"""Noticing that the client has left while something else is awaited."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive

from oneapi_mw.errors import GatewayError

GRACE = 0.05
"""Seconds before watching begins: most buffered answers are through by then and need no watcher task."""


class ClientGone(Exception):
    """The client disconnected before its answer was complete."""


class DisconnectWatch:
    """Turns the client's disconnect into `ClientGone` at the await of the task that entered it.

    One for each request; a plain `with`, entered and left by one task as often as it likes. A server's `send` need
    not fail after a disconnect and `receive` may tell it only once, so somebody has to listen, and remember.

    Works like `asyncio.timeout`: the task is cancelled, and on the way out our own cancellation, and no other,
    becomes `ClientGone`. So does an upstream's error that the cancellation was turned into. Work that was done
    nevertheless is not taken back: then the next `with` raises.
    """

    __slots__ = ("_cancelling", "_gone", "_owner", "_receive", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._owner: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False
        self._cancelling = 0

    def __enter__(self) -> DisconnectWatch:
        if self._gone:
            raise ClientGone
        owner = asyncio.current_task()
        assert owner is not None
        self._owner, self._cancelling = owner, owner.cancelling()
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._start)
        return self

    def _start(self) -> None:
        self._watcher = asyncio.create_task(self._listen(), name="oneapi_mw.disconnect")

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._owner is not None:
            self._owner.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        owner, self._owner = self._owner, None
        assert owner is not None
        assert self._timer is not None
        self._timer.cancel()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
        if not self._gone:
            return
        ours_alone = owner.uncancel() <= self._cancelling
        if ours_alone and kind is not None and issubclass(kind, (asyncio.CancelledError, GatewayError)):
            raise ClientGone from exc
