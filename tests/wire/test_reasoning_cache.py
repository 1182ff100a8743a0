"""What clients that return nothing but texts and calls get back, and who gets nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Block, Reasoning, ReasoningOpaque, ReasoningText, Text, ToolCall, ToolResult
from oneapi_mw.canonical.events import Ended, Event, Failed
from oneapi_mw.canonical.fold import unfold
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.errors import UpstreamError
from oneapi_mw.store.reasoning_cache import MemoryReasoningCache
from oneapi_mw.wire.reasoning_cache import CacheKeys, Recaller

SECRET = b"s" * 32
CLAUDE = "anthropic_messages"


class Transparent:
    """A carrier for a client that is shown everything."""

    def hide(self) -> None:
        raise NotImplementedError

    def open_request(self, request: Request) -> Request:
        return request

    def seal_events(self, events: Iterable[Event]) -> Sequence[Event]:
        return tuple(events)

    def seal_response(self, response: Response) -> Response:
        return response


def recaller(cache: MemoryReasoningCache, *, user: str = "u", wire: str = CLAUDE, model: str = "m") -> Recaller:
    return Recaller(Transparent(), cache, CacheKeys(SECRET, user), wire=wire, model=model)


def signature(data: str) -> ReasoningOpaque:
    return ReasoningOpaque(data, "anthropic-claude-v1")


def thought(data: str, text: str = "Hm.") -> Reasoning:
    return Reasoning((ReasoningText(text),), signature(data))


def call(call_id: str, opaque: ReasoningOpaque | None = None) -> ToolCall:
    return ToolCall(call_id, "f", "{}", opaque=opaque)


def response(*blocks: Block) -> Response:
    return Response("id", "m", candidates=(Candidate(blocks, "stop"),))


def request(*blocks: Block) -> Request:
    results = Turn("user", (ToolResult("a", (Text("1"),)),))
    return Request("openai_chat", "m", (Turn("user", (Text("x"),)), Turn("assistant", blocks), results))


def bare(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Texts, then calls, as a chat client has them."""
    texts = [replace(block, opaque=None) for block in blocks if isinstance(block, Text) and block.text]
    calls = [replace(block, opaque=None) for block in blocks if isinstance(block, ToolCall)]
    return (*texts, *calls)


def asked_again(cache: MemoryReasoningCache, *blocks: Block, **who: Any) -> tuple[Block, ...]:
    """The model's turn, when `blocks` come back."""
    return recaller(cache, **who).open_request(request(*blocks)).turns[1].blocks


ANSWERS = (
    (thought("1"), Text("a"), call("a")),
    (thought("1"), call("a"), call("b")),
    (thought("1"), call("a"), thought("2"), call("b")),
    (thought("1"), Text("a"), thought("2"), call("a")),
    (thought("1"), thought("2"), call("a")),
    (Text("a"), call("a", signature("1")), call("b")),
    (Text("a", opaque=signature("2")), call("a", signature("1"))),
    (Reasoning((), signature("1")), call("a")),
    (thought("1"), Text("a")),
    (Text("a"), thought("1")),
    (Text("a", opaque=signature("1")),),
)


@pytest.mark.parametrize("blocks", ANSWERS)
@pytest.mark.parametrize("streams", [False, True])
def test_it_comes_back_where_it_was(blocks: tuple[Block, ...], streams: bool) -> None:
    cache = MemoryReasoningCache()
    answering = recaller(cache)
    if streams:
        for event in unfold(response(*blocks)):
            answering.seal_events([event])
    else:
        answering.seal_response(response(*blocks))
    assert asked_again(cache, *bare(blocks)) == blocks


def test_a_signed_empty_text_stands_behind_what_was_said() -> None:
    """Gemini's last part: its signature moves to the text, where it is accepted as well."""
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(Text("a"), Text("", opaque=signature("1"))))
    assert asked_again(cache, Text("a")) == (Text("a", opaque=signature("1")),)


def test_a_signature_of_nothing_said_stands_on_an_empty_text() -> None:
    blocks = (Text("", opaque=signature("1")), call("a"))
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(*blocks))
    assert asked_again(cache, call("a")) == blocks


def test_several_texts_are_found_however_they_were_joined() -> None:
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(thought("1"), Text("One."), Text(" Two. ")))
    assert asked_again(cache, Text("One.\n\nTwo.")) == (thought("1"), Text("One.\n\nTwo."))


def test_what_the_client_returned_itself_is_left_alone() -> None:
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(thought("1"), call("a")))
    own = (thought("2"), call("a"))
    assert asked_again(cache, *own) == own


def test_unsigned_text_gives_way_to_what_was_signed() -> None:
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(thought("1"), call("a")))
    assert asked_again(cache, Reasoning((ReasoningText("Hm."),)), call("a")) == (thought("1"), call("a"))
    unknown = (Reasoning((ReasoningText("Hm."),)), call("z"))
    assert asked_again(cache, *unknown) == unknown


@pytest.mark.parametrize("who", [{"user": "v"}, {"model": "n"}, {"wire": "gemini"}])
@pytest.mark.parametrize("blocks", [(thought("1"), call("a")), (thought("1"), Text("a"))])
def test_nobody_else_gets_it(who: dict[str, str], blocks: tuple[Block, ...]) -> None:
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(*blocks))
    assert asked_again(cache, *bare(blocks), **who) == bare(blocks)


def test_unsigned_reasoning_is_kept_for_hosts_that_want_text() -> None:
    blocks = (Reasoning((ReasoningText("Hm."),)), call("a"))
    cache = MemoryReasoningCache()
    recaller(cache).seal_response(response(*blocks))
    assert not len(cache)
    recaller(cache, wire="openai_chat").seal_response(response(*blocks))
    assert asked_again(cache, call("a"), wire="openai_chat") == blocks
    own = (Reasoning((ReasoningText("Mine."),)), call("a"))
    assert asked_again(cache, *own, wire="openai_chat") == own


def test_an_answer_that_was_cut_off_is_not_kept() -> None:
    cache = MemoryReasoningCache()
    events = [event for event in unfold(response(thought("1"), call("a"))) if not isinstance(event, Ended)]
    recaller(cache).seal_events([*events, Failed(UpstreamError("gone"))])
    assert not len(cache)


def test_a_request_without_anything_known_is_the_same_object() -> None:
    cache = MemoryReasoningCache()
    sent = request(call("a"))
    assert recaller(cache).open_request(sent) is sent
    recaller(cache).seal_response(response(thought("1"), call("b")))
    assert recaller(cache).open_request(sent) is sent


@settings(deadline=None)
@given(
    first=st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)),
    second=st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)),
)
def test_keys_differ_when_anything_does(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    def keys(user: str, text: str, wire: str) -> tuple[bytes, bytes]:
        made = CacheKeys(SECRET, user)
        return made.of_call(text), made.of_text(text, wire)

    if first == second:
        assert keys(*first) == keys(*second)
    (user, text, wire), (other_user, other_text, other_wire) = first, second
    assert (keys(*first)[0] == keys(*second)[0]) == ((user, text) == (other_user, other_text))
    words, other_words = "".join(text.split()), "".join(other_text.split())
    assert (keys(*first)[1] == keys(*second)[1]) == ((user, words, wire) == (other_user, other_words, other_wire))
