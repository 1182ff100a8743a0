"""The worked examples of requests: every client wire to every upstream wire, through the canonical model."""

from __future__ import annotations

from itertools import product

import orjson
import pytest

from oneapi_mw.canonical.blocks import ReasoningOpaque, ReasoningText
from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.canonical.request import Request
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target
from tests.golden.conversion import ENVELOPES, TENANT, courier
from tests.golden.notation import WIRES, RequestExample, request_examples

EXAMPLES = {example.number: example for example in request_examples()}
PAIRS = list(product(EXAMPLES.values(), WIRES.values(), WIRES.values()))
MODELS = {"anthropic_messages": "claude-opus-4-8", "gemini": "gemini-3-flash"}
"""Whose rules the upstream has: ids and media in results at Gemini, adaptive thinking at Claude."""
OPENAI = {"E6": "gpt-5.6", "E7": "gpt-5"}
"""Cache marks need the one, reasoning the other."""
CALM = "gpt-4.1"
ASSUMED_LIMIT = 32_000
"""What Messages says where the others say nothing."""
LIMITS = {"openai_chat": "max_completion_tokens", "openai_responses": "max_output_tokens"}


def call(wire: str, body: JsonObject) -> Call:
    outside = Outside("/v1beta/models/m:generateContent" if wire == "gemini" else get_format(wire).upstream_path(
        "chat", model="m", stream=False
    ))  # fmt: skip
    return get_format(wire).decode_call(orjson.dumps(body), operation="chat", outside=outside)


def target(wire: str, number: str) -> Target:
    model = MODELS.get(wire) or OPENAI.get(number, CALM)
    provider = "openai" if wire in LIMITS else ""
    return Target("m", rules_of(model), get_format(wire).vendor, official=True, provider=provider)


def with_limit(wire: str, body: JsonObject) -> JsonObject:
    """`body` with the limit that a client of Messages cannot leave out."""
    if wire == "gemini":
        return {**body, "generationConfig": {**body.get("generationConfig", {}), "maxOutputTokens": ASSUMED_LIMIT}}
    return {**body, LIMITS[wire]: ASSUMED_LIMIT}


def expected(example: RequestExample, source: str, wire: str) -> JsonObject:
    body = example.instead.get((wire, source), example.bodies[wire])
    limited = source == "anthropic_messages" and example.bodies[source]["max_tokens"] == ASSUMED_LIMIT
    return with_limit(wire, body) if limited and wire != source else body


@pytest.mark.parametrize(("example", "source", "wire"), PAIRS, ids=str)
def test_worked_example(example: RequestExample, source: str, wire: str) -> None:
    request = get_format(source).decode_request(call(source, example.bodies[source]))
    encoded = get_format(wire).encode_request(request, target(wire, example.number))
    assert encoded.body == expected(example, source, wire)
    assert encoded.dropped == example.reported.get((wire, source), ())
    assert encoded.headers == ()
    assert encoded.restore is None


# E7: what an envelope carries is the vendor's own again, for that vendor and the client it was made for.


def in_envelope(tenant: str) -> Request:
    example = EXAMPLES["E7"].bodies
    own = ReasoningOpaque("EqQB", "anthropic-claude-v1")
    sealed = ENVELOPES.seal(own, tenant=tenant, model="m", channel="1", text=(ReasoningText("Add."),))
    assert sealed is not None
    text = orjson.dumps(example["openai_chat"]).decode().replace("oa1.anthropic.AbCd", sealed.data)
    request = get_format("openai_chat").decode_request(call("openai_chat", orjson.loads(text)))
    carrier = courier("anthropic_messages", "openai_chat")
    assert carrier is not None
    return carrier.open_request(request)


@pytest.mark.parametrize("wire", ["openai_responses", "anthropic_messages", "gemini"])
def test_an_envelope_opens_for_its_vendor_alone(wire: str) -> None:
    encoded = get_format(wire).encode_request(in_envelope(TENANT), target(wire, "E7"))
    own = wire == "anthropic_messages"
    example = EXAMPLES["E7"]
    assert encoded.body == (example.bodies[wire] if own else example.instead[wire, "openai_chat"])


def test_an_envelope_of_somebody_else_is_none() -> None:
    wire = "anthropic_messages"
    encoded = get_format(wire).encode_request(in_envelope("user 2"), target(wire, "E7"))
    assert encoded.body == EXAMPLES["E7"].instead[wire, "openai_chat"]
