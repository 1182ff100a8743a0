"""The idempotency stage in the default stack: what is repeated, what is refused, and what is charged."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp

from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.middleware import idempotency
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.upstream import ClosedBeforeResponse
from oneapi_mw.store.key_records import KeyClaim, KeyState, key_id
from oneapi_mw.store.memory_idempotency import MemoryIdempotencyKeys
from oneapi_mw.store.records import CostRecord
from oneapi_mw.store.state_records import Owner
from tests.relay.stack import (
    COST,
    HEADERS,
    MODEL,
    PATH,
    PRICE,
    Gate,
    Reply,
    ScriptedUpstream,
    WatchedLedger,
    answer,
    body,
    buffered,
    channel,
    gateway,
    principal,
    streamed,
)
from tests.support.harness import Client, Exchanged, call, http_scope

OWNER = Owner(1, 1)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Costs:
    """A `CostLookup` over the ledger's holds."""

    def __init__(self, ledger: WatchedLedger) -> None:
        self._ledger = ledger

    async def get(self, request_id: str) -> CostRecord | None:
        hold = self._ledger.holds.get(request_id)
        if hold is None:
            return None
        state = {"open": "pending", "settled": "final", "void": "void"}[hold.state]
        return CostRecord("", request_id, "", hold.final, state, False, 0, 0, 0)


class Stack:
    """The stages with a scripted upstream, and everything to look into."""

    def __init__(self, *replies: Reply, retries: int = 0) -> None:
        self.upstream = ScriptedUpstream(*replies)
        self.ledger = WatchedLedger()
        self.clock = Clock()
        self.keys = MemoryIdempotencyKeys(self.clock)
        self.drain = Drain()
        self.app = self.made(retries)

    def made(
        self, retries: int = 0, *, config: dict[str, Any] | None = None, fan_out: bool = False, **who: Any
    ) -> ASGIApp:
        models = (MODEL, "o1-mini")
        channels = [
            channel(n, models=models, model_configs=dict.fromkeys(models, PRICE), config=config or {})
            for n in (1, 2, 3)
        ]
        return gateway(
            self.upstream,
            self.ledger,
            channels=channels,
            retries=retries,
            who=principal(**who),
            idempotency=self.keys,
            costs=Costs(self.ledger),
            drain=self.drain,
            fan_out_n=fan_out,
            at_once=1,
        )

    async def ask(
        self, key: str | None = "k", *, app: ASGIApp | None = None, path: str = PATH, **changes: Any
    ) -> Exchanged:
        headers = HEADERS if key is None else {**HEADERS, "idempotency-key": key}
        return await call(app or self.app, "POST", path, json=body(**changes), headers=headers)

    def begin(self, key: str = "k", **changes: Any) -> tuple[Client, asyncio.Task[None]]:
        client = Client(orjson.dumps(body(**changes)))
        scope = http_scope("POST", PATH, headers={**HEADERS, "idempotency-key": key})
        return client, asyncio.ensure_future(self.app(scope, client.receive, client.send))

    def state(self, key: str = "k") -> KeyState | None:
        found = self.keys._keys.get(key_id(OWNER, key))
        return None if found is None else found.state


def code(exchanged: Exchanged) -> tuple[int, str]:
    return exchanged.status, exchanged.json()["error"]["code"]


async def test_the_same_answer_again_and_charged_once() -> None:
    stack = Stack(buffered(answer("H\u00e9llo \U0001f642")))
    first, second = await stack.ask(), await stack.ask()

    assert first.status == second.status == 200
    assert first.body == second.body
    assert len(stack.upstream.requests) == 1
    assert await stack.ledger.check() == COST
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-oneapi-original-request-id"] == first.headers["x-oneapi-request-id"]
    assert second.headers["x-oneapi-request-id"] != first.headers["x-oneapi-request-id"]
    for name in ("content-type", "content-length"):
        assert first.headers[name] == second.headers[name]


async def test_without_the_header_nothing_is_kept() -> None:
    stack = Stack(buffered(), buffered())
    await stack.ask(None)
    await stack.ask(None)

    assert len(stack.upstream.requests) == 2
    assert not stack.keys._keys


@pytest.mark.parametrize("changes", [{"max_tokens": 51}, {"path": "/v1/messages"}, {"path": PATH, "stream": True}])
async def test_something_else_under_the_key(changes: dict[str, Any]) -> None:
    stack = Stack(buffered())
    await stack.ask()
    other = await stack.ask(**changes)

    assert other.status == 409
    assert b"asked for something else" in other.body
    assert other.headers["x-should-retry"] == "false"
    assert len(stack.upstream.requests) == 1
    assert (await stack.ask()).headers["idempotent-replayed"] == "true"


