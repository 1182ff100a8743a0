"""Claude Messages (and Responses, and Gemini) in front of an app that only speaks Chat Completions."""

from json import dumps

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from oneapi_mw.middleware.convert import ConvertMiddleware


async def chat(request: Request) -> StreamingResponse:
    function = {"name": "shout", "arguments": dumps({"text": (await request.json())["messages"][-1]["content"]})}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    told: list[tuple[object, object]] = [({"content": "Loud: "}, None), ({"tool_calls": [call]}, None)]
    choices = [{"index": 0, "delta": delta, "finish_reason": end} for delta, end in [*told, ({}, "tool_calls")]]
    chunks = [dumps({"choices": [choice]}) for choice in choices]
    events = [f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]]
    return StreamingResponse(iter(events), media_type="text/event-stream")


stages = [Middleware(ConvertMiddleware, speaks="openai_chat")]
app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], middleware=stages)
