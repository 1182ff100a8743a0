"""The gateway inside somebody else's application, at a prefix of its choosing.

A mounted app is not told when the server starts and stops, so the host's own lifespan enters the gateway's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from oneapi_mw import Gateway, Settings


def in_starlette(settings: Settings) -> Starlette:
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway.lifespan():
            yield

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("the host's own route")

    return Starlette(routes=[Route("/", hello), Mount("/llm", gateway)], lifespan=lifespan)


def in_fastapi(settings: Settings) -> FastAPI:
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with gateway.lifespan():
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def hello() -> str:
        return "the host's own route"

    app.mount("/llm", gateway)
    return app
