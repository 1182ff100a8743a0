"""What every store does with answers and conversations that later requests continue."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from oneapi_mw.store.base import Conflict, ResponseStates, StateBusy, StateFull
from oneapi_mw.store.engine import Database
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.repositories import responses as repository
from oneapi_mw.store.repositories.responses import ANSWER_ITEMS, CONVERSATIONS, ITEMS, RESPONSES, SqlResponses
from oneapi_mw.store.state_records import (
    ConversationLimits,
    ConversationRecord,
    ItemRange,
    ItemRecord,
    Owner,
    ResponseLink,
    ResponseRecord,
)
from oneapi_mw.store.tables import now_ms
from tests.support import servers

KEYRING = KeyRing([b"a secret for tests"])
ADA = Owner(1, 10)
STRANGERS = [Owner(2, 20), Owner(1, 11), Owner(2, 10)]
"""Another user, the user's other token, and nobody."""
DAY = 86_400_000
LIMITS = ConversationLimits()
MOST = 1000


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgresql", "mysql"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Database | None]:
    if request.param == "memory":
        yield None
        return
    url = await servers.migrated_database(request.param, tmp_path_factory.mktemp("states"))
    database = Database(url)
    await database.start()
    yield database
    await database.aclose()
    await servers.drop_database(url)


@pytest.fixture
async def states(shared: Database | None) -> AsyncIterator[ResponseStates]:
    if shared is None:
        yield MemoryStore().responses
        return
    async with shared.writing() as connection:
        for table in (RESPONSES, ANSWER_ITEMS, CONVERSATIONS, ITEMS):
            await connection.execute(table.delete())
    made = SqlResponses(shared, KEYRING)
    yield made
    await made.aclose()


def name(kind: str = "resp") -> str:
    return f"{kind}_{secrets.token_hex(8)}"


def answer(id_: str = "", content: bytes = b"{}", *, days: float = 30, **changes: Any) -> ResponseRecord:
    now = now_ms()
    link = ResponseLink(id_ or name(), None, None, 0, 7, 2, len(content), now, now + int(days * DAY))
    return ResponseRecord(replace(link, **changes), content)


async def keep(states: ResponseStates, *answers: ResponseRecord, owner: Owner = ADA, most: int = MOST) -> None:
    for each in answers:
        await states.add(owner, each, most=most)


async def talk(
    states: ResponseStates, *texts: str, owner: Owner = ADA, days: float = 30, limits: ConversationLimits = LIMITS
) -> ConversationRecord:
    return await states.create_conversation(
        owner,
        name("conv"),
        metadata='{"topic":"cats"}',
        items=items(*texts),
        expires_at=now_ms() + int(days * DAY),
        limits=limits,
    )


def items(*texts: str) -> list[ItemRecord]:
    return [ItemRecord(f"item_{text}", text.encode()) for text in texts]


async def texts(states: ResponseStates, conversation_id: str, **which: Any) -> list[str]:
    found = await states.items(ADA, conversation_id, ItemRange(**which))
    assert found is not None
    return [item.content.decode() for item in found]


async def append(states: ResponseStates, conversation_id: str, *texts: str, **changes: Any) -> bool:
    values: dict[str, Any] = {"expires_at": now_ms() + DAY, "limits": LIMITS, **changes}
    return await states.append(values.pop("owner", ADA), conversation_id, items(*texts), **values)


def ids(links: Sequence[ResponseLink]) -> list[str]:
    return [link.id for link in links]


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 100_000], ids=["empty", "small", "large"])
async def test_an_answer_comes_back_as_it_was(states: ResponseStates, size: int) -> None:
    kept = answer(content="ü".encode() * size, previous_id="resp_1", conversation_id="conv_1", position=4)
    await keep(states, kept)

    assert await states.read(ADA, [kept.link.id, "resp_nothing"]) == {kept.link.id: kept}
    assert await states.links(ADA, kept.link.id, most=9) == [kept.link]


