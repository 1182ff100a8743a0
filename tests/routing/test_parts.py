"""Which requests are taken apart, and into what."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.pricing.price import RATIO_SCALE
from oneapi_mw.routing.parts import parts_of, plan_of_whole
from oneapi_mw.routing.plan import Plan
from oneapi_mw.routing.router import RoutingTable
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import ConversionOptions
from tests.relay.stack import PRICE, channel

Kind = dict[str, Any]
CHAT: Kind = {}
ANTHROPIC: Kind = {"type": 14}
GEMINI: Kind = {"type": 24}
NATIVE: Kind = {"config": {"supported_endpoints": ["completions"]}}


def plan(*kinds: Kind, model: str = "m", fan_out_n: bool = True) -> Plan:
    channels = [
        channel(number, models=(model,), model_configs={model: PRICE}, **kind) for number, kind in enumerate(kinds, 1)
    ]
    table = RoutingTable(
        channels, group_ratios={"default": RATIO_SCALE}, options=ConversionOptions(fan_out_n=fan_out_n)
    )
    return table.plan(operation="chat", group="default", model=model, rng=random.Random(0))


def completion(**fields: Any) -> Call:
    raw = orjson.dumps({"model": "m", "prompt": "a", **fields})
    return get_format("openai_completions").decode_call(raw, operation="chat")


def chat(n: int, **fields: Any) -> Call:
    raw = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}], "n": n, **fields})
    return get_format("openai_chat").decode_call(raw, operation="chat")


def gemini(n: int, **config: Any) -> Call:
    raw = orjson.dumps({"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"candidateCount": n, **config}})
    outside = Outside("/v1beta/models/m:generateContent")
    return get_format("gemini").decode_call(raw, operation="chat", outside=outside)


TWO = {"prompt": ["a", "b"]}
CASES = [
    (chat(1), (ANTHROPIC,), True, 0),
    (chat(3), (ANTHROPIC,), True, 3),
    (chat(3), (ANTHROPIC,), False, 0),
    (chat(3), (CHAT,), True, 0),
    (chat(8), (GEMINI,), True, 0),
    (chat(9), (GEMINI,), True, 9),
    (chat(9), (GEMINI,), False, 0),
    (chat(3), (CHAT, ANTHROPIC), True, 0),
    (chat(3), (ANTHROPIC, CHAT), True, 3),
    (gemini(3), (GEMINI,), True, 0),
    (gemini(3), (ANTHROPIC,), True, 3),
    (gemini(3), (CHAT,), True, 0),
    (completion(), (ANTHROPIC,), True, 0),
    (completion(prompt=["a"]), (ANTHROPIC,), True, 0),
    (completion(**TWO), (CHAT,), False, 2),
    (completion(**TWO), (NATIVE,), True, 0),
    (completion(**TWO, n=2), (CHAT,), True, 2),
    (completion(**TWO, n=2), (ANTHROPIC,), True, 4),
    (completion(**TWO, n=2), (ANTHROPIC,), False, 2),
    (completion(n=2), (ANTHROPIC,), True, 2),
]


@pytest.mark.parametrize(("call", "kinds", "fan_out_n", "count"), CASES)
def test_the_parts(call: Call, kinds: tuple[Kind, ...], fan_out_n: bool, count: int) -> None:
    parts = parts_of(call, plan(*kinds, fan_out_n=fan_out_n))
    assert len(parts) == count
    if parts:
        assert [part.first for part in parts] == [index * call.candidates // count for index in range(count)]
        assert sum(part.call.candidates for part in parts) == call.candidates


def test_what_cannot_be_taken_apart() -> None:
    with pytest.raises(InvalidRequest):
        parts_of(completion(n=2, best_of=3), plan(ANTHROPIC))


def test_seeds_of_a_gemini_request_differ() -> None:
    parts = parts_of(gemini(2, seed=4, maxOutputTokens=9), plan(ANTHROPIC))
    assert [part.call.body["generationConfig"] for part in parts] == [
        {"maxOutputTokens": 9, "seed": 4},
        {"maxOutputTokens": 9, "seed": 5},
    ]
    assert [part.call.max_output for part in parts] == [9, 9]


@pytest.mark.parametrize(
    ("call", "kinds", "ids"),
    [
        (chat(1), (CHAT, ANTHROPIC), [1, 2]),
        (chat(3), (CHAT, CHAT), [1, 2]),
        (chat(3), (CHAT, ANTHROPIC, CHAT), [1]),
        (chat(3), (ANTHROPIC, CHAT), [1, 2]),
        (completion(**TWO), (NATIVE, NATIVE, CHAT), [1, 2]),
    ],
)
def test_only_channels_that_can_are_tried(call: Call, kinds: tuple[Kind, ...], ids: list[int]) -> None:
    made = plan(*kinds)
    kept = plan_of_whole(call, made)
    assert [candidate.channel.id for candidate in kept.candidates] == ids
    assert kept is made or len(ids) < len(kinds)
