"""Clients of other formats before an app that speaks one and knows nothing of us."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from oneapi_mw.middleware.convert import ConvertMiddleware
from tests.support.harness import Exchanged, call

MESSAGES = "/v1/messages"
BODY = {
    "model": "deepseek-reasoner",
    "max_tokens": 9,
    "top_k": 5,
    "thinking": {"type": "disabled"},
    "messages": [{"role": "user", "content": "2+2"}],
}


class ChatApp:
    """Reasons whatever it is asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked = orjson.loads((await receive())["body"])
        message = {"role": "assistant", "reasoning_content": "Hush.", "content": "4"}
        body = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(body)})


async def ask(app: ChatApp, query: bytes = b"", **changes: Any) -> Exchanged:
    body = {name: value for name, value in {**BODY, **changes}.items() if value is not None}
    return await call(ConvertMiddleware(app, speaks="openai_chat"), "POST", MESSAGES, json=body, query=query)


async def test_what_it_cannot_be_told_has_the_clients_name() -> None:
    told = await ask(ChatApp())
    assert told.headers["x-oneapi-dropped"] == "thinking, top_k"


async def test_reasoning_nobody_wanted_is_hidden() -> None:
    assert b"Hush." not in (await ask(ChatApp())).body
    assert b"Hush." in (await ask(ChatApp(), thinking=None)).body


async def test_a_wish_reaches_it() -> None:
    app = ChatApp()
    await ask(app, b"reasoning_effort=low", model="gpt-oss-120b", thinking=None)
    assert app.asked["reasoning_effort"] == "low"
