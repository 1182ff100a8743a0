"""Response state over upstreams that have none, through the default stages."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from openai.types.responses import Response
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.middleware.affinity import AffinityMiddleware
from oneapi_mw.middleware.history import DAY_MS, NEVER, StateOptions
from oneapi_mw.middleware.precharge import PrechargeMiddleware
from oneapi_mw.middleware.route import RouteMiddleware
from oneapi_mw.middleware.state import StateMiddleware
from oneapi_mw.pipeline import build, default_stages, insert_before
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.upstream import Timeouts
from oneapi_mw.routing.channel import Channel
from oneapi_mw.routing.live import LiveRouter
from oneapi_mw.settings import Settings
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.sql import SqlStore
from oneapi_mw.store.state_records import ItemRecord, Owner
from oneapi_mw.wire.framing.sse import parse_block
from oneapi_mw.wire.response_state import Kept
from tests.relay.stack import (
    MODEL,
    SSE_TYPE,
    Channels,
    Gate,
    Keys,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    buffered,
    channel,
    event,
    principal,
    stream,
    streamed,
)
from tests.support import servers
from tests.support.harness import Client, Exchanged, call, http_scope

PATH = "/v1/responses"
ADA = Owner(1, 1)
CHAT = channel(1)
NATIVE = channel(2, config={"api_format": "response"})


def message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def native(*output: dict[str, Any], id_: str = "resp_up", **changes: Any) -> dict[str, Any]:
    """A response as an upstream of the client's own format gives it."""
    return {
        "id": id_,
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": MODEL,
        "output": list(output) or [said("Hello!")],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 18,
        },
        **changes,
    }


def said(text: str, id_: str = "msg_up") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": id_, "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def native_stream(*output: dict[str, Any], ending: str = "completed", **changes: Any) -> list[bytes]:
    whole = native(*output, status=ending, **changes)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    delta = {"type": "response.output_text.delta", "item_id": "msg_up", "output_index": 0, "content_index": 0}
    return [
        sse("response.created", response=begun),
        sse("response.in_progress", response=begun),
        event({**delta, "delta": 'the id is "resp_up"', "logprobs": []}),
        sse(f"response.{ending}", response=whole),
    ]


def sse(kind: str, **members: Any) -> bytes:
    return b"event: " + kind.encode() + b"\n" + event({"type": kind, **members})


@dataclass
class World:
    """The default stages with state around a scripted upstream."""

    upstream: ScriptedUpstream
    channels: Sequence[Channel] = (CHAT,)
    options: StateOptions = field(default_factory=StateOptions)
    store: MemoryStore = field(default_factory=MemoryStore)
    ledger: WatchedLedger = field(default_factory=WatchedLedger)
    now: float = 1_800_000_000.0

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=lambda: self.now)
        self.ledger.open_account(2, 1_000_000)
        for token, user in ((2, 2), (3, 1)):
            self.ledger.open_token(token, user, 0, unlimited=True)
        self.states = self.store.responses
        self.app = self.build()

    def build(self) -> ASGIApp:
        keys = {
            "ada": principal(),
            "bob": principal(user_id=2, user_uuid="u-2", token_id=2, token_uuid="t-2"),
            "ada2": principal(token_id=3, token_uuid="t-3"),
        }
        stages = default_stages(principals=Keys(keys), router=LiveRouter(Channels(self.channels)), ledger=self.ledger)
        state = Middleware(StateMiddleware, states=self.states, options=self.options, clock=lambda: self.now)
        stages = insert_before(stages, RouteMiddleware, state)
        stages = insert_before(stages, PrechargeMiddleware, Middleware(AffinityMiddleware))
        return build(Relay(upstream=self.upstream, limits=RelayLimits(Timeouts())), stages)

    async def ask(self, text: Any = "Hi", *, key: str = "ada", path: str = PATH, **changes: Any) -> Exchanged:
        body = {"model": MODEL, "input": text, "max_output_tokens": 50, **changes}
        headers = {"authorization": f"Bearer sk-{key}"}
        return await call(self.app, "POST", path, json=body, headers=headers)

    async def ok(self, text: Any = "Hi", **changes: Any) -> dict[str, Any]:
        exchanged = await self.ask(text, **changes)
        assert exchanged.status == 200, exchanged.body
        Response.model_validate(exchanged.json(), strict=False)
        body: dict[str, Any] = exchanged.json()
        return body

    async def kept(self, response_id: str, owner: Owner = ADA) -> Kept | None:
        found = await self.states.read(owner, [response_id])
        return Kept.read(found[response_id].content) if response_id in found else None

    async def talk(self, *items: dict[str, Any], owner: Owner = ADA) -> str:
        conversation_id = "conv_oa" + "0" * 31 + "1"
        records = [ItemRecord(f"item_{place}", orjson.dumps(item)) for place, item in enumerate(items)]
        await self.states.create_conversation(
            owner,
            conversation_id,
            metadata="{}",
            items=records,
            expires_at=NEVER,
            limits=self.options.conversation_limits,
        )
        return conversation_id

    async def talked(self, conversation_id: str) -> list[dict[str, Any]]:
        found = await self.states.items(ADA, conversation_id)
        assert found is not None
        return [orjson.loads(item.content) for item in found]

    def sent(self, place: int = -1) -> Any:
        return self.upstream.requests[place].body


