"""A day of mixed traffic whose providers keep records of their own: what was asked, and what it must cost.

Every request has a number, which stands in its prompt, in a header, and decides all about it: who asks, when, in
which format, for what, and what goes wrong. So nothing depends on the order in which requests are served.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Literal

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.usage import Usage
from tests.pricing import rational
from tests.vendors.app import KEY, Json, Vendor
from tests.vendors.scripting import Asked, Fault, Step, Tokens, completed, default_answer
from tests.vendors.server import vendor_named

FORMATS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
MODELS = {
    "openai_chat": "gpt-5-mini",
    "openai_responses": "gpt-5-mini",
    "anthropic_messages": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}
CHANNELS: Mapping[str, Json] = {
    "openai_chat": {"type": 50, "config": {"api_format": "chat_completion", "fan_out_n": True}},
    "openai_responses": {"type": 50, "config": {"api_format": "response", "fan_out_n": True}},
    "anthropic_messages": {"type": 52, "config": {"fan_out_n": True}},
    "gemini": {"type": 24, "config": {"fan_out_n": True}},
}
MIDNIGHT = 1_790_812_800  # 2026-10-01 00:00 UTC
GROUPS = {"default": Fraction(1), "vip": Fraction(4, 5), "odd": Fraction(1_333_333, 1_000_000), "free": Fraction(0)}
NUMBER, INSTANT = "x-number", "x-instant"
_NUMBER = re.compile(r"request (\d+)\b")


def card_of(vendor: str, number: int) -> Json:
    """The price card of one channel: with cached input, a tier, and hours that are cheaper."""
    base = 1 + FORMATS.index(vendor) + 4 * number
    prices = {
        "input_usd_per_mtok": f"{base}.3",
        "output_usd_per_mtok": f"{5 * base}.7",
        "cache_read_usd_per_mtok": f"0.{base}7",
        "cache_write_5m_usd_per_mtok": f"{base}.9",
    }
    night = {"timezone": "Asia/Shanghai", "ranges": [{"start": "22:00", "end": "06:30"}]}
    noon = {"timezone": "Europe/Berlin", "ranges": [{"start": "12:00", "end": "13:00"}]}
    tier = {"input_tokens_from": 50_000, "output_tokens_from": 0, "input_usd_per_mtok": f"{2 * base}.1"}
    return {
        **prices,
        "tiers": [tier],
        "time_windows": [
            {**night, "name": "night", "overlay": {"input_usd_per_mtok": f"0.{base}1"}},
            {**noon, "name": "noon", "overlay": {"output_usd_per_mtok": f"{9 * base}.3"}},
        ],
    }


@dataclass(frozen=True)
class Account:
    """Who asks: a token, its user, and the group that decides the ratio."""

    token: int
    user: int
    group: str


Trouble = Literal["", "leaves", "leaves-early", "breaks", "falls-silent"]


@dataclass(frozen=True)
class Request:
    """One request of the day."""

    number: int
    account: Account
    instant: int
    """Unix seconds."""
    client: str
    vendor: str
    stream: bool
    thinks: bool
    tools: bool
    answers: int
    trouble: Trouble
    refusals: int
    """Channels that refuse it before one serves it."""
    usage: Tokens

    @staticmethod
    def numbered(number: int, seed: int, accounts: Sequence[Account], *, channels: int) -> Request:
        rng = random.Random(f"{seed}-{number}")
        client, vendor = rng.choice(FORMATS), rng.choice(FORMATS)
        answers = 2 if client == "openai_chat" and vendor != "openai_chat" and rng.random() < 0.15 else 1
        stream = rng.random() < 0.6
        troubles: list[Trouble] = ["leaves", "leaves-early", "falls-silent"]
        if stream:
            troubles.append("breaks")
        trouble: Trouble = "" if answers > 1 or rng.random() < 0.85 else rng.choice(troubles)
        tokens = rng.choice((rng.randrange(1, 2_000), rng.randrange(40_000, 70_000)))
        output = rng.randrange(40, 3_000)
        cached = rng.randrange(tokens) if rng.random() < 0.4 else 0
        return Request(
            number=number,
            account=rng.choice(accounts),
            instant=MIDNIGHT + rng.randrange(86_400),
            client=client,
            vendor=vendor,
            stream=stream,
            thinks=rng.random() < 0.3,
            tools=answers == 1 and trouble != "breaks" and rng.random() < 0.25,  # calls are told in too few events
            answers=answers,
            trouble=trouble,
            refusals=rng.choices((0, 1, channels), (86, 11, 3))[0] if answers == 1 else 0,
            usage=Tokens(tokens, output, cached=cached, reasoning=rng.randrange(output // 2)),
        )

    @property
    def path(self) -> str:
        match self.client:
            case "openai_chat":
                return "/v1/chat/completions"
            case "openai_responses":
                return "/v1/responses"
            case "anthropic_messages":
                return "/v1/messages"
            case _:
                action = "streamGenerateContent" if self.stream else "generateContent"
                return f"/v1beta/models/{self.model}:{action}"

    @property
    def model(self) -> str:
        """As the client names it."""
        return f"{self.vendor}.{MODELS[self.vendor]}"

    @property
    def query(self) -> str:
        query = ["alt=sse"] if self.client == "gemini" and self.stream else []
        return "&".join([*query, *(["reasoning_effort=low"] if self.thinks else [])])

    @property
    def body(self) -> bytes:
        text = f"request {self.number} says: tell me about the weather"
        kinds = ("OBJECT", "STRING") if self.client == "gemini" else ("object", "string")
        schema = {"type": kinds[0], "properties": {"city": {"type": kinds[1]}}, "required": ["city"]}
        said: Json = {"messages": [{"role": "user", "content": text}]}
        common: Json = {"model": self.model, "stream": self.stream}
        match self.client:
            case "openai_chat":
                function = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
                body = {**common, **said, "max_completion_tokens": 4000, "tools": [function]}
                if self.answers > 1:
                    body["n"] = self.answers
            case "openai_responses":
                tool = {"type": "function", "name": "get_weather", "parameters": schema, "strict": False}
                body = {**common, "input": text, "max_output_tokens": 4000, "tools": [tool]}
            case "anthropic_messages":
                body = {
                    **common,
                    **said,
                    "max_tokens": 4000,
                    "tools": [{"name": "get_weather", "input_schema": schema}],
                }
            case _:
                declared = {"functionDeclarations": [{"name": "get_weather", "parameters": schema}]}
                contents = [{"role": "user", "parts": [{"text": text}]}]
                body = {"contents": contents, "generationConfig": {"maxOutputTokens": 4000}, "tools": [declared]}
        if not self.tools:
            del body["tools"]
        return orjson.dumps(body)

    def headers(self, key: str) -> dict[str, str]:
        return {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            NUMBER: str(self.number),
            INSTANT: str(self.instant),
        }


@dataclass
class Served:
    """One answer in a provider's record."""

    channel: int
    tokens: Tokens


