"""Opaque parts of one vendor travel through a client of another format, and come back only to whom they belong."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Block,
    HostedCall,
    Image,
    Inline,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import BlockEnded, BlockStarted, Event, OpaqueDelta, ReasoningDelta, Started
from oneapi_mw.canonical.fold import fold, unfold
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.jsontext import dumps
from oneapi_mw.wire import envelope as module
from oneapi_mw.wire.envelope import GEMINI, MAX_ENVELOPES, Courier, EnvelopeCounts, Envelopes
from oneapi_mw.wire.envelope_bodies import may_hold_envelopes, without_envelopes
from oneapi_mw.wire.envelope_text import is_envelope, vendor_value
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.target import Target
from tests.canonical import strategies

CLAUDE, OPENAI = "anthropic-claude-v1", "openai-responses-v1"
KEYS = [b"a secret of thirty-two characters", b"an older secret of some characters"]
ENVELOPES = Envelopes(KEYS)
SIGNATURE = ReasoningOpaque("EqQB", CLAUDE)


def sealed(opaque: ReasoningOpaque = SIGNATURE, envelopes: Envelopes = ENVELOPES, **options: Any) -> ReasoningOpaque:
    found = envelopes.seal(opaque, **{"tenant": "user-1", "model": "claude", "channel": "7", **options})
    assert found is not None
    return found


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize(
    "opaque",
    [
        SIGNATURE,
        ReasoningOpaque("gAAA", OPENAI, "encrypted", "rs_1"),
        ReasoningOpaque("Q2k9", GEMINI),
        ReasoningOpaque("x", "a.vendor nobody/knows"),
        ReasoningOpaque("\ud800é", "openrouter", "encrypted"),
    ],
)
def test_what_is_sealed_opens(opaque: ReasoningOpaque, encrypt: bool) -> None:
    envelopes = Envelopes(KEYS, encrypt=encrypt)
    there = sealed(opaque, envelopes)
    assert is_envelope(there.data)
    assert replace(there, data="") == replace(opaque, data=""), "vendor, kind and id can be read by codecs"
    assert envelopes.open(there, tenant="user-1") == opaque
    # however the client's format has lost the rest
    assert envelopes.open(ReasoningOpaque(there.data, ""), tenant="user-1") == opaque


def test_how_an_envelope_looks() -> None:
    assert sealed().data.startswith("oa1.anthropic.")
    assert sealed(ReasoningOpaque("x", OPENAI)).data.startswith("oa1.responses.")
    assert sealed(ReasoningOpaque("x", GEMINI)).data.startswith("oa1.gemini.")
    assert sealed().data.count(".") == 2
    assert sealed().data == sealed().data, "the same part gets the same envelope: prompt prefixes stay as they were"
    there = ENVELOPES.unpack(sealed().data, tenant="user-1")
    assert there is not None
    assert (there.model, there.binding) == ("claude", ENVELOPES.binding("7"))
    assert "channel-77" not in _plain(sealed(channel="channel-77").data)


def test_an_empty_vendor_is_nobodys() -> None:
    opened = ENVELOPES.open(sealed(ReasoningOpaque("x", "")), tenant="user-1")
    assert opened is not None
    assert opened.vendor == "unknown"


def test_what_is_in_no_envelope_stays() -> None:
    assert ENVELOPES.open(SIGNATURE, tenant="user-1") is SIGNATURE


@pytest.mark.parametrize("encrypt", [False, True])
def test_cv_53_of_another_tenant(encrypt: bool) -> None:
    envelopes = Envelopes(KEYS, encrypt=encrypt)
    assert envelopes.open(sealed(envelopes=envelopes), tenant="user-2") is None


@pytest.mark.parametrize("encrypt", [False, True])
def test_cv_53_altered_anywhere(encrypt: bool) -> None:
    envelopes = Envelopes(KEYS, encrypt=encrypt)
    data = sealed(envelopes=envelopes).data
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place in range(len(data) - 1):  # the last letter may have bits that say nothing
        for letter in ("A", letters[(letters.find(data[place]) + 7) % 64]):
            changed = data[:place] + letter + data[place + 1 :]
            if changed == data or not is_envelope(changed):
                continue
            assert envelopes.open(ReasoningOpaque(changed, CLAUDE), tenant="user-1") is None


@pytest.mark.parametrize(
    "data",
    ["oa1.", "oa1.x", "oa1.anthropic.", "oa1.anthropic.A", "oa1.anthropic.AAAA", "oa1.anthropic.!!!!", "oa1.é.AQEB",
     "oa1.anthropic." + "A" * 2_000_000, "oa1..." * 9],
)  # fmt: skip
def test_cv_53_nonsense(data: str) -> None:
    assert ENVELOPES.open(ReasoningOpaque(data, CLAUDE), tenant="user-1") is None


@given(st.binary(max_size=80))
def test_cv_53_any_bytes(raw: bytes) -> None:
    for head in (b"", bytes((ENVELOPES._keys[0].id, 1)), bytes((ENVELOPES._keys[0].id, 2))):
        data = "oa1.anthropic." + base64.urlsafe_b64encode(head + raw).decode().rstrip("=")
        assert ENVELOPES.open(ReasoningOpaque(data, CLAUDE), tenant="user-1") is None
        vendor_value(data)


def test_cv_53_a_version_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VERSION", 2)
    newer = sealed()
    monkeypatch.undo()
    assert ENVELOPES.open(newer, tenant="user-1") is None


def test_cv_53_a_kind_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROVENANCE", "newer")
    newer = ENVELOPES.seal_provenance("Hm.", tenant="user-1", model="m", channel="7")
    monkeypatch.undo()
    assert ENVELOPES.unpack(newer.data, tenant="user-1") is None
    assert ENVELOPES.unpack("no envelope", tenant="user-1") is None


@pytest.mark.parametrize("data", ["EqQB", "skip_thought_signature_validator"])
@pytest.mark.parametrize("vendor", [CLAUDE, OPENAI, GEMINI])
@pytest.mark.parametrize("format", ["anthropic_messages", "openai_responses", "gemini"])
def test_cv_52_cv_57_no_vendor_gets_what_another_made(data: str, vendor: str, format: str) -> None:
    wire = get_format(format)
    there = sealed(ReasoningOpaque(data, vendor), text="Hm.")
    call = ToolCall("1", "f", "{}", opaque=there)
    asked = Turn("user", (Text("x"),))
    turns = (asked, Turn("assistant", (Reasoning((ReasoningText("Hm."),), there), Text("a"), call)), asked)
    found, _ = ENVELOPES.open_request(Request("openai_chat", "m", turns), "user-1")
    own = {"anthropic_messages": CLAUDE, "openai_responses": OPENAI, "gemini": GEMINI}[format]
    body = dumps(wire.encode_request(found, Target("m", vendor=own)).body).decode()
    assert "oa1." not in body
    if vendor != own:
        assert data not in body
        assert "Hm." not in body


def test_older_keys_open_and_forgotten_ones_do_not() -> None:
    older = sealed(envelopes=Envelopes(KEYS[1:]))
    assert ENVELOPES.open(older, tenant="user-1") == SIGNATURE
    assert Envelopes(KEYS[:1]).open(older, tenant="user-1") is None
    with pytest.raises(ValueError, match="at least one key"):
        Envelopes([])


def test_the_value_can_be_shown_to_its_own_client() -> None:
    assert vendor_value(sealed().data) == "EqQB"
    assert vendor_value("EqQB") == "EqQB"
    assert vendor_value(sealed(envelopes=Envelopes(KEYS, encrypt=True)).data) is None
    for odd in ("oa1.x.", "oa1.x." + base64.urlsafe_b64encode(b"k\x01[]" + b"m" * 16).decode()):
        assert vendor_value(odd) is None


def test_text_nobody_was_shown_cannot_be_read() -> None:
    text = "a secret thought"
    open_to_all = sealed(text=text)
    hidden = sealed(text=text, shown=False)
    assert text in _plain(open_to_all.data)
    assert text not in _plain(hidden.data)
    opened = ENVELOPES.unpack(hidden.data, tenant="user-1")
    assert opened is not None
    assert opened.texts == (ReasoningText(text),)


def _plain(data: str) -> str:
    return base64.urlsafe_b64decode(data.split(".")[2] + "==").decode("latin-1")


def test_limits() -> None:
    long = "x" * 100_000
    assert len(sealed(text=long).data) < 1000, "of a long text only the digest travels"
    assert ENVELOPES.seal(ReasoningOpaque("x" * 2**20, CLAUDE), tenant="t", model="m", channel="c") is None


# Requests.


def request(*turns: tuple[Block, ...]) -> Request:
    return Request("openai_chat", "m", tuple(Turn("assistant", blocks) for blocks in turns))


def opened(*blocks: Block, tenant: str = "user-1") -> tuple[tuple[Block, ...], EnvelopeCounts]:
    found, counts = ENVELOPES.open_request(request(blocks), tenant)
    return tuple(block for turn in found.turns for block in turn.blocks), counts


PICTURE = Inline("image/png", "AA==")


@pytest.mark.parametrize(
    "block",
    [
        Reasoning((ReasoningText("Hm."),), SIGNATURE),
        Reasoning((), SIGNATURE),
        Text("a", opaque=SIGNATURE),
        Text("", opaque=SIGNATURE),
        ToolCall("1", "f", "{}", opaque=SIGNATURE),
        Image(PICTURE, opaque=SIGNATURE),
        HostedCall("code", "1", "code", opaque=SIGNATURE),
    ],
)
def test_every_kind_of_block_is_opened(block: Any) -> None:
    there = replace(block, opaque=sealed())
    assert opened(there) == ((block,), EnvelopeCounts(opened=1))
    others, counts = opened(there, tenant="user-2")
    left = replace(block, opaque=None)
    is_empty = (isinstance(block, Reasoning) and not block.texts) or left == Text("")
    assert others == (() if is_empty else (left,))
    assert counts == EnvelopeCounts(rejected=1)


def test_a_request_without_envelopes_is_the_same() -> None:
    for given_request in (request((Text("a"),)), request((Reasoning((), SIGNATURE),))):
        found, counts = ENVELOPES.open_request(given_request, "user-1")
        assert found == given_request
        assert counts == EnvelopeCounts()


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "anthropic_messages", "gemini"])
@pytest.mark.parametrize("hidden", [False, True])
def test_cv_49_text_comes_back_as_it_was_signed(client: str, hidden: bool) -> None:
    block = Reasoning((ReasoningText("Part one.", True), ReasoningText("Part two.", True)), SIGNATURE)
    sent = courier(client, hidden=hidden).seal_response(answer(block)).candidates[0].blocks[0]
    assert isinstance(sent, Reasoning)
    assert opened(sent)[0] == (block,)
    edited = replace(sent, texts=(ReasoningText("Something else."),))
    carried = client in ("anthropic_messages", "gemini") and not hidden
    # where the text itself travels the signed one counts; else a signature over another text is void
    expected = replace(edited, opaque=None) if carried else block
    assert opened(edited)[0] == (expected,)
    assert opened(replace(sent, texts=()))[0] == (() if carried else (block,))


def test_cv_50_a_signature_over_text_that_is_not_shown() -> None:
    sent = courier("anthropic_messages").seal_response(answer(Reasoning((), SIGNATURE))).candidates[0].blocks[0]
    assert opened(sent)[0] == (Reasoning((), SIGNATURE),)


def test_only_so_many_are_opened_and_the_last_ones_count() -> None:
    there = sealed()
    turns = [(Text(str(number), opaque=there),) for number in range(MAX_ENVELOPES + 6)]
    found, counts = ENVELOPES.open_request(request(*turns), "user-1")
    assert counts == EnvelopeCounts(opened=MAX_ENVELOPES, rejected=6)
    kept = [block for turn in found.turns for block in turn.blocks]
    assert kept[:6] == [Text(str(number)) for number in range(6)]
    assert kept[-1] == Text(str(MAX_ENVELOPES + 5), opaque=SIGNATURE)


def test_a_turn_with_nothing_left_goes() -> None:
    found, _ = ENVELOPES.open_request(request((Text("a"),), (Reasoning((), sealed()),)), "user-2")
    assert found.turns == (Turn("assistant", (Text("a"),)),)


# Answers.


def courier(client: str = "openai_chat", **options: Any) -> Courier:
    return Courier(ENVELOPES, tenant="user-1", served=lambda: ("claude", "7"), client=client, **options)


def answer(*blocks: Block) -> Response:
    return Response(candidates=(Candidate(blocks, "stop"),))


CLIENTS = st.sampled_from(["openai_chat", "openai_responses", "anthropic_messages", "gemini"])


@settings(max_examples=40)
@given(strategies.responses(), CLIENTS)
def test_streams_and_answers_are_sealed_alike(response: Response, client: str) -> None:
    whole = courier(client).seal_response(response)
    streamed = fold(courier(client).seal_events(unfold(response)))
    assert streamed.candidates == whole.candidates


@settings(max_examples=40)
@given(strategies.responses(), CLIENTS)
def test_what_was_sealed_is_opened_again(response: Response, client: str) -> None:
    whole = courier(client).seal_response(response)
    blocks = tuple(block for candidate in whole.candidates for block in candidate.blocks)
    found, counts = opened(*blocks)
    assert counts.rejected == 0
    kept = [block for candidate in response.candidates for block in candidate.blocks]
    assert len(found) == len(kept)
    for came, sent in zip(found, kept, strict=True):
        if getattr(sent, "opaque", None) is None:
            assert came == sent


def test_the_part_of_reasoning_comes_with_its_end() -> None:
    block = Reasoning((ReasoningText("Hm."),), SIGNATURE)
    events: list[Event] = [
        Started(),
        BlockStarted(0, 0, "reasoning", opaque=SIGNATURE),
        OpaqueDelta(0, 0, SIGNATURE),
        ReasoningDelta(0, 0, "Hm."),
        BlockEnded(0, 0, block),
    ]
    made = courier()
    out = [event for single in events for event in made.seal_events([single])]
    there = sealed(text=block.texts)
    assert out == [
        Started(),
        BlockStarted(0, 0, "reasoning"),
        ReasoningDelta(0, 0, "Hm."),
        OpaqueDelta(0, 0, there),
        BlockEnded(0, 0, replace(block, opaque=there)),
    ]
    assert made.counts == EnvelopeCounts(sealed=1)


def test_a_calls_signature_says_which_call_it_is_of() -> None:
    mark = ReasoningOpaque("Q2k9", GEMINI)
    call = ToolCall("call_1", "f", "{}", opaque=mark)
    for client in ("anthropic_messages", "openai_responses"):
        sent = courier(client).seal_response(answer(call)).candidates[0].blocks[0]
        assert isinstance(sent, ToolCall)
        assert sent.opaque is not None
        # where only reasoning is signed it comes back on a block of its own
        assert opened(Reasoning((), sent.opaque))[0] == (Reasoning((), replace(mark, id="call_1")),)
    events: list[Event] = [
        BlockStarted(0, 0, "tool_call", call_id="call_1"),
        OpaqueDelta(0, 0, mark),
        BlockEnded(0, 0, call),
    ]
    seen = courier("anthropic_messages").seal_events(events)
    assert isinstance(seen[1], OpaqueDelta)
    assert seen[1].opaque.id == "call_1"


def test_chat_has_googles_own_place_for_a_calls_signature() -> None:
    call = ToolCall("call_1", "f", "{}", opaque=ReasoningOpaque("Q2k9", GEMINI))
    assert courier("openai_chat").seal_response(answer(call)) == answer(call)
    assert courier("openai_chat").seal_events(unfold(answer(call))) == unfold(answer(call))


def test_text_without_a_signature_gets_one_where_the_format_wants_one() -> None:
    block = Reasoning((ReasoningText("Hm."),))
    sent = courier("anthropic_messages").seal_response(answer(block)).candidates[0].blocks[0]
    assert isinstance(sent, Reasoning)
    assert sent.opaque is not None
    assert sent.opaque.data.startswith("oa1.text.")
    assert opened(sent) == ((block,), EnvelopeCounts(opened=1)), "CV-51: it is no signature for anybody"
    assert ENVELOPES.open(sent.opaque, tenant="user-1") is None
    assert courier("openai_chat").seal_response(answer(block)) == answer(block)


def test_an_upstream_cannot_make_envelopes() -> None:
    forged = ReasoningOpaque(sealed().data, CLAUDE)
    assert courier().seal_response(answer(Reasoning((), forged))) == answer(Reasoning())


def test_parts_that_do_not_travel() -> None:
    blocks = (Reasoning((ReasoningText("Hm."),), SIGNATURE), Text("a", opaque=SIGNATURE))
    expected = answer(Reasoning((ReasoningText("Hm."),)), Text("a"))
    for client in ("openai_chat", "anthropic_messages"):
        assert courier(client, carry=False).seal_response(answer(*blocks)) == expected
        assert fold(courier(client, carry=False).seal_events(unfold(answer(*blocks)))).candidates == expected.candidates


def test_cv_58_each_ciphertext_has_its_own_envelope() -> None:
    blocks = tuple(Reasoning((), ReasoningOpaque(f"c{number}", OPENAI, "encrypted")) for number in range(3))
    sent = courier().seal_response(answer(*blocks)).candidates[0].blocks
    assert opened(*sent)[0] == blocks


def test_a_courier_counts_what_it_opens() -> None:
    made = courier()
    made.open_request(request((Text("a", opaque=sealed()), Text("b", opaque=sealed(tenant="x")))))
    assert made.counts == EnvelopeCounts(opened=1, rejected=1)


# Bodies that stay in their format.

THERE = sealed().data
IN_BASE64 = base64.b64encode(THERE.encode()).decode()


@pytest.mark.parametrize(
    ("format", "body", "expected"),
    [
        (
            "openai_chat",
            {
                "messages": [
                    {"role": "user", "content": THERE},
                    {
                        "role": "assistant",
                        "content": "a",
                        "signature": THERE,
                        "reasoning_details": [
                            {"signature": THERE},
                            {"signature": "own"},
                            {"data": THERE},
                            {"text": "t"},
                        ],
                        "tool_calls": [{"id": "1", "extra_content": {"google": {"thought_signature": THERE}}}],
                    },
                    {"role": "assistant", "content": "b", "reasoning_details": [{"data": THERE}]},
                ]
            },
            {
                "messages": [
                    {"role": "user", "content": THERE},
                    {
                        "role": "assistant",
                        "content": "a",
                        "reasoning_details": [{"signature": "own"}, {"text": "t"}],
                        "tool_calls": [{"id": "1"}],
                    },
                    {"role": "assistant", "content": "b"},
                ]
            },
        ),
        (
            "anthropic_messages",
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": THERE}]},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "redacted_thinking", "data": THERE},
                            {"type": "thinking", "thinking": "x", "signature": "own"},
                            {"type": "text", "text": "a"},
                        ],
                    },
                ]
            },
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "x", "signature": "own"},
                            {"type": "text", "text": "a"},
                        ],
                    }
                ]
            },
        ),
        (
            "openai_responses",
            {"input": [{"type": "reasoning", "encrypted_content": THERE}, {"type": "message", "content": []}]},
            {"input": [{"type": "message", "content": []}]},
        ),
        (
            "gemini",
            {
                "contents": [
                    {"role": "model", "parts": [{"text": "t", "thought": True, "thoughtSignature": IN_BASE64}]},
                    {
                        "role": "model",
                        "parts": [
                            {"text": "", "thoughtSignature": IN_BASE64},
                            {"functionCall": {"name": "f"}, "thought_signature": IN_BASE64},
                            {"text": "a", "thoughtSignature": "b2Ex"},
                            {"text": "b", "thoughtSignature": "b2Ex/w=é"},
                        ],
                    },
                ]
            },
            {
                "contents": [
                    {
                        "role": "model",
                        "parts": [
                            {"functionCall": {"name": "f"}},
                            {"text": "a", "thoughtSignature": "b2Ex"},
                            {"text": "b", "thoughtSignature": "b2Ex/w=é"},
                        ],
                    }
                ]
            },
        ),
    ],
)
def test_cv_52_envelopes_never_reach_an_upstream(format: str, body: Any, expected: Any) -> None:
    before = repr(body)
    assert without_envelopes(format, body) == expected
    assert repr(body) == before
    assert without_envelopes(format, expected) is expected


@pytest.mark.parametrize("format", ["openai_chat", "anthropic_messages", "openai_responses", "gemini"])
def test_odd_bodies_are_left_alone(format: str) -> None:
    for value in (None, "text", [None, "x", {"content": 5, "parts": "x", "tool_calls": [None]}]):
        body = dict.fromkeys(("messages", "input", "contents"), value)
        assert without_envelopes(format, body) is body


def test_looking_for_envelopes() -> None:
    assert may_hold_envelopes(b'{"signature": "oa1.x.y"}')
    assert may_hold_envelopes(b'{"thoughtSignature":"b2Exabc"}')
    assert not may_hold_envelopes(b'{"text": "about oa1."}')