def world(*replies: Reply, **changes: Any) -> World:
    return World(ScriptedUpstream(*replies), **changes)


def refused(exchanged: Exchanged) -> tuple[int, str]:
    return exchanged.status, exchanged.json()["error"]["code"]


def last_event(exchanged: Exchanged) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(parse_block(exchanged.body)[-1].data)
    return found


# --- chains --------------------------------------------------------------------------------------------------------


async def test_an_answer_is_continued_over_an_upstream_without_memory() -> None:
    on = world(buffered(answer("One.")), buffered(answer("Two.")), buffered(answer("Three.")))
    first = await on.ok("a")
    second = await on.ok("b", previous_response_id=first["id"], instructions="Be brief")
    third = await on.ok("c", previous_response_id=second["id"])

    assert on.sent(1)["messages"] == [
        message("system", "Be brief"), message("user", "a"), message("assistant", "One."), message("user", "b")
    ]  # fmt: skip
    assert on.sent(2)["messages"] == [
        *(message("user", "a"), message("assistant", "One.")),
        *(message("user", "b"), message("assistant", "Two.")),
        message("user", "c"),
    ]
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert all(each["id"].startswith("resp_oa") for each in (first, second, third))
    assert (first["previous_response_id"], third["previous_response_id"]) == (None, second["id"])


async def test_an_answer_can_be_continued_twice() -> None:
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.", "Three.")))
    first = await on.ok("a")
    await on.ok("b", previous_response_id=first["id"])
    await on.ok("c", previous_response_id=first["id"])
    assert [each["content"] for each in on.sent()["messages"]] == ["a", "One.", "c"]


async def test_what_is_put_in_counts_for_the_hold_and_the_charge() -> None:
    on = world(buffered(answer("One.", usage=None)), buffered(answer("Two.", usage=None)))
    first = await on.ok("word " * 2000)
    await on.ok("b", previous_response_id=first["id"])
    one, two = on.ledger.holds.values()
    assert two.request.amount > one.request.amount > 2000
    assert two.final is not None
    assert two.final > 2000