async def test_an_id_is_used_once(states: ResponseStates) -> None:
    kept = answer()
    await keep(states, kept)
    with pytest.raises(Conflict):
        await keep(states, kept, owner=STRANGERS[0])


async def test_of_many_added_at_once_a_bad_one_stops_no_other(states: ResponseStates) -> None:
    made = [answer() for _ in range(8)]
    twice = answer(made[3].link.id, b"another")
    done = await asyncio.gather(
        *(keep(states, each) for each in (*made, twice)), keep(states, answer("x" * 300)), return_exceptions=True
    )
    assert done[:8] == [None] * 8
    assert isinstance(done[8], Conflict)
    assert await states.read(ADA, [each.link.id for each in made]) == {each.link.id: each for each in made}


async def test_a_chain_is_told_from_its_newest_link(states: ResponseStates) -> None:
    first = answer()
    second = answer(previous_id=first.link.id)
    third = answer(previous_id=second.link.id)
    await keep(states, first, second, third, answer(previous_id=first.link.id))

    assert await states.links(ADA, third.link.id, most=9) == [third.link, second.link, first.link]
    assert await states.links(ADA, third.link.id, most=2) == [third.link, second.link]
    assert await states.links(ADA, first.link.id, most=9) == [first.link]
    assert await states.links(ADA, "resp_nothing", most=9) == []


async def test_a_chain_ends_where_something_is_missing(states: ResponseStates) -> None:
    first, others = answer(), answer()
    second = answer(previous_id=first.link.id)
    third = answer(previous_id=second.link.id)
    foreign = answer(previous_id=others.link.id)
    await keep(states, first, second, third, foreign)
    await keep(states, others, owner=STRANGERS[0])
    assert await states.delete(ADA, second.link.id)

    assert ids(await states.links(ADA, third.link.id, most=9)) == [third.link.id]
    assert ids(await states.links(ADA, foreign.link.id, most=9)) == [foreign.link.id]


@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
async def test_answers_are_nobody_elses(states: ResponseStates, stranger: Owner) -> None:
    kept = answer()
    await states.add(ADA, kept, item_ids=["msg_1"], most=MOST)

    assert await states.links(stranger, kept.link.id, most=9) == []
    assert await states.read(stranger, [kept.link.id]) == {}
    assert await states.find_items(stranger, ["msg_1"]) == []
    assert not await states.delete(stranger, kept.link.id)
    assert ids(await states.find_items(ADA, ["msg_1"])) == [kept.link.id]


async def test_a_stranger_cannot_renew(states: ResponseStates) -> None:
    kept = answer(days=1)
    await keep(states, kept)
    await states.add(STRANGERS[0], answer(), renew=[kept.link.id], most=MOST)
    assert await states.links(ADA, kept.link.id, most=1) == [kept.link]


async def test_items_lead_to_their_answers(states: ResponseStates) -> None:
    older, newer = answer(created_at=now_ms() - 5), answer()
    await states.add(ADA, newer, item_ids=["msg_1", "rs_1", "msg_1"], most=MOST)
    await states.add(ADA, older, item_ids=["msg_1"], most=MOST)

    assert ids(await states.find_items(ADA, ["msg_1"])) == [older.link.id, newer.link.id]
    assert ids(await states.find_items(ADA, ["rs_1", "rs_2"])) == [newer.link.id]
    assert await states.delete(ADA, newer.link.id)
    assert await states.find_items(ADA, ["rs_1"]) == []


async def test_a_deleted_answer_is_gone(states: ResponseStates) -> None:
    kept = answer()
    await keep(states, kept)
    assert await states.delete(ADA, kept.link.id)
    assert not await states.delete(ADA, kept.link.id)
    assert await states.read(ADA, [kept.link.id]) == {}


