"""Routes as One API matches them: exact paths, and a wrong method is an unknown path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import starlette.routing
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from oneapi_mw.admin.envelope import unknown_path
from oneapi_mw.scope import route_path


class _ExactRoute(Route):
    """A route that is not there for any other method."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return (match, child) if match is Match.FULL else (Match.NONE, {})


def route(method: str, path: str, handle: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route for `method` alone: HEAD runs no handler, as some handlers of GET change something."""
    made = _ExactRoute(path, handle, methods=[method])
    made.methods = {method}
    return made


class Router(starlette.routing.Router):
    """Starlette's router without redirects and without 405."""

    def __init__(self, routes: Sequence[Route]) -> None:
        super().__init__(routes, redirect_slashes=False)

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().not_found(scope, receive, send)
            return
        response = unknown_path(scope["method"], route_path(scope))
        await response(scope, receive, send)
