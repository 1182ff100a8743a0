"""A stage of your own in the gateway's pipeline: refuse prompts that contain a word.

A stage is a pure ASGI middleware. It says which scope keys it reads, and the pipeline refuses to be built in an
order where nobody has written them yet.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw import Gateway, Settings
from oneapi_mw.canonical.call import CALL
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.middleware.route import RouteMiddleware
from oneapi_mw.pipeline import insert_before


class WordFilterMiddleware:
    """Refuse requests whose body mentions `word`. Reads `CALL`."""

    requires, provides = (CALL,), ()

    def __init__(self, app: ASGIApp, *, word: str) -> None:
        self.app = app
        self.word = word

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.find(scope)
        if call is not None and self.word in str(call.body):
            raise InvalidRequest(f"The word {self.word!r} is not allowed here", param="messages")
        await self.app(scope, receive, send)


def with_filter(stages: list[Middleware]) -> list[Middleware]:
    """Before routing: a refused prompt needs no channel and no quota."""
    return insert_before(stages, RouteMiddleware, Middleware(WordFilterMiddleware, word="xyzzy"))


def create_app(settings: Settings) -> Gateway:
    return Gateway(settings, stages=with_filter)
