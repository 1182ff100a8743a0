"""Two middlewares over any ASGI app, without a database: API keys and a rate limit for an app that has neither."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from oneapi_mw.middleware.auth import AuthMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.middleware.ratelimit import RateLimitMiddleware
from oneapi_mw.principal import PRINCIPAL, Principal
from oneapi_mw.ratelimit.memory import MemoryLimiter


class Keys:
    """Any object with this one method will do: a dict, a file, the host's own database."""

    async def find(self, key: str) -> Principal | None:
        if key != "alice-key":
            return None
        return Principal(
            user_id=1,
            user_uuid="",
            username="alice",
            group="default",
            role=1,
            user_status=1,
            token_id=1,
            token_uuid="",
            token_name="alice's key",
            token_status=1,
        )


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello {PRINCIPAL.get(request.scope).username}")


app = Starlette(
    routes=[Route("/", hello)],
    middleware=[
        Middleware(ExchangeMiddleware),
        Middleware(ErrorsMiddleware),
        Middleware(AuthMiddleware, principals=Keys()),
        Middleware(RateLimitMiddleware, limiter=MemoryLimiter(limit=3, seconds=60)),
    ],
)
