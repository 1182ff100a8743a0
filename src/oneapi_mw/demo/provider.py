"""The `demo` provider: a scripted upstream that speaks the real Chat Completions wire format.

It thinks nothing and knows nothing, but everything around an answer is as a real provider does it: tool
calls, streams with usage, errors for bad requests. Usage counts words and punctuation marks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

MODEL = "demo"
KEY = "demo-provider-key"
_WORD = re.compile(r"\w+|[^\w\s]")
_CREATED = 1_700_000_000

Json = dict[str, Any]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`POST /v1/chat/completions` and `GET /v1/models`, authenticated with `KEY`."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if (b"authorization", b"Bearer " + KEY.encode()) not in scope["headers"]:
        await _json(send, 401, _error("Incorrect API key provided", "invalid_api_key"))
    elif scope["path"] == "/v1/models":
        await _json(send, 200, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": _CREATED}]})
    elif scope["path"] != "/v1/chat/completions":
        await _json(send, 404, _error(f"Invalid URL ({scope['method']} {scope['path']})", "not_found"))
    else:
        await _chat(await _body(receive), send)


async def _chat(raw: bytes, send: Send) -> None:
    try:
        request = orjson.loads(raw)
        messages, model = request["messages"], request["model"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        await _json(send, 400, _error("We could not parse the JSON body of your request", "invalid_json"))
        return
    if model != MODEL:
        await _json(send, 404, _error(f"The model {model!r} does not exist", "model_not_found"))
        return
    answer = answer_for(request)
    usage = count_usage(messages, answer)
    identity = "chatcmpl-demo" + hashlib.sha256(raw).hexdigest()[:16]
    if not request.get("stream"):
        await _json(send, 200, _completion(identity, answer, usage))
        return
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")],
        }
    )
    wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    for chunk in _chunks(identity, answer, usage if wants_usage else None):
        await send({"type": "http.response.body", "body": b"data: " + chunk + b"\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def answer_for(request: Json) -> Json:
    """The assistant message for `request`: a call of the first tool when there is one, else a sentence."""
    asked = _text_of(request["messages"][-1])
    tools = request.get("tools") or []
    if tools and request["messages"][-1].get("role") == "user":
        name = tools[0]["function"]["name"]
        call = {"id": "call_demo0000", "type": "function", "function": {"name": name, "arguments": '{"city":"Paris"}'}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": f"You said: {asked!r}. This is the demo provider speaking."}


def count_usage(messages: list[Json], answer: Json) -> Json:
    """Words and punctuation marks, three more per message."""
    prompt = sum(len(_WORD.findall(_text_of(message))) + 3 for message in messages)
    text = answer["content"] or orjson.dumps(answer["tool_calls"][0]["function"]).decode()
    completion = len(_WORD.findall(text))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _text_of(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if isinstance(part, dict))
    return ""


def _finish(answer: Json) -> str:
    return "tool_calls" if answer.get("tool_calls") else "stop"


def _completion(identity: str, answer: Json, usage: Json) -> Json:
    return {
        "id": identity,
        "object": "chat.completion",
        "created": _CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": answer, "finish_reason": _finish(answer), "logprobs": None}],
        "usage": usage,
        "system_fingerprint": "fp_demo",
    }


def _chunks(identity: str, answer: Json, usage: Json | None) -> Iterator[bytes]:
    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return orjson.dumps({**head, "choices": [choice]})

    head = {"id": identity, "object": "chat.completion.chunk", "created": _CREATED, "model": MODEL}
    yield chunk({"role": "assistant", "content": ""})
    if answer["content"]:
        for piece in re.findall(r"\S+\s*", answer["content"]):
            yield chunk({"content": piece})
    for index, call in enumerate(answer.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]})
        for piece in re.findall(r".{1,5}", call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _finish(answer))
    if usage is not None:
        yield orjson.dumps({**head, "choices": [], "usage": usage})
    yield b"[DONE]"


def _error(message: str, code: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


async def _json(send: Send, status: int, body: Json) -> None:
    data = orjson.dumps(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