async def test_calls_and_their_results_are_told_apart_by_turn() -> None:
    tool_calls = [{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]
    on = world(buffered(answer("", tool_calls=tool_calls)), buffered(answer("Noon.")))
    first = await on.ok("When?", tools=[{"type": "function", "name": "clock", "parameters": {"type": "object"}}])
    result = {"type": "function_call_output", "call_id": "call_1", "output": "12:00"}
    await on.ok([result], previous_response_id=first["id"])

    user, asked, told = on.sent()["messages"]
    assert user == message("user", "When?")
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"] == "call_1"
    assert "tools" not in on.sent()


async def test_a_stream_is_kept_under_the_id_it_tells() -> None:
    on = world(streamed(), buffered(answer("Two.")))
    exchanged = await on.ask("a", stream=True)
    whole = last_event(exchanged)["response"]
    ids = {orjson.loads(e.data)["response"]["id"] for e in parse_block(exchanged.body) if b'"response":' in e.data}
    assert ids == {whole["id"]}
    assert whole["id"].startswith("resp_oa")
    kept = await on.kept(whole["id"])
    assert kept is not None
    assert kept.response == whole

    await on.ok("b", previous_response_id=whole["id"])
    assert [each["content"] for each in on.sent()["messages"]] == ["a", "Hello!", "b"]


async def test_a_whole_answer_to_a_request_for_a_stream_is_kept() -> None:
    on = world(buffered(answer("One.")))
    whole = last_event(await on.ask("a", stream=True))["response"]
    assert await on.kept(whole["id"]) is not None


async def test_the_stream_ends_only_when_its_answer_is_stored() -> None:
    on = world(streamed())
    storing, stored = asyncio.Event(), asyncio.Event()
    add = on.states.add

    async def slow(*args: Any, **options: Any) -> None:
        storing.set()
        await stored.wait()
        await add(*args, **options)

    on.states.add = slow  # type: ignore[method-assign]
    client = Client(orjson.dumps({"model": MODEL, "input": "a", "stream": True}))
    scope = http_scope("POST", PATH, headers={"authorization": "Bearer sk-ada"})
    task = asyncio.ensure_future(on.app(scope, client.receive, client.send))
    await storing.wait()
    assert b"response.completed" not in client.exchanged.body
    assert not client.exchanged.ended
    stored.set()
    await task
    assert b"response.completed" in client.exchanged.body


# --- upstreams of the client's own format --------------------------------------------------------------------------


async def test_bytes_of_the_same_format_change_in_their_ids_alone() -> None:
    raw = orjson.dumps(native(said('not "resp_up"'), news={"unknown": 1.50}))
    on = world(buffered(raw), buffered(orjson.dumps(native())), channels=[NATIVE])
    exchanged = await on.ask("a", note="unknown")
    first = exchanged.json()
    assert exchanged.body == raw.replace(b'"resp_up"', orjson.dumps(first["id"]))
    assert b'not \\"resp_up\\"' in exchanged.body
    assert on.sent()["input"] == "a"

    second = await on.ok("b", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    part = {"type": "input_text", "text": "a"}
    assert on.sent()["input"] == [
        {"type": "message", "role": "user", "content": [part], "status": "completed"},
        said('not "resp_up"'),
        message("user", "b"),
    ]
    assert "previous_response_id" not in on.sent()


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("ending", ["completed", "incomplete"])
async def test_a_stream_of_the_same_format_changes_in_its_ids_alone(size: int, ending: str) -> None:
    data = b"".join(native_stream(ending=ending))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    on = world(Reply(pieces, headers=SSE_TYPE), channels=[NATIVE])
    exchanged = await on.ask("a", stream=True)
    whole = last_event(exchanged)["response"]
    assert exchanged.body == data.replace(b'"id":"resp_up"', b'"id":"%s"' % whole["id"].encode())
    assert whole["id"].startswith("resp_oa")
    kept = await on.kept(whole["id"])
    assert kept is not None
    assert kept.response == whole


async def test_an_id_that_is_missing_is_given() -> None:
    without = {name: value for name, value in native().items() if name != "id"}
    on = world(buffered(orjson.dumps(without)), channels=[NATIVE])
    assert await on.kept((await on.ok())["id"]) is not None


async def test_a_stream_without_an_id_is_not_kept() -> None:
    data = b"".join(native_stream()).replace(b'"id":"resp_up",', b"")
    on = world(Reply([data], headers=SSE_TYPE), channels=[NATIVE])
    assert (await on.ask(stream=True)).body == data


# --- what is not kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"store": False}, {"background": True}], ids=str)
@pytest.mark.parametrize("streams", [False, True])
async def test_an_answer_that_nobody_wants_kept_passes_as_it_is(how: dict[str, Any], streams: bool) -> None:
    data = b"".join(native_stream()) if streams else orjson.dumps(native())
    on = world(Reply([data], headers=SSE_TYPE if streams else [(b"content-type", b"application/json")]))
    on.channels = [NATIVE]
    on.app = on.build()
    assert (await on.ask(stream=streams, **how)).body == data
    assert await on.states.read(ADA, ["resp_up"]) == {}


@pytest.mark.parametrize("store", [None, True, False, "absent"])
@pytest.mark.parametrize("upstream", ["native", "chat"])
async def test_who_keeps_an_answer(store: Any, upstream: str) -> None:
    """What the client says of `store` goes to an upstream of its own format as it said it: that one keeps a copy of
    its own, which is what items without their ciphertext are looked up in. The client is served from ours all the
    same. Where another format is spoken the gateway alone keeps it, so nothing is lost and nothing is said."""
    said_it = {} if store == "absent" else {"store": store}
    reply = orjson.dumps(native()) if upstream == "native" else answer("One.")
    on = world(buffered(reply), channels=[NATIVE if upstream == "native" else CHAT])
    exchanged = await on.ask("a", **said_it)
    assert exchanged.status == 200
    response_id = exchanged.json()["id"]
    kept = await on.kept(response_id)
    assert (kept is not None) is (store is not False)
    assert response_id.startswith("resp_oa") is (store is not False)
    sent = {name: value for name, value in on.sent().items() if name == "store"}
    assert sent == (said_it if upstream == "native" else {})
    assert "x-oneapi-dropped" not in exchanged.headers


async def test_store_is_lost_where_nobody_keeps_anything() -> None:
    on = world(buffered(answer("One.")), buffered(answer("Two.")))
    on.options = StateOptions.of(Settings(response_state_allowlist="user:2")) or on.options
    on.app = on.build()
    assert (await on.ask("a", store=True)).headers["x-oneapi-dropped"] == "store"
    on.options = StateOptions(shadow=True)
    on.app = on.build()
    assert (await on.ask("a", store=True)).headers["x-oneapi-dropped"] == "store"


async def test_what_is_not_kept_may_continue_what_is() -> None:
    on = world(buffered(answer("One.")), buffered(answer("Two.")))
    first = await on.ok("a")
    second = await on.ok("b", previous_response_id=first["id"], store=False)
    assert [each["content"] for each in on.sent()["messages"]] == ["a", "One.", "b"]
    assert not second["id"].startswith("resp_oa")
    assert refused(await on.ask("c", previous_response_id=second["id"])) == (400, "previous_response_not_found")


async def test_an_answer_that_fails_is_not_kept() -> None:
    on = world(streamed(*stream("Hel")[:2]), Reply(status=500))
    exchanged = await on.ask("a", stream=True)
    failed = last_event(exchanged)
    assert failed["type"] == "response.failed"
    assert await on.kept(failed["response"]["id"]) is None
    assert (await on.ask("a")).status >= 500


async def test_a_failure_in_the_middle_goes_by_the_same_id() -> None:
    on = world(Reply(native_stream()[:3], headers=SSE_TYPE), channels=[NATIVE])
    events = [orjson.loads(each.data) for each in parse_block((await on.ask(stream=True)).body)]
    assert events[-1]["type"] == "response.failed"
    assert {each["response"]["id"] for each in events if "response" in each} == {events[0]["response"]["id"]}
    assert events[0]["response"]["id"].startswith("resp_oa")


async def test_requests_of_other_formats_pass() -> None:
    on = world(buffered())
    exchanged = await on.ask(path="/v1/chat/completions", messages=[message("user", "Hi")], previous_response_id="x")
    assert exchanged.status == 200
    assert on.sent()["previous_response_id"] == "x"


async def test_a_question_that_is_too_large_is_answered_and_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    on = world(*(buffered(answer("One.")) for _ in range(3)), options=StateOptions(max_record_bytes=2000))
    with caplog.at_level(logging.WARNING, "oneapi_mw.state"):
        exchanged = await on.ask("x" * 2000)
    assert (exchanged.status, exchanged.headers["x-oneapi-state"]) == (200, "not_stored")
    assert "not stored" in caplog.text
    assert not exchanged.json()["id"].startswith("resp_oa")
    exchanged = await on.ask("x" * 1000)  # known only once the answer is there
    assert (exchanged.status, exchanged.headers["x-oneapi-state"]) == (200, "not_stored")
    assert await on.kept(exchanged.json()["id"]) is None
    assert "x-oneapi-state" not in (await on.ask("x")).headers


async def test_more_items_than_may_be_are_answered_and_not_kept() -> None:
    on = world(*(buffered(answer("One.")) for _ in range(2)), options=StateOptions(max_item_count=2))
    items = [message("user", "a"), message("user", "b")]
    assert (await on.ask(items)).headers["x-oneapi-state"] == "not_stored"
    assert "x-oneapi-state" not in (await on.ask(items[:1])).headers


@pytest.mark.parametrize("streams", [False, True])
async def test_a_store_that_is_away_takes_nothing_from_an_answer(
    streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    on = world(streamed() if streams else buffered())

    async def away(*args: Any, **options: Any) -> None:
        raise StoreUnavailable("The database does not answer")

    on.states.add = away  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "oneapi_mw.state"):
        exchanged = await on.ask(stream=streams)
    assert exchanged.status == 200
    assert b"completed" in exchanged.body
    assert ("x-oneapi-state" in exchanged.headers) is not streams
    assert "The database does not answer" in caplog.text
    assert await on.ledger.check() > 0


# --- what cannot be continued --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["bob", "ada2"])
@pytest.mark.parametrize("item", [False, True])
async def test_nobody_continues_the_answer_of_somebody_else(key: str, item: bool) -> None:
    on = world(buffered(answer("One.")))
    first = await on.ok("a")
    selector: dict[str, Any] = {"previous_response_id": first["id"]}
    if item:
        selector = {"text": [{"type": "item_reference", "id": first["output"][0]["id"]}]}
    exchanged = await on.ask(key=key, **selector)
    assert refused(exchanged) == (400, "invalid_state_selector" if item else "previous_response_not_found")
    assert len(on.upstream.requests) == 1
    assert len(on.ledger.holds) == 1


@pytest.mark.parametrize("response_id", ["resp_" + "a" * 48, "resp_oa" + "a" * 32, "resp_oa\0", "", "\ud800"])
async def test_unknown_answers_are_not_found(response_id: str) -> None:
    on = world()
    exchanged = await call(
        on.app,
        "POST",
        PATH,
        body=orjson.dumps({"model": MODEL, "previous_response_id": "@@"}).replace(
            b'"@@"', json.dumps(response_id).encode()
        ),
        headers={"authorization": "Bearer sk-ada"},
    )
    assert refused(exchanged) == (400, "previous_response_not_found")


async def test_a_chain_with_a_gap_is_refused() -> None:
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.")))
    first = await on.ok("a")
    second = await on.ok("b", previous_response_id=first["id"])
    assert await on.states.delete(ADA, first["id"])
    exchanged = await on.ask("c", previous_response_id=second["id"])
    assert refused(exchanged) == (400, "previous_response_not_found")
    assert first["id"] in exchanged.json()["error"]["message"]


async def test_an_answer_expires_unless_it_is_continued() -> None:
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.", "Three.")))
    first, lost = await on.ok("a"), await on.ok("z")
    on.now += 29 * DAY_MS / 1000
    second = await on.ok("b", previous_response_id=first["id"])
    on.now += 2 * DAY_MS / 1000
    assert refused(await on.ask("c", previous_response_id=lost["id"])) == (400, "previous_response_not_found")
    on.upstream = ScriptedUpstream(buffered(answer("Four.")))
    on.app = on.build()
    await on.ok("c", previous_response_id=second["id"])
    assert [each["content"] for each in on.sent()["messages"]] == ["a", "One.", "b", "Three.", "c"]


@pytest.mark.parametrize(
    "options",
    [
        StateOptions(max_chain_depth=1),
        StateOptions(max_item_count=4),
        StateOptions(max_hydrated_bytes=1500),
        StateOptions(max_hydrated_tokens=20),
    ],
    ids=["depth", "items", "bytes", "tokens"],
)
async def test_a_history_has_limits(options: StateOptions) -> None:
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.")))
    first = await on.ok("a")
    second = await on.ok("b", previous_response_id=first["id"])
    on.options = options
    on.app = on.build()
    assert refused(await on.ask("c", previous_response_id=second["id"])) == (413, "state_limit_exceeded")
    assert len(on.upstream.requests) == 2


async def test_a_store_that_is_away_is_told_before_anything_is_charged() -> None:
    on = world()

    async def away(*args: Any, **options: Any) -> Any:
        raise StoreUnavailable("The database does not answer")

    on.states.links = away  # type: ignore[method-assign]
    exchanged = await on.ask("b", previous_response_id="resp_oa" + "a" * 32)
    assert refused(exchanged) == (503, "state_store_unavailable")
    assert (exchanged.headers["retry-after"], exchanged.headers["x-should-retry"]) == ("1", "true")
    assert not on.ledger.holds


@pytest.mark.parametrize(
    ("selector", "code"),
    [
        ({"previous_response_id": "a", "conversation": "b"}, "invalid_state_selector"),
        ({"conversation": {"name": "x"}}, "invalid_state_selector"),
        ({"text": [{"type": "item_reference"}]}, "invalid_state_selector"),
        ({"text": [{"type": "item_reference", "id": "msg_x"}]}, "invalid_state_selector"),
        ({"text": [{"type": "item_reference", "id": "\0"}]}, "invalid_state_selector"),
    ],
)
async def test_selectors_that_select_nothing(selector: dict[str, Any], code: str) -> None:
    assert refused(await world().ask(**selector)) == (400, code)


# --- references to items -------------------------------------------------------------------------------------------


async def test_items_that_are_only_named_are_put_in() -> None:
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.", "Three.")))
    first = await on.ok("a")
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    second = await on.ok([message("user", "a"), reference, message("user", "b")])
    assert [each["content"] for each in on.sent()["messages"]] == ["a", "One.", "b"]

    kept = await on.kept(second["id"])
    assert kept is not None
    assert [item["type"] for item in kept.input] == ["message"] * 3
    await on.ok([message("user", "c"), reference], previous_response_id=second["id"])
    assert [each["content"] for each in on.sent()["messages"]] == ["a", "One.", "b", "Two.", "c", "One."]


# --- conversations -------------------------------------------------------------------------------------------------


async def test_a_conversation_is_continued_and_grows() -> None:
    on = world(buffered(answer("One.")), streamed(*stream("Two.")))
    talk = await on.talk(message("user", "Once upon a time"))
    first = await on.ok("a", conversation=talk)
    await on.ask("b", conversation={"id": talk}, stream=True)

    assert first["conversation"] == {"id": talk}
    told = [each["content"] for each in on.sent()["messages"]]
    assert told == ["Once upon a time", "a", "One.", "b"]
    items = await on.talked(talk)
    assert [item.get("role") for item in items] == ["user", "user", "assistant", "user", "assistant"]
    assert items[2] == first["output"][0]
    record = await on.states.conversation(ADA, talk)
    assert record is not None
    assert (record.item_count, record.channel_id) == (5, CHAT.id)


async def test_a_conversation_that_is_only_read_does_not_grow() -> None:
    on = world(buffered(answer("One.")))
    talk = await on.talk(message("user", "Once"))
    await on.ok("a", conversation=talk, store=False)
    assert len(await on.talked(talk)) == 1


async def test_an_answer_within_a_conversation_is_continued_without_it() -> None:
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.", "Three.")))
    talk = await on.talk(message("user", "Once"))
    first = await on.ok("a", conversation=talk)
    await on.ok("b", conversation=talk)
    await on.ok("c", previous_response_id=first["id"])
    assert [each["content"] for each in on.sent()["messages"]] == ["Once", "a", "One.", "c"]
    assert await on.states.delete_conversation(ADA, talk)
    assert refused(await on.ask("d", previous_response_id=first["id"])) == (400, "previous_response_not_found")


@pytest.mark.parametrize("key", ["bob", "ada2"])
async def test_nobody_joins_the_conversation_of_somebody_else(key: str) -> None:
    on = world()
    talk = await on.talk(message("user", "Once"))
    assert refused(await on.ask("a", conversation=talk, key=key)) == (404, "conversation_not_found")
    assert refused(await on.ask("a", conversation=talk, key=key, store=False)) == (404, "conversation_not_found")
    assert refused(await on.ask("a", conversation="conv_x")) == (404, "conversation_not_found")
    assert not on.ledger.holds


async def test_two_requests_do_not_write_to_one_conversation() -> None:
    gate = Gate()
    on = world(buffered(gate, answer("One.")), buffered(answer("Two.")))
    talk = await on.talk(message("user", "Once"))
    first = asyncio.create_task(on.ask("a", conversation=talk))
    await gate.reached.wait()
    assert refused(await on.ask("b", conversation=talk)) == (409, "conversation_conflict")
    assert len(on.ledger.holds) == 1
    gate.open()
    assert (await first).status == 200
    assert (await on.ask("b", conversation=talk)).status == 200


@pytest.mark.parametrize("reply", [Reply(status=400), streamed(*stream("Hel")[:2])], ids=["refused", "cut"])
async def test_a_request_that_fails_leaves_its_conversation_to_others(reply: Reply) -> None:
    on = world(reply, buffered(answer("Two.")))
    talk = await on.talk(message("user", "Once"))
    await on.ask("a", conversation=talk, stream=True)
    assert (await on.ask("b", conversation=talk)).status == 200
    assert [item.get("role") for item in await on.talked(talk)] == ["user", "user", "assistant"]


async def test_a_request_that_is_cancelled_leaves_its_conversation_to_others() -> None:
    gate = Gate()
    on = world(buffered(gate, answer("One.")), buffered(answer("Two.")))
    talk = await on.talk(message("user", "Once"))
    first = asyncio.create_task(on.ask("a", conversation=talk))
    await gate.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await on.ask("b", conversation=talk)).status == 200


async def test_a_conversation_that_cannot_be_released_is_free_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    on = world(Reply(status=400), buffered(answer("Two.")))
    talk = await on.talk(message("user", "Once"))

    async def away(*args: Any, **options: Any) -> None:
        raise StoreUnavailable("The database does not answer")

    on.states.release = away  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "oneapi_mw.state"):
        await on.ask("a", conversation=talk)
    assert "keeps its conversation" in caplog.text
    assert refused(await on.ask("b", conversation=talk)) == (409, "conversation_conflict")
    on.now += 301
    assert (await on.ask("b", conversation=talk)).status == 200


