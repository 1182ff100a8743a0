"""`oneapi_mw.asgi:app` for any ASGI server: the gateway with its settings from the environment.

    uvicorn oneapi_mw.asgi:app

Nothing is read before the server starts the application. The process is taken to be the gateway's own: its garbage
collector is tuned. Inside a host's process use `Gateway`.
"""

from __future__ import annotations

from starlette.types import Message, Receive, Scope, Send

from oneapi_mw.app import Gateway
from oneapi_mw.process import tune_memory
from oneapi_mw.settings import Settings


def create_app(settings: Settings | None = None, *, loopback: bool | None = None) -> Gateway:
    """A gateway with `settings`, by default those of the environment."""
    return Gateway(settings or Settings.from_environment(), loopback=loopback)


class _FromEnvironment:
    """Makes the gateway at the first event, so that importing this module reads no environment."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._gateway is None:
            self._gateway = create_app()
        await self._gateway(scope, receive, _tuning(send) if scope["type"] == "lifespan" else send)


def _tuning(send: Send) -> Send:
    """`send` for the lifespan: what start-up has loaded stays."""

    async def sending(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            tune_memory()
        await send(message)

    return sending


app = _FromEnvironment()