async def test_the_key_of_another_token_is_another_key() -> None:
    stack = Stack(buffered(answer("one")), buffered(answer("two")))
    stack.ledger.open_token(2, 1, unlimited=True)
    mine, theirs = await stack.ask(), await stack.ask(app=stack.made(token_id=2, token_uuid="t-2"))

    assert b"one" in mine.body
    assert b"two" in theirs.body
    assert b"one" in (await stack.ask()).body


async def test_of_many_at_once_one_is_answered_and_the_others_come_back() -> None:
    gate = Gate()
    stack = Stack(buffered(waiting=gate))
    client, first = stack.begin()
    await gate.reached.wait()

    others = await asyncio.gather(*(stack.ask() for _ in range(31)))
    for other in others:
        assert code(other) == (409, "idempotency_in_progress")
        assert (other.headers["retry-after"], other.headers["x-should-retry"]) == ("1", "true")
    gate.open()
    await first
    again = await asyncio.gather(*(stack.ask() for _ in range(31)))

    assert {other.body for other in again} == {client.exchanged.body}
    assert len(stack.upstream.requests) == 1
    assert await stack.ledger.check() == COST


@pytest.mark.parametrize(
    ("changes", "status"), [({"model": "unknown"}, 503), ({"max_tokens": -1}, 400), ({"max_tokens": 10**9}, 403)]
)
async def test_a_refused_request_keeps_nothing(changes: dict[str, Any], status: int) -> None:
    stack = Stack(buffered())
    refused = await stack.ask(**changes)

    assert refused.status in (status, 404, 400)
    assert stack.state() is None
    assert (await stack.ask()).status == 200


async def test_what_the_upstream_refused_may_be_asked_again() -> None:
    stack = Stack(Reply([b'{"error": {"message": "busy"}}'], status=503), buffered())
    assert (await stack.ask()).status >= 500
    assert stack.state() is None

    assert (await stack.ask()).status == 200
    assert (await stack.ask()).headers["idempotent-replayed"] == "true"


async def test_a_stream_is_not_kept_and_not_repeated() -> None:
    stack = Stack(streamed())
    first = await stack.ask(stream=True)
    assert first.body.endswith(b"data: [DONE]\n\n")
    second = await stack.ask(stream=True)

    assert code(second) == (409, "conflict")
    assert first.headers["x-oneapi-request-id"] in second.json()["error"]["message"]
    assert f"cost {COST} quota units" in second.json()["error"]["message"]
    assert await stack.ledger.check() == COST


async def test_an_answer_that_is_too_large_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_ANSWER_BYTES", 300)
    stack = Stack(buffered(answer("x" * 400)))

    assert (await stack.ask()).status == 200
    assert code(await stack.ask()) == (409, "conflict")


async def test_a_client_that_leaves_before_the_answer_is_charged_once() -> None:
    gate = Gate()
    stack = Stack(buffered(waiting=gate))
    client, task = stack.begin()
    await gate.reached.wait()
    client.leave()
    await asyncio.gather(task, return_exceptions=True)

    assert stack.state() is KeyState.ENDED
    assert code(await stack.ask()) == (409, "conflict")
    assert len(stack.upstream.requests) == 1


@pytest.mark.parametrize("sent", [False, True])
async def test_a_cancelled_request(sent: bool) -> None:
    gate = Gate()
    stack = Stack(buffered(waiting=gate) if sent else buffered(connecting=gate), buffered())
    _, task = stack.begin()
    await gate.reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert stack.state() is (KeyState.ENDED if sent else None)
    again = await stack.ask()
    assert again.status == (409 if sent else 200)


class Away(MemoryIdempotencyKeys):
    """Keys whose endings cannot be noted."""

    async def finish(self, *args: Any, **kwargs: Any) -> None:
        raise StoreUnavailable("the database does not answer")

    release = finish


async def test_an_answer_that_cannot_be_noted_is_given_all_the_same_and_charged_once() -> None:
    stack = Stack(buffered())
    stack.keys = Away(stack.clock)
    app = stack.made()
    assert (await stack.ask(app=app)).status == 200

    assert code(await stack.ask(app=app)) == (409, "idempotency_in_progress")
    stack.clock.now += idempotency.BUSY_SECONDS + 1
    keys = MemoryIdempotencyKeys(stack.clock)
    keys._keys = stack.keys._keys
    stack.keys = keys
    app = stack.made()
    for _ in range(2):
        assert code(await stack.ask(app=app)) == (409, "conflict")
    assert stack.state() is KeyState.ENDED
    assert await stack.ledger.check() == COST


