"""What an upstream cannot be told is named to the client in the client's own words, through the whole stack."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from oneapi_mw.routing.channel import Channel
from tests.relay.stack import HEADERS, PRICE, Reply, ScriptedUpstream, WatchedLedger, channel, gateway
from tests.support.harness import Exchanged, call

MODEL = "small"
HI: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"model": MODEL, "input": "Hi"},
    "/v1/messages": {"model": MODEL, "max_tokens": 2000, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1beta/models/small:generateContent": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}
CHAT, RESPONSES, MESSAGES, GEMINI = HI

CHAT_SAYS = {"id": "1", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
MESSAGE_SAYS = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
GEMINI_SAYS = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
SAYS: dict[int, Any] = {1: CHAT_SAYS, 8: CHAT_SAYS, 14: MESSAGE_SAYS, 24: GEMINI_SAYS, 50: CHAT_SAYS}


def to(type: int, model: str = MODEL, **config: Any) -> Channel:
    return channel(
        type=type,
        model_mapping={MODEL: model},
        model_configs={model: PRICE, MODEL: PRICE},
        config={"unknown_model_policy": "free", **config},
    )


async def ask(path: str, served: Channel, query: str = "", **more: Any) -> tuple[Exchanged, ScriptedUpstream]:
    upstream = ScriptedUpstream(Reply([orjson.dumps(SAYS[served.type])]))
    app = gateway(upstream, WatchedLedger(), channels=[served])
    asked = await call(app, "POST", path, json={**HI[path], **more}, headers=HEADERS, query=query.encode())
    return asked, upstream


LOOP = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]},
]
THINKS = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
CALLED = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t", "content": "1"},
]


@pytest.mark.parametrize(
    ("path", "served", "query", "more", "dropped"),
    [
        (CHAT, to(14, "claude-opus-4-8"), "", {"top_k": 5, "temperature": 0.5}, "temperature, top_k"),
        (CHAT, to(24, "gemini-2.5-pro"), "", {"logit_bias": {"1": 5}}, "logit_bias"),
        (RESPONSES, to(8), "", {"max_tool_calls": 3, "truncation": "auto"}, "max_tool_calls, truncation"),
        (MESSAGES, to(1), "", {"top_k": 5}, "top_k"),
        (MESSAGES, to(8, "o3"), "", {"stop_sequences": ["END"]}, "stop_sequences=emulated"),
        (GEMINI, to(1), "", {"generationConfig": {"topK": 5}}, "generationConfig.topK"),
        (
            GEMINI,
            to(14, "claude-opus-4-8"),
            "",
            {"generationConfig": {"seed": 5, "topK": 5}},
            "generationConfig.seed, generationConfig.topK",
        ),
        # Thinking has the client's word for it, whatever the upstream's format.
        (MESSAGES, to(14, "claude-sonnet-4"), "", {**THINKS, "messages": LOOP}, "thinking"),
        (
            CHAT,
            to(14, "claude-sonnet-4"),
            "",
            {"reasoning_effort": "high", "messages": CALLED},
            "reasoning_effort, tools=emulated",
        ),
        (MESSAGES, to(50, "gpt-4o"), "", {"output_config": {"effort": "low"}}, "output_config.effort"),
        (RESPONSES, to(50, "gpt-4o"), "", {"reasoning": {"effort": "low"}}, "reasoning.effort"),
        (CHAT, to(50, "gpt-4o"), "thinking=1", {}, "thinking"),
        (GEMINI, to(50, "gpt-4o"), "thinking=1", {}, "thinking"),
        (MESSAGES, to(50, "gpt-4o"), "reasoning_effort=low", {}, "reasoning_effort"),
        # Fields nobody knows are the client's own already. CV-01
        (CHAT, to(14, "claude-opus-4-8"), "", {"x_odd": 1}, "x_odd"),
        (RESPONSES, to(8), "", {"x_odd": 1}, "x_odd"),
        (MESSAGES, to(8), "", {"x_odd": 1}, "x_odd"),
        (GEMINI, to(8), "", {"xOdd": 1}, "xOdd"),
    ],
)
async def test_cv_01_what_is_lost_has_the_clients_name(
    path: str, served: Channel, query: str, more: dict[str, Any], dropped: str
) -> None:
    asked, upstream = await ask(path, served, query, **more)
    assert asked.status == 200, asked.body
    assert asked.headers["x-oneapi-dropped"] == dropped
    assert b"odd" not in orjson.dumps(upstream.requests[0].body).lower()


@pytest.mark.parametrize(
    ("path", "served", "more", "param"),
    [
        (CHAT, to(14, "claude-opus-4-8"), {"top_k": 5}, "top_k"),
        (GEMINI, to(14, "claude-opus-4-8"), {"generationConfig": {"topK": 5}}, "generationConfig.topK"),
        (RESPONSES, to(8), {"max_tool_calls": 3}, "max_tool_calls"),
    ],
)
async def test_a_strict_refusal_has_it_too(path: str, served: Channel, more: dict[str, Any], param: str) -> None:
    asked, upstream = await ask(path, served, "strict=true", **more)
    assert asked.status == 400
    assert f"all of this: {param}." in asked.json()["error"]["message"]
    assert asked.json()["error"].get("param", param) == param
    assert not upstream.requests


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, GEMINI])
async def test_what_is_told_upstream_is_not_named(path: str) -> None:
    asked, _ = await ask(path, to(8))
    assert "x-oneapi-dropped" not in asked.headers
