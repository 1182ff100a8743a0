"""The example of the convert stage in front of a chat-only app serves other vendors' SDKs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from examples import claude_for_a_chat_app
from tests.support import harness
from tests.support.serving import serving

TOOL: Any = {"name": "shout", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}
ASK: Any = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}], "tools": [TOOL]}


async def test_the_anthropic_sdk_streams_a_tool_call() -> None:
    async with (
        serving(claude_for_a_chat_app.app) as base,
        anthropic.AsyncAnthropic(base_url=base, api_key="any", max_retries=0) as client,
    ):
        async with client.messages.stream(**ASK) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_message()
        whole = await client.messages.create(**ASK)
    assert kinds[-1] == "message_stop"
    for message in (streamed, whole):
        assert message.stop_reason == "tool_use"
        text, call = message.content
        assert (text.type, getattr(text, "text", None)) == ("text", "Loud: ")
        assert (call.type, getattr(call, "name", None), getattr(call, "input", None)) == (
            "tool_use",
            "shout",
            {"text": "hello"},
        )


async def test_the_openai_sdk_gets_responses() -> None:
    async with (
        serving(claude_for_a_chat_app.app) as base,
        openai.AsyncOpenAI(base_url=base + "/v1", api_key="any", max_retries=0) as client,
    ):
        answer = await client.responses.create(model="m", input="hello")
    assert answer.output_text == "Loud: "
    assert [item.type for item in answer.output] == ["message", "function_call"]


async def test_chat_clients_get_the_apps_own_bytes() -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    answer = await harness.call(claude_for_a_chat_app.app, "POST", "/v1/chat/completions", json=body)
    assert answer.body.startswith(b'data: {"choices": [{"index": 0, "delta": {"content": "Loud: "}')


@pytest.mark.parametrize("path", ["/", "/v1/unknown"])
async def test_other_paths_are_the_apps_own(path: str) -> None:
    assert (await harness.call(claude_for_a_chat_app.app, "GET", path)).status == 404


def test_it_is_as_short_as_it_is_easy() -> None:
    lines = Path(claude_for_a_chat_app.__file__).read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import ", "from ", '"""'))]
    assert len(code) < 20
