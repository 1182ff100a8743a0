"""Reasoning under the name each client wants, in front of any chat-only server: here a stand-in for a vLLM."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.middleware.reasoning import ReasoningMiddleware


async def chat(request: Request) -> JSONResponse:
    message = {"role": "assistant", "content": "<think>\nAdd the units.</think>\n\n2."}
    return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


stages = [Middleware(ExchangeMiddleware), Middleware(ErrorsMiddleware), Middleware(ReasoningMiddleware)]
app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], middleware=stages)
