"""Which upstreams get text completions as they are, and which get a chat."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.canonical.call import Call
from oneapi_mw.pricing.price import RATIO_SCALE
from oneapi_mw.routing.plan import Candidate, Plan
from oneapi_mw.routing.router import RoutingTable
from oneapi_mw.wire.registry import get_format
from tests.relay.stack import PRICE, channel

COMPLETIONS = "openai_completions"
SAYS_SO = {"supported_endpoints": ["chat_completions", "completions"]}


def candidate(model: str = "m", **changes: Any) -> Candidate:
    made = channel(models=(model,), model_configs={model: PRICE}, **changes)
    table = RoutingTable([made], group_ratios={"default": RATIO_SCALE})
    plan: Plan = table.pinned(operation="chat", group="default", model=model, channel_ref="1")
    return plan.candidates[0]


def call(format: str = COMPLETIONS, **body: Any) -> Call:
    return Call("chat", format, "m", False, body, b"{}")


OFFICIAL = {"type": 1, "base_url": ""}


@pytest.mark.parametrize(
    ("model", "changes", "wire"),
    [
        ("gpt-4o", OFFICIAL, "openai_chat"),
        ("gpt-5", OFFICIAL, "openai_chat"),
        ("gpt-5.1-codex", OFFICIAL, "openai_responses"),
        ("gpt-3.5-turbo-instruct", OFFICIAL, COMPLETIONS),
        ("gpt-3.5-turbo-instruct-0914", OFFICIAL, COMPLETIONS),
        ("davinci-002", OFFICIAL, COMPLETIONS),
        ("gpt-4o", {**OFFICIAL, "config": SAYS_SO}, COMPLETIONS),
        ("gpt-4o", {"type": 1}, "openai_chat"),
        ("gpt-4o", {"type": 1, "config": SAYS_SO}, COMPLETIONS),
        ("m", {}, "openai_chat"),
        ("m", {"config": SAYS_SO}, COMPLETIONS),
        ("m", {"config": {"supported_endpoints": ["chat_completions"]}}, "openai_chat"),
        ("m", {"config": {"supported_endpoints": "completions"}}, "openai_chat"),
        ("m", {"config": {"api_format": "responses"}}, "openai_responses"),
        ("m", {"type": 14}, "anthropic_messages"),
        ("m", {"type": 24}, "gemini"),
    ],
    ids=str,
)
def test_where_a_completion_goes(model: str, changes: dict[str, Any], wire: str) -> None:
    assert candidate(model, **changes).route(call()).wire.name == wire


@pytest.mark.parametrize("format", ["openai_chat", "anthropic_messages", "gemini"])
def test_nobody_else_is_sent_there(format: str) -> None:
    assert candidate(config=SAYS_SO).route(call(format)).wire.name == "openai_chat"


def test_the_addresses() -> None:
    route = candidate(config=SAYS_SO).routes[COMPLETIONS]
    assert route.addresses["chat", True] == "http://upstream-1.test/v1/completions"
    config = {**SAYS_SO, "endpoint_urls": {"completions": "https://api.deepseek.example/beta/completions"}}
    route = candidate(config=config).routes[COMPLETIONS]
    assert route.addresses["chat", False] == "https://api.deepseek.example/beta/completions"


@pytest.mark.parametrize(
    ("wire", "model", "changes", "most"),
    [
        ("openai_chat", "gpt-4o", {}, 128),
        ("openai_chat", "o1-mini", {}, 1),
        ("openai_responses", "gpt-4o", {"type": 1}, 1),
        ("anthropic_messages", "m", {"type": 14}, 1),
        ("gemini", "m", {"type": 24}, 8),
        (COMPLETIONS, "m", {"config": SAYS_SO}, 128),
    ],
    ids=str,
)
def test_how_many_answers_an_upstream_gives(wire: str, model: str, changes: dict[str, Any], most: int) -> None:
    target = candidate(model, **changes).routes[wire].target
    assert get_format(wire).most_candidates(target) == most