async def test_what_has_expired_is_not_there_and_is_swept(states: ResponseStates) -> None:
    gone, stays = answer(days=-1), answer()
    await states.add(ADA, gone, item_ids=["msg_1"], most=MOST)
    await keep(states, stays)
    old, current = await talk(states, "a", days=-1), await talk(states, "b")

    assert await states.links(ADA, gone.link.id, most=9) == []
    assert await states.read(ADA, [gone.link.id]) == {}
    assert await states.find_items(ADA, ["msg_1"]) == []
    assert await states.conversation(ADA, old.id) is None
    assert await states.items(ADA, old.id) is None
    assert not await append(states, old.id, "c")
    assert await states.sweep() == 2
    assert await states.sweep() == 0
    assert ids(await states.links(ADA, stays.link.id, most=9)) == [stays.link.id]
    assert await texts(states, current.id) == ["b"]


async def test_sweeping_goes_on_until_nothing_is_left(
    states: ResponseStates, shared: Database | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "BATCH", 2)
    for _ in range(5):
        await states.add(ADA, answer(days=-1), item_ids=["msg_1"], most=MOST)
        await talk(states, "a", days=-1)
    assert await states.sweep() == 10
    if shared is not None:
        async with shared.reading() as connection:
            for table in (RESPONSES, ANSWER_ITEMS, CONVERSATIONS, ITEMS):
                assert await connection.scalar(select(func.count()).select_from(table)) == 0


async def test_a_continued_answer_lives_as_long_as_what_continues_it(states: ResponseStates) -> None:
    first, longer = answer(days=1), answer(days=90)
    await keep(states, first, longer)
    second = answer(days=30, previous_id=first.link.id)
    await states.add(ADA, second, renew=[first.link.id, longer.link.id], most=MOST)

    assert (await states.links(ADA, first.link.id, most=1))[0].expires_at == second.link.expires_at
    assert await states.links(ADA, longer.link.id, most=1) == [longer.link]


async def test_the_first_to_expire_make_room(states: ResponseStates) -> None:
    answers = [answer(days=days) for days in (5, 3, 4)]
    await keep(states, *answers, most=3)
    others = answer(days=1)
    await keep(states, others, owner=STRANGERS[0], most=3)
    other_token = answer(days=6)
    await keep(states, other_token, owner=STRANGERS[1], most=3)  # limits are per user

    left = await states.read(ADA, [each.link.id for each in answers])
    assert set(left) == {answers[0].link.id, answers[2].link.id}
    assert await states.read(STRANGERS[0], [others.link.id])
    await keep(states, answer(days=7), most=1)
    assert await states.read(ADA, [each.link.id for each in answers]) == {}


async def test_a_limit_is_kept_over_many_answers(states: ResponseStates) -> None:
    made = [answer(days=1 + number) for number in range(40)]
    for number, each in enumerate(made):
        await keep(states, each, most=16)
        there = await states.read(ADA, [each.link.id for each in made])
        assert len(there) == min(number + 1, 16)


# --- conversations -------------------------------------------------------------------------------------------------


async def test_a_conversation_comes_back_as_it_was(states: ResponseStates) -> None:
    made = await talk(states, "a", "bb")
    assert (made.item_count, made.size, made.next_position, made.channel_id) == (2, 3, 2, None)
    assert await states.conversation(ADA, made.id) == made
    assert await texts(states, made.id) == ["a", "bb"]
    assert await states.item(ADA, made.id, "item_bb") == ItemRecord("item_bb", b"bb")
    assert await states.item(ADA, made.id, "item_cc") is None


async def test_metadata_is_replaced(states: ResponseStates) -> None:
    made = await talk(states, "a")
    changed = await states.set_metadata(ADA, made.id, '{"topic":"dogs"}')
    assert changed == replace(made, metadata='{"topic":"dogs"}')
    assert await states.conversation(ADA, made.id) == changed
    assert await states.set_metadata(ADA, "conv_nothing", "{}") is None


