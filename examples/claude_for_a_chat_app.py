"""Claude Messages (and Responses, and Gemini) in front of an app that only speaks Chat Completions."""

from collections.abc import AsyncIterator
from json import dumps

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from oneapi_mw.middleware.convert import ConvertMiddleware


async def chat(request: Request) -> StreamingResponse:
    asked = (await request.json())["messages"][-1]["content"]
    function = {"name": "shout", "arguments": dumps({"text": asked})}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}

    async def events() -> AsyncIterator[str]:
        for delta, finish in (({"content": "Loud: "}, None), ({"tool_calls": [call]}, None), ({}, "tool_calls")):
            yield f"data: {dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


stages = [Middleware(ConvertMiddleware, speaks="openai_chat")]
app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], middleware=stages)
