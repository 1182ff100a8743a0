"""Ask a vendor without a socket, for single bodies and what is said about them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.vendors.app import Json, Vendor
from tests.vendors.scripting import Asked, Call, Scripted

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
}


def credentials(vendor: Vendor) -> dict[str, str]:
    """The header fields the vendor wants to see."""
    match vendor.name:
        case "anthropic_messages":
            return {"x-api-key": vendor.key, "anthropic-version": "2023-06-01"}
        case "gemini":
            return {"x-goog-api-key": vendor.key}
        case _:
            return {"authorization": f"Bearer {vendor.key}"}


async def ask(
    vendor: Vendor, body: Any, *, model: str = "", path: str = "", headers: dict[str, str] | None = None
) -> httpx.Response:
    """What `vendor` answers to `body`; `model` where it is part of the path."""
    fields = credentials(vendor) if headers is None else headers
    async with httpx.AsyncClient(transport=httpx.ASGITransport(vendor), base_url="http://vendor") as client:
        return await client.post(path or PATHS[vendor.name].format(model=model), json=body, headers=fields)


async def refusal(vendor: Vendor, body: Any, *, model: str = "", headers: dict[str, str] | None = None) -> Json:
    """The error object of a 4xx."""
    answer = await ask(vendor, body, model=model, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    found = answer.json()
    error: Json = (found[0] if isinstance(found, list) else found)["error"]
    return error


def two_calls(asked: Asked) -> Scripted:
    """Calls two tools when the user asks, and tells what they said."""
    if asked.last == "tool":
        return Scripted(text="Both said: " + " and ".join(asked.results))
    return Scripted(
        text="Let me see.", tool_calls=(Call("get_weather", {"city": "Oslo"}), Call("get_time", {"zone": "CET"}))
    )