async def test_items_are_added_at_the_end(states: ResponseStates) -> None:
    made = await talk(states)
    assert await append(states, made.id, "a", "b", channel_id=7)
    assert await append(states, made.id, "c")
    assert await append(states, made.id)

    assert await texts(states, made.id) == ["a", "b", "c"]
    found = await states.conversation(ADA, made.id)
    assert found is not None
    assert (found.item_count, found.size, found.next_position, found.channel_id) == (3, 3, 3, 7)
    assert not await append(states, "conv_nothing", "a")


async def test_ranges_of_items(states: ResponseStates) -> None:
    made = await talk(states, *"abcde")
    assert await texts(states, made.id, limit=2) == ["a", "b"]
    assert await texts(states, made.id, after="item_b", limit=2) == ["c", "d"]
    assert await texts(states, made.id, after="item_b", descending=True) == ["a"]
    assert await texts(states, made.id, descending=True, limit=1) == ["e"]
    assert await texts(states, made.id, before=2) == ["a", "b"]
    assert await texts(states, made.id, after="item_x") == []
    assert await states.items(ADA, "conv_nothing") is None


async def test_an_item_is_deleted_and_the_others_keep_their_places(states: ResponseStates) -> None:
    made = await talk(states, *"abc")
    assert await states.delete_item(ADA, made.id, "item_b")
    assert not await states.delete_item(ADA, made.id, "item_b")
    assert not await states.delete_item(ADA, "conv_nothing", "item_a")
    await append(states, made.id, "d")

    found = await states.conversation(ADA, made.id)
    assert found is not None
    assert (found.item_count, found.size, found.next_position) == (3, 3, 4)
    assert await texts(states, made.id) == ["a", "c", "d"]
    assert await texts(states, made.id, before=3) == ["a", "c"]


async def test_of_equal_ids_the_newest_counts(states: ResponseStates) -> None:
    made = await talk(states, "a", "b", "a")
    assert await texts(states, made.id, after="item_a") == []
    assert await states.item(ADA, made.id, "item_a") == ItemRecord("item_a", b"a")
    assert await states.delete_item(ADA, made.id, "item_a")
    assert await texts(states, made.id) == ["b"]


@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
async def test_conversations_are_nobody_elses(states: ResponseStates, stranger: Owner) -> None:
    made = await talk(states, "a")

    assert await states.conversation(stranger, made.id) is None
    assert await states.set_metadata(stranger, made.id, "{}") is None
    assert await states.items(stranger, made.id) is None
    assert await states.item(stranger, made.id, "item_a") is None
    assert await states.claim(stranger, made.id, holder="them", seconds=60) is None
    assert not await append(states, made.id, "b", owner=stranger)
    assert not await states.delete_item(stranger, made.id, "item_a")
    assert not await states.delete_conversation(stranger, made.id)
    assert await states.conversation(ADA, made.id) == made
    assert await texts(states, made.id) == ["a"]


async def test_a_deleted_conversation_is_gone(states: ResponseStates) -> None:
    made = await talk(states, "a")
    assert await states.delete_conversation(ADA, made.id)
    assert not await states.delete_conversation(ADA, made.id)
    assert await states.items(ADA, made.id) is None


async def test_one_request_writes_at_a_time(states: ResponseStates) -> None:
    made = await talk(states, "a")
    assert await states.claim(ADA, made.id, holder="r1", seconds=60) == made
    assert await states.claim(ADA, made.id, holder="r1", seconds=60) == made
    for refused in (
        states.claim(ADA, made.id, holder="r2", seconds=60),
        append(states, made.id, "b"),
        append(states, made.id, "b", holder="r2"),
        states.delete_item(ADA, made.id, "item_a"),
    ):
        with pytest.raises(StateBusy):
            await refused
    await states.release(ADA, made.id, holder="r2")
    with pytest.raises(StateBusy):
        await append(states, made.id, "b")

    assert await append(states, made.id, "b", holder="r1")
    assert await append(states, made.id, "c")
    assert await texts(states, made.id) == ["a", "b", "c"]
    assert await states.claim(ADA, "conv_nothing", holder="r1", seconds=60) is None


