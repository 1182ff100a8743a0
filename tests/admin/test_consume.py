"""External billing over HTTP: `consume` in its phases, and what an API key sees of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.admin.consume import Order
from oneapi_mw.ledger.base import Balance
from oneapi_mw.ledger.memory import MemoryLedger
from oneapi_mw.store.records import TokenRecord
from oneapi_mw.store.repositories.rows import HOLDS
from oneapi_mw.store.sql import SqlStore
from tests.admin.world import Reply, World

PATH = "/api/token/consume"
TRANSACTION = {
    "uuid", "transaction_id", "token_uuid", "user_uuid", "log_uuid", "status_code", "status", "pre_quota",
    "final_quota", "auto_confirmed", "expires_at", "reason", "request_id", "trace_id",
}  # fmt: skip
EDGE = 2**53


async def consume(world: World, headers: dict[str, str] | None = None, **body: Any) -> Reply:
    await world.books()
    return await world.post(PATH, world["alice"].key, {"add_reason": "scan", **body}, headers=headers)


async def done(world: World, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    """The transaction of a call that succeeds."""
    reply = await consume(world, headers, **body)
    answer = reply.json()
    assert (reply.status, answer["success"], answer["message"]) == (200, True, ""), answer
    transaction: dict[str, Any] = answer["transaction"]
    return transaction


async def balance(world: World) -> Balance:
    return await (await world.books()).user_balance(world["alice"].user.id)


async def end_time(world: World, transaction_id: str) -> None:
    """Let the time of a pending transaction be over."""
    ledger = await world.books()
    if isinstance(ledger, MemoryLedger):
        for hold in ledger.holds.values():
            hold.lease_until = 0
        return
    assert isinstance(world.store, SqlStore)
    async with world.store._database.writing() as connection:
        await connection.execute(HOLDS.update().values(lease_until=0))


async def rows(world: World, path: str = "/api/token/transactions", **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.get(path, world["alice"].key, query=query)).data
    return found


async def test_set_aside_then_charged(world: World) -> None:
    pre = await done(world, phase=" PRE ", add_used_quota=300, elapsed_time_ms=5)

    assert pre.keys() == TRANSACTION | {"elapsed_time_ms"}
    assert (pre["status"], pre["status_code"], pre["pre_quota"], pre["final_quota"]) == ("pending", 1, 300, None)
    assert (pre["auto_confirmed"], pre["log_uuid"], pre["reason"]) == (False, "", "scan")
    assert (pre["token_uuid"], pre["user_uuid"]) == (world["alice"].token.uuid, world["alice"].user.uuid)
    assert pre["expires_at"] > 1_700_000_000
    assert await balance(world) == Balance(700, 0, 0)

    reply = await consume(world, phase="post", transaction_id=pre["transaction_id"], final_used_quota=450)
    post = reply.json()["transaction"]
    assert (post["status"], post["status_code"], post["pre_quota"], post["final_quota"]) == ("confirmed", 2, 300, 450)
    assert (post["expires_at"], post["transaction_id"]) == (0, pre["transaction_id"])
    assert post["confirmed_at"] > 1_700_000_000
    assert "canceled_at" not in post
    token = reply.json()["data"]
    assert (token["uuid"], token["used_quota"], token["name"]) == (world["alice"].token.uuid, 450, "alice-key")
    assert await balance(world) == Balance(550, 450, 1)


async def test_the_log_row_and_the_cost_are_those_of_the_hold(world: World) -> None:
    post = await done(world, add_used_quota=70, elapsed_time_ms=12)

    (row,) = await rows(world, "/api/token/logs")
    assert (row["uuid"], row["type"], row["quota"]) == (post["log_uuid"], 7, 70)
    assert (row["model_name"], row["elapsed_time"], row["token_name"]) == ("scan", 12, "alice-key")
    path = f"/api/cost/request/{row['request_id']}"
    (await world.get(path)).refused("no cost is known")  # its id can be guessed
    world.configure(public_cost_lookup=False)
    (await world.get(path, world["bob"].key)).refused("no cost is known")
    cost = (await world.get(path, world["alice"].key)).json()
    assert (cost["quota"], cost["state"], cost["estimated"]) == (70, "final", False)
    assert cost["user_uuid"] == world["alice"].user.uuid
    assert await (await world.books()).audit() == []


async def test_canceled(world: World) -> None:
    pre = await done(world, phase="pre", add_used_quota=300)
    canceled = await done(world, phase="cancel", transaction_id=pre["transaction_id"])

    assert (canceled["status"], canceled["status_code"], canceled["final_quota"]) == ("canceled", 4, 0)
    assert canceled["canceled_at"] > 1_700_000_000
    assert (canceled["log_uuid"], canceled["expires_at"]) == ("", 0)
    assert await balance(world) == Balance(1000, 0, 0)


@pytest.mark.parametrize("amount", [None, 0])
async def test_single_may_be_free(world: World, amount: int | None) -> None:
    single = await done(world, phase="single" if amount is None else "", add_used_quota=amount)

    assert (single["status"], single["pre_quota"], single["final_quota"]) == ("confirmed", 0, 0)
    assert await balance(world) == Balance(1000, 0, 1)


@pytest.mark.parametrize("final", [0, 1, 300, 301, 5000])
async def test_post_charges_what_it_says(world: World, final: int) -> None:
    """More than the balance too: the work is done."""
    pre = await done(world, phase="pre", add_used_quota=300)
    post = await done(world, phase="post", transaction_id=pre["transaction_id"], add_used_quota=final)

    assert (post["pre_quota"], post["final_quota"]) == (300, final)
    assert (await balance(world)).quota == 1000 - final


async def test_charging_more_than_there_is_can_be_switched_off(world: World) -> None:
    world.configure(external_overrun=False)
    pre = await done(world, phase="pre", add_used_quota=300)
    words: dict[str, Any] = {"phase": "post", "transaction_id": pre["transaction_id"]}

    (await consume(world, **words, final_used_quota=1001)).refused("insufficient user quota")
    assert await balance(world) == Balance(700, 0, 0)
    assert (await done(world, **words, final_used_quota=1000))["pre_quota"] == 300
    assert await balance(world) == Balance(0, 1000, 1)


async def test_a_used_up_key_cannot_overrun_when_that_is_off(world: World) -> None:
    world.configure(external_overrun=False)
    await world.books()
    token = await limited(world, 100)
    by = {"authorization": f"Bearer sk-{token.key}"}
    pre = {"add_reason": "scan", "phase": "pre", "add_used_quota": 100, "transaction_id": "T"}
    assert (await world.post(PATH, by, pre)).json()["success"] is True
    await world.store.tokens.update(token.uuid, {"status": 4})
    post = {"add_reason": "scan", "phase": "post", "transaction_id": "T"}

    (await world.post(PATH, by, {**post, "final_used_quota": 101})).refused("insufficient token quota")
    assert (await world.post(PATH, by, {**post, "final_used_quota": 100})).json()["success"] is True
    (await world.post(PATH, by, {**post, "final_used_quota": 101})).refused("already confirmed")


async def test_an_ended_transaction_says_how_it_ended(world: World) -> None:
    pre = await done(world, phase="pre", add_used_quota=300)
    id_ = pre["transaction_id"]
    await done(world, phase="post", transaction_id=id_, final_used_quota=10)

    (await consume(world, phase="post", transaction_id=id_, final_used_quota=10)).refused(
        f"transaction {id_} is already confirmed"
    )
    (await consume(world, phase="cancel", transaction_id=id_)).refused(
        f"transaction {id_} cannot be canceled because it is confirmed"
    )
    assert await balance(world) == Balance(990, 10, 1)


async def test_when_the_time_is_over_the_amount_stands(world: World) -> None:
    """Whether the sweeper has come by or not."""
    pre = await done(world, phase="pre", add_used_quota=300)
    id_ = pre["transaction_id"]
    await end_time(world, id_)

    (await consume(world, phase="post", transaction_id=id_, final_used_quota=1)).refused("already auto_confirmed")
    (await consume(world, phase="cancel", transaction_id=id_)).refused("because it is auto_confirmed")
    assert await balance(world) == Balance(700, 300, 1)
    (row,) = await rows(world)
    assert (row["status"], row["final_quota"], row["auto_confirmed"]) == (3, 300, True)
    (logged,) = await rows(world, "/api/token/logs")
    assert (logged["type"], logged["quota"], logged["uuid"]) == (7, 300, row["log_uuid"])
    assert logged["metadata"] == {"transaction_id": id_, "auto_confirmed": True}


async def test_the_list_confirms_what_is_late(world: World) -> None:
    pre = await done(world, phase="pre", add_used_quota=300)
    await end_time(world, pre["transaction_id"])

    assert [row["status"] for row in await rows(world)] == [3]
    assert await balance(world) == Balance(700, 300, 1)


@pytest.mark.parametrize(
    ("asked", "held"), [({"phase": "pre"}, 600), ({"timeout_seconds": 0}, 600), ({"timeout_seconds": -5}, 600),
                        ({"timeout_seconds": 30}, 30), ({"timeout_seconds": 10**15}, 3600)]
)  # fmt: skip
async def test_how_long_an_amount_is_held(world: World, asked: dict[str, Any], held: int) -> None:
    pre = await done(world, None, **{"phase": "pre", "add_used_quota": 1, **asked})

    assert abs(pre["expires_at"] - time.time() - held) < 30


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"add_reason": "  "}, "add_reason cannot be empty"),
        ({"add_reason": None}, "add_reason cannot be empty"),
        ({"add_reason": "r" * 1001}, "add_reason is too long"),
        ({"add_reason": "a\0b"}, "must not contain NUL"),
        ({"phase": "later"}, "unsupported phase: later"),
        ({"phase": "pre"}, "add_used_quota must be greater than 0 for pre phase"),
        ({"phase": "pre", "add_used_quota": 0}, "add_used_quota must be greater than 0 for pre phase"),
        ({"phase": "post", "final_used_quota": 1}, "transaction_id is required for post phase"),
        ({"phase": "cancel", "transaction_id": " "}, "transaction_id is required for cancel phase"),
        ({"phase": "post", "transaction_id": "t"}, "final_used_quota or add_used_quota must be provided"),
        ({"transaction_id": "t" * 129}, "transaction_id is too long"),
        ({"add_used_quota": -1}, "add_used_quota must be at least 0"),
        ({"add_used_quota": 1.5}, "add_used_quota must be a whole number"),
        ({"add_used_quota": True}, "add_used_quota must be a whole number"),
        ({"add_used_quota": "1"}, "add_used_quota must be a whole number"),
        ({"add_used_quota": EDGE + 1}, f"add_used_quota must be at most {EDGE}"),
        ({"add_used_quota": 2**63 - 1}, f"add_used_quota must be at most {EDGE}"),
        ({"add_used_quota": 2**64 - 1}, f"add_used_quota must be at most {EDGE}"),
        ({"phase": "post", "transaction_id": "t", "final_used_quota": 2**63}, "final_used_quota must be at most"),
    ],
)  # fmt: skip
async def test_what_is_refused(world: World, body: dict[str, Any], message: str) -> None:
    (await consume(world, **body)).refused(message)
    world.configure(strict_http_status=True)
    strict = await consume(world, **body)
    assert (strict.status, strict.json()["code"]) == (400, "invalid_request")
    assert await balance(world) == Balance(1000, 0, 0)


async def test_unknown_transactions_and_those_of_others_look_the_same(world: World) -> None:
    pre = await done(world, phase="pre", add_used_quota=10)
    id_ = pre["transaction_id"]

    for phase in ("post", "cancel"):
        body = {"add_reason": "x", "phase": phase, "transaction_id": id_, "final_used_quota": 1}
        foreign = await world.post(PATH, world["bob"].key, body)
        foreign.refused("record not found")
        world.configure(strict_http_status=True)
        assert (await world.post(PATH, world["bob"].key, body)).status == 404
        world.configure(strict_http_status=False)
    assert await balance(world) == Balance(990, 0, 0)
    assert (await world.get("/api/token/transactions", world["bob"].key)).data == []


async def test_strict_statuses(world: World) -> None:
    world.configure(strict_http_status=True)
    pre = await done(world, phase="pre", add_used_quota=10, transaction_id="T")
    replies = {
        404: await consume(world, phase="cancel", transaction_id="unknown"),
        400: await consume(world, phase="pre", add_used_quota=991),
        409: await consume(world, phase="pre", add_used_quota=11, transaction_id="T"),
    }
    for status, reply in replies.items():
        assert reply.status == status
        assert reply.json()["success"] is False
    assert replies[400].json()["code"] == "insufficient_user_quota"
    assert replies[409].json()["code"] == "idempotency_key_reused"
    await done(world, phase="cancel", transaction_id=pre["transaction_id"])
    assert (await consume(world, phase="post", transaction_id="T", final_used_quota=1)).status == 409


async def limited(world: World, quota: int) -> TokenRecord:
    return await world.token(world["alice"].user, name="limited", remain_quota=quota)


async def test_whose_quota_is_short(world: World) -> None:
    await world.books()
    token = await limited(world, 100)
    body = {"add_reason": "scan", "phase": "pre", "add_used_quota": 101}
    by = {"authorization": f"Bearer sk-{token.key}"}

    (await world.post(PATH, by, body)).refused("insufficient token quota")
    (await consume(world, phase="pre", add_used_quota=1001)).refused("insufficient user quota")
    assert await balance(world) == Balance(1000, 0, 0)
    assert await rows(world) == []


@pytest.mark.parametrize("phase", ["post", "cancel"])
async def test_a_hold_of_all_there_is_can_still_be_ended(world: World, phase: str) -> None:
    await world.books()
    token = await limited(world, 100)
    by = {"authorization": f"Bearer sk-{token.key}"}
    pre = (await world.post(PATH, by, {"add_reason": "scan", "phase": "pre", "add_used_quota": 100})).json()
    await world.store.tokens.update(token.uuid, {"status": 4})

    again = await world.post(PATH, by, {"add_reason": "scan", "phase": "pre", "add_used_quota": 1})
    assert again.status == 401
    assert "is used up" in again.json()["error"]["message"]
    end = {"add_reason": "scan", "phase": phase, "final_used_quota": 40}
    ended = (await world.post(PATH, by, {**end, "transaction_id": pre["transaction"]["transaction_id"]})).json()
    assert ended["success"] is True, ended
    left = await (await world.books()).token_balance(token.id)
    assert (left.quota, left.used_quota) == ((60, 40) if phase == "post" else (100, 0))


@pytest.mark.parametrize("phase", ["pre", "single"])
@pytest.mark.parametrize("named", ["header", "transaction_id"])
async def test_a_repeated_call_is_the_same_transaction(world: World, phase: str, named: str) -> None:
    headers = {"idempotency-key": "key-1"} if named == "header" else None
    body: dict[str, Any] = {"phase": phase, "add_used_quota": 70}
    if named != "header":
        body["transaction_id"] = "mine"
    first = await consume(world, headers, **body)
    second = await consume(world, headers, **dict(reversed(body.items())))

    assert first.json()["transaction"] == second.json()["transaction"]
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    if named != "header":
        assert first.json()["transaction"]["transaction_id"] == "mine"
    assert (await balance(world)).quota == 930
    (await consume(world, headers, **{**body, "add_used_quota": 71})).refused("said something else")
    other_phase = "single" if phase == "pre" else "pre"
    (await consume(world, headers, **{**body, "phase": other_phase})).refused("said something else")
    assert (await balance(world)).quota == 930
    assert len(await rows(world)) == 1


async def test_a_repeated_pre_tells_what_became_of_it(world: World) -> None:
    body: dict[str, Any] = {"phase": "pre", "add_used_quota": 70, "transaction_id": "mine"}
    await done(world, **body)
    await done(world, phase="post", transaction_id="mine", final_used_quota=30)
    assert (await done(world, **body))["status"] == "confirmed"

    await done(world, **{**body, "transaction_id": "other"})
    await done(world, phase="cancel", transaction_id="other")
    (await consume(world, **{**body, "transaction_id": "other"})).refused("transaction other is already canceled")
    assert await balance(world) == Balance(970, 30, 1)


async def test_the_same_key_of_two_api_keys_is_two_keys(world: World) -> None:
    first = await done(world, {"idempotency-key": "k"}, add_used_quota=10)
    body = {"add_reason": "scan", "add_used_quota": 99}
    second = (await world.post(PATH, world["bob"].key, body, headers={"idempotency-key": "k"})).json()["transaction"]

    assert first["transaction_id"] != second["transaction_id"]
    assert (first["final_quota"], second["final_quota"]) == (10, 99)


async def test_a_refused_call_keeps_nothing_under_its_key(world: World) -> None:
    headers = {"idempotency-key": "k"}
    (await consume(world, headers, phase="pre", add_used_quota=5000)).refused("insufficient")
    (await consume(world, headers, phase="nonsense")).refused("unsupported")

    assert (await done(world, headers, phase="pre", add_used_quota=50))["status"] == "pending"


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "\u00e9"])
async def test_keys_that_cannot_be_used(world: World, key: str) -> None:
    (await consume(world, {"idempotency-key": key}, add_used_quota=1)).refused("Idempotency-Key must have 1 to 255")
    assert await balance(world) == Balance(1000, 0, 0)


@pytest.mark.parametrize("phase", ["pre", "single"])
async def test_one_key_charges_once_under_parallel_calls(world: World, phase: str) -> None:
    calls = [consume(world, {"idempotency-key": "k"}, phase=phase, add_used_quota=20) for _ in range(32)]
    answers = [reply.json() for reply in await asyncio.gather(*calls)]

    assert all(answer["success"] for answer in answers), answers
    assert len({answer["transaction"]["uuid"] for answer in answers}) == 1
    assert (await balance(world)).quota == 980
    assert len(await rows(world)) == 1


async def test_post_and_cancel_race_for_one_transaction(world: World) -> None:
    for _ in range(5):
        pre = await done(world, phase="pre", add_used_quota=100)
        id_, before = pre["transaction_id"], await balance(world)
        post, cancel = await asyncio.gather(
            consume(world, phase="post", transaction_id=id_, final_used_quota=120),
            consume(world, phase="cancel", transaction_id=id_),
        )
        assert post.json()["success"] is not cancel.json()["success"]
        after = await balance(world)
        assert after.quota == before.quota + (-20 if post.json()["success"] else 100)
    assert await (await world.books()).audit() == []


async def test_the_list(world: World) -> None:
    for n in range(5):
        await done(world, add_used_quota=n, add_reason=f"reason {n}")
    page = await world.get("/api/token/transactions", world["alice"].key, query={"p": 1, "size": 2})

    assert page.json()["total"] == 5
    assert [row["reason"] for row in page.data] == ["reason 2", "reason 1"]
    row = page.data[0]
    assert row.keys() == TRANSACTION - {"status_code"} | {
        "confirmed_at", "canceled_at", "elapsed_time_ms", "created_at", "updated_at"
    }  # fmt: skip
    assert (row["status"], row["canceled_at"], row["elapsed_time_ms"]) == (2, None, None)
    assert row["updated_at"] >= row["created_at"] > 1_700_000_000_000


async def test_the_list_ends_somewhere(world: World) -> None:
    world.configure(max_transactions=3)
    for n in range(5):
        await done(world, add_used_quota=n)

    for query, shown in (({"size": 10}, [4, 3, 2]), ({"p": 1, "size": 2}, [2]), ({"p": 2, "size": 2}, [])):
        reply = await world.get("/api/token/transactions", world["alice"].key, query=query)
        assert ([row["pre_quota"] for row in reply.data], reply.json()["total"]) == (shown, 3)


async def test_rows_go_by_the_key_and_not_by_its_name(world: World) -> None:
    twin = await world.token(world["alice"].user, name="alice-key", unlimited_quota=True)
    await done(world, add_used_quota=5)
    await world.store.tokens.update(world["alice"].token.uuid, {"name": "renamed"})
    by = {"authorization": f"Bearer sk-{twin.key}"}

    for path in ("/api/token/transactions", "/api/token/logs"):
        assert len(await rows(world, path)) == 1
        assert (await world.get(path, by)).data == []


async def test_a_caller_that_goes_away_is_not_charged_for_what_it_never_heard_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, original = asyncio.Event(), world.store.transactions.get

    async def hang(hold_key: str) -> Any:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.store.transactions, "get", hang)
    for headers, left in ((None, 1000), ({"idempotency-key": "k"}, 900)):
        reached.clear()
        task = asyncio.create_task(consume(world, headers, phase="pre", add_used_quota=100))
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await balance(world)).quota == left
    monkeypatch.setattr(world.store.transactions, "get", original)
    assert (await done(world, {"idempotency-key": "k"}, phase="pre", add_used_quota=100))["status"] == "pending"


@given(st.integers(0, EDGE), st.sampled_from(["single", "pre"]), st.integers(1, 3600))
def test_the_digest_of_a_call_tells_calls_apart(amount: int, phase: str, seconds: int) -> None:
    order = Order(phase, amount, "r", "t", seconds, None)

    assert order.digest() == Order(phase, amount, "r", "other id", seconds, None).digest()
    assert order.digest() != Order(phase, amount + 1, "r", "t", seconds, None).digest()
    assert order.digest() != Order(phase, amount, "r", "t", seconds, 1).digest()