class Ending(Exception):
    """The provider's connection ends without an answer."""


@dataclass
class Provider:
    """A stand-in behind one channel, and its record."""

    channel: int
    place: int
    """0 for the channel that is tried first."""
    vendor: Vendor
    day: Day
    silent: set[int] = field(default_factory=set)

    def step(self, asked: Asked) -> Step:
        """What the model says to `asked`; noted as served unless it breaks off."""
        found = _NUMBER.search(asked.text) or _NUMBER.search(asked.prompt)
        assert found is not None, asked
        request = self.day.requests[int(found[1])]
        if self.place < request.refusals:
            return Fault(status=(503, 429, 500)[request.number % 3])
        if request.trouble == "breaks" and asked.stream:
            self.day.broken.add(request.number)
            return Fault(after=3, cut=request.number % 2 == 0)
        if request.trouble == "falls-silent":
            self.day.unheard.add(request.number)
            self.silent.add(request.number)
            raise Ending
        usage = request.usage if asked.thinks else replace(request.usage, reasoning=0)
        answer = replace(default_answer(asked), usage=usage)
        said = completed(answer, asked).usage
        self.day.record.setdefault(request.number, []).append(Served(self.channel, said))
        return answer


class Day:
    """All requests, and what their providers wrote down."""

    def __init__(self, seed: int, size: int, accounts: Sequence[Account], *, channels: int = 2) -> None:
        self.requests = {
            number: Request.numbered(number, seed, accounts, channels=channels) for number in range(1, size + 1)
        }
        self.record: dict[int, list[Served]] = {}
        self.broken: set[int] = set()
        """Streams that broke off: nobody ever told what they consumed."""
        self.unheard: set[int] = set()
        """Requests of which not one byte came back."""
        self.providers: dict[int, Provider] = {}
        for place in range(channels):
            for vendor in FORMATS:
                channel = 1 + len(self.providers)
                provider = Provider(channel, place, vendor_named(vendor), self)
                provider.vendor.script = provider.step
                self.providers[channel] = provider

    def cost(self, number: int) -> int:
        """What a request must cost by the providers' record, worked out without the gateway's own arithmetic."""
        request = self.requests[number]
        instant = datetime.fromtimestamp(request.instant, UTC)
        total = 0
        for served in self.record.get(number, ()):
            provider = self.providers[served.channel]
            tokens = served.tokens
            usage = Usage(tokens.input, tokens.output, cache_read=tokens.cached, reasoning=tokens.reasoning)
            card = card_of(provider.vendor.name, provider.place)
            total += rational.quota(card, usage, group=GROUPS[request.account.group], instant=instant)
        return total

    def sums(self, charged: Mapping[int, int]) -> tuple[Counter[int], Counter[int], Counter[int]]:
        """(by user, by token, by channel) of amounts by number of request."""
        users, tokens, channels = Counter[int](), Counter[int](), Counter[int]()
        for number, amount in charged.items():
            request = self.requests[number]
            users[request.account.user] += amount
            tokens[request.account.token] += amount
            for served in self.record.get(number, ())[-1:]:
                channels[served.channel] += amount
        return users, tokens, channels


def channel_fields(provider: Provider, url: str) -> Json:
    """A channel that leads to `provider`, in the words of the management API."""
    name = provider.vendor.name
    model = MODELS[name]
    row = CHANNELS[name]
    return {
        "name": f"{name}-{provider.place}",
        "type": row["type"],
        "key": KEY,
        "base_url": url,
        "models": [f"{name}.{model}"],
        "model_mapping": {f"{name}.{model}": model},
        "model_configs": {model: card_of(name, provider.place)},
        "config": {**row["config"], "bills_after_disconnect": True},
        "priority": -provider.place,
    }


class AtInstant:
    """Lets a request begin when its header says, and notes which id it has."""

    def __init__(self, app: ASGIApp, *, ids: dict[str, int]) -> None:
        self.app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if INSTANT.encode() in headers:
            exchange = EXCHANGE.get(scope)
            exchange.started_at = float(headers[INSTANT.encode()])
            self._ids[exchange.request_id] = int(headers[NUMBER.encode()])
        await self.app(scope, receive, send)