async def test_a_claim_ends_when_it_is_released_or_its_time_is_over(states: ResponseStates) -> None:
    made = await talk(states, "a")
    await states.claim(ADA, made.id, holder="r1", seconds=60)
    await states.release(ADA, made.id, holder="r1")
    await states.claim(ADA, made.id, holder="r2", seconds=-1)
    assert await append(states, made.id, "b", holder="r2")  # late, and nobody was there in the meantime
    await states.claim(ADA, made.id, holder="r3", seconds=-1)
    await states.claim(ADA, made.id, holder="r4", seconds=60)
    with pytest.raises(StateBusy):
        await append(states, made.id, "c", holder="r3")


async def test_of_many_claims_at_once_one_is_granted(states: ResponseStates) -> None:
    made = await talk(states)
    answers = await asyncio.gather(
        *(states.claim(ADA, made.id, holder=f"r{number}", seconds=60) for number in range(6)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in answers) == ["ConversationRecord", *["StateBusy"] * 5]


async def test_items_added_at_once_all_have_places(states: ResponseStates) -> None:
    made = await talk(states)
    assert all(await asyncio.gather(*(append(states, made.id, text) for text in "abcdef")))
    assert sorted(await texts(states, made.id)) == list("abcdef")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (ConversationLimits(items=2), "2 items"),
        (ConversationLimits(bytes=2), "a conversation may have 2 bytes"),
        (ConversationLimits(user_bytes=3), "of a user may have 3 bytes"),
    ],
    ids=["items", "bytes", "user"],
)
async def test_limits_of_conversations(states: ResponseStates, limits: ConversationLimits, said: str) -> None:
    made = await talk(states, "a", "b")
    with pytest.raises(StateFull, match=said):
        await append(states, made.id, "c", "d", limits=limits)
    assert await texts(states, made.id) == ["a", "b"]
    with pytest.raises(StateFull, match=said):
        await talk(states, "a", "b", "c", limits=limits)


async def test_conversations_above_the_limit_are_refused(states: ResponseStates) -> None:
    limits = ConversationLimits(conversations=2)
    await talk(states, limits=limits)
    await talk(states, limits=limits, owner=STRANGERS[0])
    made = await talk(states, limits=limits, owner=STRANGERS[1])
    with pytest.raises(StateFull, match="2 conversations"):
        await talk(states, limits=limits)
    assert await states.delete_conversation(STRANGERS[1], made.id)
    await talk(states, limits=limits)


# --- at rest -------------------------------------------------------------------------------------------------------


async def test_nothing_is_stored_in_the_clear(states: ResponseStates, shared: Database | None) -> None:
    if shared is None:
        return
    await keep(states, answer(content=b'"a secret plan"'))
    made = await talk(states, "a secret plan")
    await states.set_metadata(ADA, made.id, "a secret plan")
    async with shared.reading() as connection:
        for table in (RESPONSES, CONVERSATIONS, ITEMS):
            for row in await connection.execute(select(table)):
                assert b"secret" not in row.sealed


async def test_what_was_moved_or_sealed_otherwise_is_gone(
    states: ResponseStates, shared: Database | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that somebody gave to another owner, or whose key is lost, is not there; the log says why."""
    if shared is None:
        return
    kept, made = answer(content=b'"plan"'), await talk(states, "a")
    await keep(states, kept)
    thief = STRANGERS[0]
    async with shared.writing() as connection:
        for table in (RESPONSES, CONVERSATIONS):
            await connection.execute(table.update().values(user_id=thief.user_id, token_id=thief.token_id))

    with caplog.at_level(logging.WARNING):
        assert await states.read(thief, [kept.link.id]) == {}
        assert await states.conversation(thief, made.id) is None
        assert await states.items(thief, made.id) == []
    assert "responses " + kept.link.id in caplog.text
    assert "plan" not in caplog.text