async def test_an_answer_whose_conversation_is_gone_or_full_is_not_stored() -> None:
    gate = Gate()
    on = world(buffered(gate, answer("One.")), buffered(answer("Two.")), options=StateOptions(max_item_count=3))
    talk = await on.talk(message("user", "Once"))
    first = asyncio.create_task(on.ask("a", conversation=talk))
    await gate.reached.wait()
    await on.states.delete_conversation(ADA, talk)
    gate.open()
    exchanged = await first
    assert (exchanged.status, exchanged.headers["x-oneapi-state"]) == (200, "not_stored")
    assert await on.kept(exchanged.json()["id"]) is None

    talk = await on.talk(message("user", "Once"), message("user", "upon"))
    assert (await on.ask("a", conversation=talk)).headers["x-oneapi-state"] == "not_stored"
    assert len(await on.talked(talk)) == 2


async def test_a_conversation_takes_no_more_than_can_be_kept() -> None:
    on = world(options=StateOptions(max_record_bytes=500))
    talk = await on.talk()
    assert refused(await on.ask("x" * 500, conversation=talk)) == (413, "state_limit_exceeded")


async def test_an_idle_conversation_ends_when_the_operator_says_so() -> None:
    on = world(buffered(answer("One.")), options=StateOptions(conversation_idle_days=2))
    talk = await on.talk(message("user", "Once"))
    await on.ok("a", conversation=talk)
    on.now += 3 * DAY_MS / 1000
    assert refused(await on.ask("b", conversation=talk)) == (404, "conversation_not_found")