async def test_a_lost_request_is_made_again_when_it_was_not_charged() -> None:
    """Its worker died before it had a hold, or the hold was given back."""
    stack = Stack(buffered())
    fingerprint = await idempotency._fingerprint(http_scope("POST", PATH), orjson.dumps(body()))
    claim = KeyClaim(fingerprint, "lost", idempotency.BUSY_SECONDS)
    assert await stack.keys.claim(OWNER, "k", claim) is None

    assert code(await stack.ask()) == (409, "idempotency_in_progress")
    stack.clock.now += idempotency.BUSY_SECONDS + 1
    answers = await asyncio.gather(*(stack.ask() for _ in range(5)))

    assert [answer.status for answer in answers].count(200) >= 1
    assert len(stack.upstream.requests) == 1
    assert await stack.ledger.check() == COST


async def test_keys_are_forgotten_after_a_day() -> None:
    stack = Stack(buffered(answer("one")), buffered(answer("two")))
    assert b"one" in (await stack.ask()).body
    stack.clock.now += 24 * 3600 + 1

    assert b"two" in (await stack.ask()).body
    assert await stack.keys.sweep() == 0
    stack.clock.now += 24 * 3600 + 1
    assert await stack.keys.sweep() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb"])
async def test_keys_that_cannot_be_used(key: str) -> None:
    stack = Stack()
    refused = await stack.ask(key)
    assert refused.status == 400
    assert b"Idempotency-Key must have 1 to 255" in refused.body


async def test_a_key_that_is_sent_twice() -> None:
    stack = Stack()
    scope = http_scope("POST", PATH, headers={**HEADERS, "idempotency-key": "k"})
    scope["headers"].append((b"idempotency-key", b"k"))
    client = Client(orjson.dumps(body()))
    await stack.app(scope, client.receive, client.send)
    assert code(client.exchanged) == (400, "duplicate_header")


async def test_other_methods_and_paths_pass() -> None:
    stack = Stack()
    for method, path in (("GET", PATH), ("POST", "/v1/nothing")):
        exchanged = await call(stack.app, method, path, headers={**HEADERS, "idempotency-key": "a b"})
        assert b"Idempotency-Key" not in exchanged.body


# What is owed although the ledger has not said so.


async def test_calls_of_one_request_that_are_owed_while_the_last_is_not() -> None:
    """One of two calls is answered, the other refused, and the charge for the first is late: it will come."""
    stack = Stack(buffered(), buffered(b"{}", status=500), buffered(), buffered())
    stack.app = stack.made(fan_out=True)
    stack.ledger.away = StoreUnavailable("away")
    assert (await stack.ask(model="o1-mini", n=2)).status == 500
    assert stack.state() is KeyState.ENDED
    stack.ledger.away = None
    assert code(await stack.ask(model="o1-mini", n=2)) == (409, "conflict")
    assert await stack.ledger.check() == COST
    assert len(stack.upstream.requests) == 2


async def test_failed_attempts_that_are_owed_while_the_last_is_not() -> None:
    told = orjson.dumps({"error": {"message": "overloaded"}, "usage": {"prompt_tokens": 9}})
    stack = Stack(buffered(told), buffered(b"{}", status=500), buffered())
    stack.app = stack.made(retries=1, config={"bill_failed_attempts": True})
    stack.ledger.away = StoreUnavailable("away")
    assert (await stack.ask()).status == 500
    assert stack.state() is KeyState.ENDED
    stack.ledger.away = None
    assert code(await stack.ask()) == (409, "conflict")
    assert await stack.ledger.check() == 9
    assert len(stack.upstream.requests) == 2


async def test_an_answer_that_is_read_for_nobody_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "GRACE", 0)
    gate = Gate()
    stack = Stack(buffered(waiting=gate), buffered())
    stack.app = stack.made(config={"bills_after_disconnect": True})
    client, task = stack.begin()
    await gate.reached.wait()
    client.leave()
    await task
    assert stack.state() is KeyState.ENDED
    assert code(await stack.ask()) == (409, "conflict")
    gate.open()
    assert await stack.drain.finish(60)
    assert code(await stack.ask()) == (409, "conflict")
    assert await stack.ledger.check() == COST


@pytest.mark.parametrize("ambiguous", ["void", "prompt_cost"])
async def test_an_attempt_that_may_have_arrived(ambiguous: str) -> None:
    """Where nothing is charged for it, it may be made again."""
    stack = Stack(buffered(waiting=ClosedBeforeResponse()), buffered())
    stack.app = stack.made(config={"ambiguous": ambiguous})
    assert (await stack.ask()).status == 502
    again = await stack.ask()
    assert again.status == (200 if ambiguous == "void" else 409)
