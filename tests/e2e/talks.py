"""Conversations of official SDKs with strict vendors through a gateway that is paid: what tests of lost reasoning are
made of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from tests.e2e.clients import Ask, Client, Said, all_clients
from tests.support import servers
from tests.support.serving import Site, site
from tests.vendors.app import KEY, Vendor
from tests.vendors.direct import two_calls
from tests.vendors.scripting import Json
from tests.vendors.server import vendor_server
from tests.vendors.signing import Signer

WEATHER = ("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})
TIME = ("get_time", {"type": "object", "properties": {"zone": {"type": "string"}}})
TOOLS = (WEATHER, TIME)
CLIENTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
PRICE = {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}
MODELS = {
    "openai_chat": ("gpt-5-mini",),
    "deepseek": ("gpt-5-mini",),
    "openai_responses": ("gpt-5-mini",),
    "anthropic_messages": ("claude-haiku-4-5", "claude-opus-5-5"),
    "gemini": ("gemini-2.5-flash", "gemini-3-flash-preview", "aurora"),
}
CHANNELS: dict[str, Json] = {
    "openai_chat": {"type": 50, "config": {"api_format": "chat_completion"}},
    "deepseek": {"type": 50, "config": {"api_format": "chat_completion"}},
    "openai_responses": {"type": 50, "config": {"api_format": "response"}},
    "anthropic_messages": {"type": 14, "config": {}},
    "gemini": {"type": 24, "config": {}},
}
DEEPSEEK: Json = {"name": "openai_chat", "reasoning_field": "reasoning_content", "wants_reasoning": True}
"""A host that wants reasoning back of models the gateway does not know to need it."""


@dataclass
class World:
    gateway: Site
    clients: dict[str, Client]
    vendors: dict[str, Vendor]


@asynccontextmanager
async def served_world(directory: Path) -> AsyncIterator[World]:
    """A gateway with its database in `directory`, all vendors and all clients."""
    async with AsyncExitStack() as stack:
        url = await servers.migrated_database("sqlite", directory)
        gateway = await stack.enter_async_context(site(url, retry_times=1))
        vendors = {}
        for name, models in MODELS.items():
            vendor = vendors[name] = await stack.enter_async_context(
                vendor_server(**(DEEPSEEK if name == "deepseek" else {"name": name}))
            )
            for number in (1, 2):  # two alike, so that a retry would show
                await gateway.add_channel(vendor.url, **channel(name, number, models))
        clients = await stack.enter_async_context(all_clients(gateway.base, gateway.key))
        yield World(gateway, clients, vendors)


def channel(name: str, number: int, models: tuple[str, ...]) -> Json:
    names = {f"{name}.{model}": model for model in models}
    return {
        "name": f"{name}-{number}",
        "type": CHANNELS[name]["type"],
        "key": KEY,
        "models": ",".join(names),
        "model_mapping": json.dumps(names),
        "model_configs": json.dumps(dict.fromkeys(models, PRICE)),
        "config": json.dumps(CHANNELS[name]["config"]),
    }


class Talk:
    """One client and one vendor. Every request is paid for once, whatever it took."""

    def __init__(
        self, world: World, client: str, upstream: str, model: str, *, stream: bool, name: str | None = None
    ) -> None:
        self.client = world.clients[client]
        self.vendor = world.vendors[upstream]
        self.vendor.signer = Signer(self.vendor.name)
        self.vendor.script = two_calls
        self.gateway = world.gateway
        self._model = name or f"{upstream}.{model}"
        self._stream = stream
        self._seen = len(self.vendor.requests)
        self.history: list[Any] = [self.client.user("hello")]

    async def ask(self, **options: Any) -> Said:
        """Raises what the SDK does."""
        before = await self._paid()
        said = await self.say(**options)
        quota, charges, charged = await self._paid()
        assert (before[0] - quota, charges - before[1]) == (charged, 1), "CV-46: one charge, and no other"
        assert charged > 0
        return said

    async def say(self, **options: Any) -> Said:
        """The same for somebody else's money."""
        options = {"tools": TOOLS, "system": "Be brief.", "thinks": True, **options}
        self._seen = len(self.vendor.requests)
        return await self.client.ask(self.history, Ask(self._model, self._stream, **options))

    async def refused(self, words: str) -> str:
        """Asks for what is refused in the client's own dialect, with `words` and for nothing."""
        before = await self._paid()
        self._seen = len(self.vendor.requests)
        asked = Ask(self._model, self._stream, tools=TOOLS, system="Be brief.", thinks=True)
        with pytest.raises((openai.BadRequestError, anthropic.BadRequestError, genai.errors.ClientError)) as caught:
            await self.client.ask(self.history, asked)
        assert words in str(caught.value)
        assert await self._paid() == before
        return str(caught.value)

    async def _paid(self) -> tuple[int, int, int]:
        """Root's quota, how many charges there are, and the last of them."""
        rows = await self.gateway.get("/api/log/", p=0, size=100)
        user = await self.gateway.get("/api/user/self")
        return user["quota"], user["request_count"], rows[0]["quota"] if rows else 0

    async def begin(self, *, whole: bool = True, **options: Any) -> Said:
        """The user asks, two tools are called and answer: what the next request is about."""
        said = await self.ask(**options)
        self.history += [*self.client.returned(said, whole=whole), *self.client.results(said, "7 C", "noon")]
        return said

    @property
    def asked(self) -> list[Any]:
        """What the vendor was sent for the last request."""
        return self.vendor.requests[self._seen :]

    @property
    def sent(self) -> Any:
        """The body that was answered."""
        return self.asked[-1].body

    def repaired(self, said: Said, words: str) -> None:
        """The first request was refused with `words`, the second answered."""
        assert (said.text, said.finish) == ("Both said: 7 C and noon", "stop")
        refusals = [request.refusal for request in self.asked]
        assert [refusal is None for refusal in refusals] == [False, True], refusals
        assert words in str(refusals[0])