# --- where it is continued -----------------------------------------------------------------------------------------


def two_channels() -> list[Channel]:
    return [replace(NATIVE, id=number, uuid=f"c-{number}", base_url=f"http://up-{number}.test") for number in (1, 2)]


async def test_the_channel_that_answered_is_asked_again() -> None:
    first, second = two_channels()
    on = world(buffered(orjson.dumps(native())), channels=[second])
    made = await on.ok("a")
    on.channels = [replace(first, priority=5), second]
    on.upstream = ScriptedUpstream(*(buffered(orjson.dumps(native())) for _ in range(2)))
    on.app = on.build()
    await on.ok("b", previous_response_id=made["id"])
    await on.ok("b")
    assert [request.url.split("/v1")[0] for request in on.upstream.requests] == ["http://up-2.test", "http://up-1.test"]


@pytest.mark.parametrize("stays", [True, False])
async def test_reasoning_that_only_one_account_knows_does_not_go_to_another(stays: bool) -> None:
    first, second = two_channels()
    bound = {"id": "rs_1", "type": "reasoning", "summary": []}
    free = {"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": "x"}
    on = world(buffered(orjson.dumps(native(bound, free, said("One.")))), channels=[first])
    made = await on.ok("a")
    on.channels = [first if stays else second]
    on.upstream = ScriptedUpstream(buffered(orjson.dumps(native())))
    on.app = on.build()
    await on.ok("b", previous_response_id=made["id"])
    sent = [item.get("id") for item in on.sent()["input"]]
    assert sent == [None, *(["rs_1"] if stays else []), "rs_2", "msg_up", None]


