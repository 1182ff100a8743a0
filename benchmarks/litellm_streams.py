"""LiteLLM's figures for `benchmarks.conversions`, which runs this file with the Python of LiteLLM's own environment.

    python litellm_streams.py SECONDS_PER_FIGURE CHUNKS < streams.json > figures.json

Its public functions are called as its proxy calls them and its HTTP client is given the stream without a socket, so
that what is timed is reading events, converting and writing them. Every piece it brings out is written as its proxy
writes it. A pair it has no way for (it then asks another upstream API than the wanted) has no figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib.metadata import version
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["DISABLE_AIOHTTP_TRANSPORT"] = "True"

with contextlib.redirect_stdout(sys.stderr):
    import httpx
    import litellm  # type: ignore[import-not-found]

    litellm.suppress_debug_info = True
    litellm.disable_aiohttp_transport = True
    logging.disable(logging.CRITICAL)

UPSTREAM = {
    "openai_chat": ("groq/llama-3.3-70b-versatile", "/chat/completions"),
    "openai_responses": ("openai/responses/gpt-4o", "/responses"),
    "anthropic_messages": ("anthropic/claude-sonnet-4-5", "/messages"),
    "gemini": ("gemini/gemini-2.5-flash", ":streamGenerateContent"),
}
"""A model that LiteLLM asks in this format, and how the path ends that it then calls."""


class Events(httpx.AsyncByteStream):
    """A stream that arrives event by event."""

    def __init__(self, events: list[bytes]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            yield event

    async def aclose(self) -> None:
        pass


class Upstream:
    """Answers every request with one stream; remembers what path was asked."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.path = ""

    def transport(self) -> Callable[[Any, httpx.Request], Coroutine[Any, Any, httpx.Response]]:
        """What to put in place of the method of httpx that sends."""

        async def handle_async_request(_self: object, request: httpx.Request) -> httpx.Response:
            self.path = request.url.path
            headers = {"content-type": "text/event-stream"}
            return httpx.Response(200, headers=headers, stream=Events(self.events), request=request)

        return handle_async_request


async def ask_chat(model: str) -> Any:
    messages = [{"role": "user", "content": "x"}]
    return await litellm.acompletion(model=model, api_key="k", messages=messages, stream=True)


async def ask_responses(model: str) -> Any:
    return await litellm.aresponses(model=model, api_key="k", input="x", stream=True)


async def ask_messages(model: str) -> Any:
    messages = [{"role": "user", "content": "x"}]
    return await litellm.anthropic_messages(model=model, api_key="k", messages=messages, max_tokens=1000, stream=True)


async def ask_gemini(model: str) -> Any:
    contents = [{"role": "user", "parts": [{"text": "x"}]}]
    return await litellm.google_genai.agenerate_content_stream(model=model, api_key="k", contents=contents)


CLIENT: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
    "openai_chat": ask_chat,
    "openai_responses": ask_responses,
    "anthropic_messages": ask_messages,
    "gemini": ask_gemini,
}


def written(piece: Any) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, dict):
        return f"data: {json.dumps(piece)}\n\n".encode()
    return f"data: {piece.model_dump_json(exclude_none=True, exclude_unset=True)}\n\n".encode()


async def figure(upstream: Upstream, client: str, wire: str, seconds: float) -> float | None:
    """Seconds of CPU time for one stream; `None` when this pair has no way through."""
    model, path = UPSTREAM[wire]
    best: float | None = None
    deadline = time.perf_counter() + seconds
    while best is None or time.perf_counter() < deadline:
        upstream.path = ""
        answer = await CLIENT[client](model)
        started = time.process_time()  # what a request costs once is not the stream's
        size = 0
        async for piece in answer:
            size += len(written(piece))
        took = time.process_time() - started
        if not upstream.path.endswith(path) or not size:
            return None
        best = took if best is None else min(best, took)
    return best


async def main() -> None:
    seconds, chunks = float(sys.argv[1]), int(sys.argv[2])
    upstream = Upstream()
    setattr(httpx.AsyncHTTPTransport, "handle_async_request", upstream.transport())  # noqa: B010 - mypy takes no other
    figures = {}
    for name, events in json.load(sys.stdin).items():
        wire = name.split("/")[0]
        upstream.events = [event.encode() for event in events]
        for client in CLIENT:
            try:
                took = await figure(upstream, client, wire, seconds)
            except Exception as exc:  # noqa: BLE001 - a pair that does not work must not end the others
                print(f"LiteLLM, {client} client, {name}: {exc!r:.200}", file=sys.stderr)
                took = None
            figures[f"{name}/{client}"] = None if took is None else took / chunks * 1e6
    print(json.dumps({"version": version("litellm"), "figures": figures}), file=OUT)


if __name__ == "__main__":
    OUT = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # it prints hints to standard output
        asyncio.run(main())
