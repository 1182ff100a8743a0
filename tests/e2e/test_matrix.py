"""Every client format with every upstream: official SDKs as clients, strict stand-ins as vendors, a real gateway.

With `ONEAPI_WRITE_MATRIX=1` the run writes `docs/matrix.md`: a cell passes when it does with every model, buffered and
streamed.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import Ask, Client, Said, all_clients
from tests.support import servers
from tests.support.serving import Site, site
from tests.vendors.app import KEY, Vendor
from tests.vendors.direct import two_calls
from tests.vendors.media import PNG
from tests.vendors.scripting import Json, Scripted, Tokens
from tests.vendors.server import vendor_server

FORMATS = {
    "openai_chat": "Chat Completions",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "gemini": "generateContent",
}
MODELS = {
    "openai_chat": ("gpt-4o-mini", "gpt-5-mini"),
    "openai_responses": ("gpt-4o-mini", "gpt-5-mini"),
    "anthropic_messages": ("claude-haiku-4-5", "claude-opus-5-5"),
    "gemini": ("gemini-2.5-flash", "gemini-3-flash-preview"),
}
"""One that is gentle and one that is strict: reasoning without being asked, bound thinking, required signatures."""
CHANNELS: dict[str, Json] = {
    # type 1 speaks whatever of its two formats the client speaks; 50 is told which
    "openai_chat": {"type": 50, "config": {"api_format": "chat_completion"}},
    "openai_responses": {"type": 50, "config": {"api_format": "response"}},
    "anthropic_messages": {"type": 14, "config": {}},
    "gemini": {"type": 24, "config": {}},
}
NEVER_REASON = frozenset({"gpt-4o-mini"})
NEVER_FORCED = frozenset({"claude-opus-5-5"})
"""Models that refuse to be told which tool to call."""
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ZONE = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
STRICT = {**CITY, "additionalProperties": False}
WEATHER, TIME = ("get_weather", CITY), ("get_time", ZONE)
BOTH = (WEATHER, TIME)
TABLE = Path(__file__).parents[2] / "docs" / "matrix.md"


@dataclass
class World:
    """Everything that is served while the matrix runs."""

    gateway: Site
    clients: dict[str, Client]
    vendors: dict[str, Vendor]
    outcomes: dict[tuple[str, str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    """By client, upstream and feature."""


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        url = await servers.migrated_database("sqlite", tmp_path_factory.mktemp("matrix"))
        gateway = await stack.enter_async_context(site(url))
        vendors = {name: await stack.enter_async_context(vendor_server(name)) for name in FORMATS}
        for name, vendor in vendors.items():
            await gateway.add_channel(vendor.url, **channel(name))
        clients = await stack.enter_async_context(all_clients(gateway.base, gateway.key))
        world = World(gateway, clients, vendors)
        yield world
        if os.environ.get("ONEAPI_WRITE_MATRIX"):
            TABLE.parent.mkdir(exist_ok=True)
            TABLE.write_text(table(world.outcomes))


def channel(name: str) -> Json:
    """One account at a stand-in, whose models have names that say so."""
    row = CHANNELS[name]
    names = {alias(name, model): model for model in MODELS[name]}
    return {
        "name": name,
        "type": row["type"],
        "key": KEY,
        "models": ",".join(names),
        "model_mapping": json.dumps(names),
        "config": json.dumps({**row["config"], "unknown_model_policy": "free"}),
    }


def alias(upstream: str, model: str) -> str:
    return f"{upstream}.{model}"


@dataclass(frozen=True)
class Cell:
    """One client, one upstream and its model, buffered or streamed."""

    client: Client
    vendor: Vendor
    gateway: Site
    model: str
    """At the vendor."""
    stream: bool

    async def ask(self, *history: Any, **options: Any) -> Said:
        asked = Ask(alias(self.vendor.name, self.model), self.stream, **options)
        return await self.client.ask(list(history), asked)

    @property
    def shows_reasoning(self) -> bool:
        """OpenAI tells nobody on Chat Completions."""
        return self.vendor.name != "openai_chat"


async def text(cell: Cell) -> None:
    said = await cell.ask(cell.client.user("hello there"), system="Be brief.")
    assert (said.text, said.finish) == ("You said: hello there.", "stop")
    assert cell.vendor.asked[-1].system == "Be brief."
    assert said.usage == ledger(cell)


def ledger(cell: Cell) -> Tokens:
    """What the vendor itself counted for the last answer."""
    return list(cell.vendor.ledger.values())[-1]


async def tools(cell: Cell) -> None:
    said = await cell.ask(cell.client.user("hello"), tools=(WEATHER,))
    assert [(call.name, call.arguments) for call in said.calls] == [("get_weather", {"city": "city"})]
    assert said.finish == "tool_calls"
    assert [tool.name for tool in cell.vendor.asked[-1].tools] == ["get_weather"]


async def tool_choice(cell: Cell) -> None:
    said = await cell.ask(cell.client.user("hello"), tools=BOTH, choice="get_time")
    asked = cell.vendor.asked[-1]
    if cell.model in NEVER_FORCED:
        assert asked.choice == "auto"
        assert "get_time" in asked.system
        return
    assert [(call.name, call.arguments) for call in said.calls] == [("get_time", {"zone": "zone"})]
    assert (asked.choice, asked.only) == ("required", ("get_time",))


async def parallel_tools(cell: Cell) -> None:
    cell.vendor.script = two_calls
    said = await cell.ask(cell.client.user("hello"), tools=BOTH)
    expected = [("get_weather", {"city": "Oslo"}), ("get_time", {"zone": "CET"})]
    assert [(call.name, call.arguments) for call in said.calls] == expected
    assert len({call.id for call in said.calls}) == (2 if said.calls[0].id else 1)
    assert said.text == "Let me see."


async def tool_history(cell: Cell) -> None:
    await converse(cell, whole=True)


async def bare_tool_history(cell: Cell) -> None:
    await converse(cell, whole=False)


async def converse(cell: Cell, *, whole: bool, **options: Any) -> list[Said]:
    """The user asks, two tools are called and answer, the model tells, the user asks again."""
    cell.vendor.script = two_calls
    client = cell.client
    begun: list[Any] = [client.user("hello")]
    first = await cell.ask(*begun, tools=BOTH, system="Be brief.", **options)
    begun += [*client.returned(first, whole=whole), *client.results(first, "7 C", "noon")]
    second = await cell.ask(*begun, tools=BOTH, system="Be brief.", **options)
    assert (second.text, second.finish) == ("Both said: 7 C and noon", "stop")
    assert cell.vendor.asked[-1].results == ("7 C", "noon")
    if whole:
        assert cell.vendor.requests[-1].notes == []
    begun += [*client.returned(second, whole=whole), client.user("and now?")]
    cell.vendor.script = Scripted(text="Goodbye.")
    third = await cell.ask(*begun, tools=BOTH, system="Be brief.", **options)
    assert third.text == "Goodbye."
    return [first, second, third]


async def structured_output(cell: Cell) -> None:
    said = await cell.ask(cell.client.user("hello"), schema=STRICT)
    assert (said.text, said.finish) == ('{"city":"city"}', "stop")
    assert cell.vendor.asked[-1].schema


async def vision(cell: Cell) -> None:
    said = await cell.ask(cell.client.user("look", image=PNG))
    assert said.text == "You said: look. I see image/png."


async def reasoning(cell: Cell) -> None:
    first = (await converse(cell, whole=True, thinks=True))[0]
    assert first.usage.reasoning == 4
    assert first.reasoning == ("I was asked: hello" if cell.shows_reasoning else "")
    if cell.shows_reasoning:
        assert all(has_reasoning(cell, request.body) for request in cell.vendor.requests[-2:])


def has_reasoning(cell: Cell, body: Json) -> bool:
    """Whether a request brings back what the vendor signed."""
    match cell.vendor.name:
        case "openai_responses":
            return any(item.get("encrypted_content") for item in body["input"])
        case "anthropic_messages":
            blocks = [block for message in body["messages"] for block in message["content"] if isinstance(block, dict)]
            return any(block["type"] == "thinking" for block in blocks)
        case _:
            return any("thoughtSignature" in part for content in body["contents"] for part in content["parts"])


async def bare_reasoning(cell: Cell) -> None:
    await converse(cell, whole=False, thinks=True)


async def stop_reasons(cell: Cell) -> None:
    cell.vendor.script = Scripted(text="word " * 50)
    said = await cell.ask(cell.client.user("hello"), max_output=20)
    assert said.finish == "length"
    assert said.text.split() == ["word"] * (20 - said.usage.reasoning)


async def usage(cell: Cell) -> None:
    told = Tokens(input=120, output=9, cached=64)
    cell.vendor.script = Scripted(text="Hi", usage=told)
    said = await cell.ask(cell.client.user("hello"))
    assert said.usage == told == ledger(cell)
    row = (await cell.gateway.get("/api/log/", p=0))[0]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (120, 9)


FEATURES: dict[str, Callable[[Cell], Awaitable[None]]] = {
    "text": text,
    "tools": tools,
    "tool choice": tool_choice,
    "parallel tools": parallel_tools,
    "tool history": tool_history,
    "tool history, bare": bare_tool_history,
    "structured output": structured_output,
    "vision": vision,
    "reasoning": reasoning,
    "reasoning, bare": bare_reasoning,
    "stop reasons": stop_reasons,
    "usage": usage,
}
"""`bare`: the client returns only role, content and tool calls."""


def cells() -> Iterator[Any]:
    models = [(upstream, model) for upstream, names in MODELS.items() for model in names]
    for client, (upstream, model), feature, stream in product(FORMATS, models, FEATURES, (False, True)):
        if can_be_asked(client, model, feature):
            words = (client, upstream, model, feature.replace(" ", "_"), "stream" if stream else "buffered")
            yield pytest.param(client, upstream, model, feature, stream, id="-".join(words))


def can_be_asked(client: str, model: str, feature: str) -> bool:
    """Whether the vendor himself would not refuse it."""
    if feature == "tool choice":
        return not (model in NEVER_FORCED and client == "anthropic_messages")
    return not (model in NEVER_REASON and "reasoning" in feature)


@pytest.mark.parametrize(("client", "upstream", "model", "feature", "stream"), list(cells()))
async def test_cell(world: World, client: str, upstream: str, model: str, feature: str, stream: bool) -> None:
    vendor = world.vendors[upstream]
    vendor.script = None
    cell = Cell(world.clients[client], vendor, world.gateway, model, stream)
    before = len(vendor.requests)
    outcome = world.outcomes[client, upstream, feature]
    outcome.append(False)
    try:
        await FEATURES[feature](cell)
    except Exception:
        refused = [request.refusal.message for request in vendor.requests[before:] if request.refusal is not None]
        if refused:
            pytest.fail(f"the vendor refused: {refused}; it was sent {vendor.requests[-1].body}")
        raise
    outcome[-1] = True


def table(outcomes: dict[tuple[str, str, str], list[bool]]) -> str:
    """The matrix in Markdown, one row a client and feature."""
    lines = [
        "# Conversion matrix",
        "",
        "Official SDKs ask in their format (rows), the gateway reaches stand-ins of the vendors, as strict as the",
        "vendors (columns). Each cell is asked buffered and streamed, with two models of the vendor. Written by",
        "`ONEAPI_WRITE_MATRIX=1 pytest tests/e2e/test_matrix.py`.",
        "",
        "| Client | Feature | " + " | ".join(FORMATS.values()) + " |",
        "|---|---|" + "---|" * len(FORMATS),
    ]
    for client, name in FORMATS.items():
        for feature in FEATURES:
            row = [mark(outcomes.get((client, upstream, feature), [])) for upstream in FORMATS]
            lines.append(f"| {name} | {feature} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def mark(outcome: list[bool]) -> str:
    if not outcome:
        return "-"
    good = sum(outcome)
    return "pass" if good == len(outcome) else f"FAIL ({good}/{len(outcome)})"