async def test_reasoning_without_what_it_was_for_is_not_sent_back() -> None:
    cut = {"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": "x"}
    whole = native(said("One."), cut, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    on = world(buffered(orjson.dumps(whole)), buffered(orjson.dumps(native())), channels=[NATIVE])
    made = await on.ok("a")
    await on.ok("b", previous_response_id=made["id"])
    assert [item.get("id") for item in on.sent()["input"]] == [None, "msg_up", None]
    kept = await on.kept(made["id"])
    assert kept is not None
    assert len(kept.output) == 2


async def test_over_a_database(tmp_path: Path) -> None:
    store = SqlStore(await servers.migrated_database("sqlite", tmp_path), KeyRing([b"a secret for tests"]))
    await store.start()
    on = world(*(buffered(answer(text)) for text in ("One.", "Two.", "Three.")))
    on.states, on.now = store.responses, time.time()
    on.app = on.build()
    talk = await on.talk(message("user", "Once"))
    first = await on.ok("a", conversation=talk)
    second = await on.ok("b" * 30_000, previous_response_id=first["id"])
    await on.ok("c", previous_response_id=second["id"])
    assert [each["content"] for each in on.sent()["messages"]] == ["Once", "a", "One.", "b" * 30_000, "Two.", "c"]
    assert len(await on.talked(talk)) == 3
    await store.aclose()


# --- what operators choose -----------------------------------------------------------------------------------------


async def test_ids_of_upstreams_go_to_them_where_the_operator_says_so() -> None:
    replies = [buffered(orjson.dumps(native())) for _ in range(3)]
    on = world(*replies, channels=[NATIVE], options=StateOptions(passthrough=True))
    exchanged = await on.ask("a", previous_response_id="resp_theirs")
    assert on.sent() == {"model": MODEL, "input": "a", "max_output_tokens": 50, "previous_response_id": "resp_theirs"}
    assert exchanged.json()["id"] == "resp_up"
    await on.ok("a", conversation="conv_theirs")
    assert on.sent()["conversation"] == "conv_theirs"
    reference = {"type": "item_reference", "id": "msg_theirs"}
    await on.ok([reference])
    assert on.sent()["input"] == [reference]
    assert refused(await on.ask("a", previous_response_id="resp_oa" + "a" * 32)) == (400, "previous_response_not_found")


async def test_in_the_shadow_answers_are_kept_and_not_used() -> None:
    on = world(*(buffered(orjson.dumps(native(id_=f"resp_{n}"))) for n in (1, 2)), channels=[NATIVE])
    on.options = StateOptions(shadow=True)
    on.app = on.build()
    assert (await on.ok("a"))["id"] == "resp_1"
    await on.ok("b", previous_response_id="resp_1")
    assert on.sent()["previous_response_id"] == "resp_1"
    assert await on.kept("resp_1") is not None
    assert await on.kept("resp_2") is not None

    on.upstream, on.channels = ScriptedUpstream(buffered(), streamed()), [CHAT]
    on.app = on.build()
    assert await on.kept((await on.ok("a"))["id"]) is not None


@pytest.mark.parametrize(
    ("words", "kept"),
    [("", True), ("1", True), ("user:u-1", True), ("token:1 user:7", True), ("channel:1", True), ("channel:C-1", True),
     ("user:2,token:2,channel:2", False), ("user:2", False)],
)  # fmt: skip
async def test_state_for_some(words: str, kept: bool) -> None:
    options = StateOptions.of(Settings(response_state_allowlist=words))
    assert options is not None
    for streams in (False, True):
        on = world(streamed() if streams else buffered(), options=options)
        exchanged = await on.ask("a", stream=streams)
        whole = last_event(exchanged)["response"] if streams else exchanged.json()
        assert (await on.kept(whole["id"]) is not None) is kept
        assert whole["id"].startswith("resp_oa") is kept


def test_options_are_settings() -> None:
    assert StateOptions.of(Settings()) == StateOptions()
    assert StateOptions.of(Settings(response_state_enabled=True)) == StateOptions()
    assert StateOptions.of(Settings(response_state_enabled=False)) is None
