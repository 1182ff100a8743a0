"""Reasoning of a Responses upstream comes back to it as it was, whatever its client speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from oneapi_mw.canonical.blocks import Reasoning, ReasoningText, Text
from oneapi_mw.canonical.call import Outside
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.envelope import Courier, Envelopes
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target

RESPONSES = get_format("openai_responses")
TARGET = Target("gpt-5", rules_of("gpt-5"), RESPONSES.vendor, official=True, provider="openai")
ITEM: JsonObject = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": " **Add** \n"}, {"type": "summary_text", "text": "Then tell."}],
    "content": [{"type": "reasoning_text", "text": "two and two"}],
    "encrypted_content": "gAAAA",
}
SAID: JsonObject = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "4", "annotations": []}],
}
HI = {"role": "user", "content": "2+2"}


def answer(*items: JsonObject) -> JsonObject:
    return {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5", "output": list(items)}


def chat(told: JsonObject) -> JsonObject:
    return {"messages": [HI, told["choices"][0]["message"], HI]}


def messages(told: JsonObject) -> JsonObject:
    return {"max_tokens": 9, "messages": [HI, {"role": "assistant", "content": told["content"]}, HI]}


def gemini(told: JsonObject) -> JsonObject:
    asked = {"role": "user", "parts": [{"text": "2+2"}]}
    return {"contents": [asked, told["candidates"][0]["content"], asked]}


CLIENTS: list[tuple[str, Callable[[JsonObject], JsonObject]]] = [
    ("openai_chat", chat),
    ("anthropic_messages", messages),
    ("gemini", gemini),
]


@pytest.mark.parametrize(("format", "continued"), CLIENTS)
@pytest.mark.parametrize(
    "item",
    [
        ITEM,
        {**ITEM, "content": []},
        {**ITEM, "summary": []},
        {**ITEM, "summary": [], "content": []},
        {**ITEM, "summary": ITEM["summary"][:1]},
    ],
    ids=["both", "summary", "content", "neither", "one part"],
)
def test_cv_59_an_item_with_a_ciphertext_is_replayed_unchanged(format: str, continued: Any, item: JsonObject) -> None:
    item = {name: value for name, value in item.items() if value != [] or name == "summary"}
    wire, outside = get_format(format), Outside("/v1beta/models/m:generateContent")
    courier = Courier(Envelopes([b"k" * 32]), tenant="u", served=lambda: ("gpt-5", "7"), client=format)
    body = {"model": "gpt-5", **continued_first(format)}
    call = wire.decode_call(dumps(body), operation="chat", outside=outside)
    told = courier.seal_response(RESPONSES.decode_response(answer(item, SAID)))
    history = loads(dumps(continued(wire.encode_response(told, call))))
    again = wire.decode_call(dumps({"model": "gpt-5", **history}), operation="chat", outside=outside)
    encoded = RESPONSES.encode_request(courier.open_request(wire.decode_request(again)), TARGET)
    found = [sent for sent in encoded.body["input"] if sent.get("type") == "reasoning"]
    assert found == [item]


def test_cv_59_in_its_own_format() -> None:
    asked = {"type": "message", **HI}
    history = [asked, {**ITEM, "status": "completed", "news": 1}, SAID, asked]
    call = RESPONSES.decode_call(dumps({"model": "gpt-5", "input": history}), operation="chat")
    assert RESPONSES.encode_request(RESPONSES.decode_request(call), TARGET).body["input"][1] == history[1]
    assert loads(RESPONSES.prepare_upstream(call, target=TARGET, include_usage=False).body)["input"] == history


@pytest.mark.parametrize("format", ["anthropic_messages", "gemini"])
def test_an_edited_text_takes_the_ciphertext_with_it(format: str) -> None:
    courier = Courier(Envelopes([b"k" * 32]), tenant="u", served=lambda: ("gpt-5", "7"), client=format)
    (candidate,) = courier.seal_response(RESPONSES.decode_response(answer(ITEM, SAID))).candidates
    thought, said = candidate.blocks
    assert isinstance(thought, Reasoning)
    edited = replace(thought, texts=(ReasoningText(thought.text + "!"),))
    turns = (Turn("user", (Text("2+2"),)), Turn("assistant", (edited, said)), Turn("user", (Text("2+2"),)))
    opened = courier.open_request(Request(format, "gpt-5", turns))
    encoded = RESPONSES.encode_request(opened, TARGET)
    assert [sent.get("type") for sent in encoded.body["input"]] == ["message", "message", "message"]


def continued_first(format: str) -> JsonObject:
    match format:
        case "gemini":
            shown = {"thinkingConfig": {"includeThoughts": True}}
            return {"contents": [{"role": "user", "parts": [{"text": "2+2"}]}], "generationConfig": shown}
        case _:
            return {"max_tokens": 9, "messages": [HI]}
