"""The front of the SQL ledgers, over a backend made of dictionaries that can be told to fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from oneapi_mw.errors import NotStarted, StoreUnavailable
from oneapi_mw.ledger import batch as front
from oneapi_mw.ledger import lane as lanes
from oneapi_mw.ledger.base import Balance, Denied, Finding, Held, LogFacts, Settled
from oneapi_mw.ledger.batch import BatchedLedger
from oneapi_mw.ledger.operation import SETTLED, Away, Batch, Ending, Late
from oneapi_mw.ledger.rows import answer_ended
from oneapi_mw.ledger.spool import Orphan, Spool
from tests.ledger.bank import FACTS, reserve


class Script:
    """A backend that remembers batches. `fault` may raise for one; `gate` holds every batch back while clear."""

    def __init__(self, number_of_lanes: int = 1) -> None:
        self.lanes = number_of_lanes
        self.remind_below = 0
        self.batches: list[list[str]] = []
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.fault: Callable[[Batch], Exception | None] = lambda batch: None

    async def start(self) -> None:
        pass

    async def aclose(self) -> None:
        self.closed = True

    async def run(self, lane: int, batch: Batch) -> None:
        self.arrived.set()
        await self.gate.wait()
        self.batches.append([f"{type(operation).__name__} {operation.key}" for operation in batch])
        fault = self.fault(batch)
        if fault is not None:
            raise fault
        for reservation in batch.reservations:
            reservation.answer = Held(reservation.key, reservation.request.amount)
        for extension in batch.extensions:
            extension.answer = Held(extension.key, extension.by)
        for ending in batch.endings:
            ending.answer = Settled(ending.key, "settled" if ending.facts else "void", ending.final, True)


class NoBooks:
    def __init__(self) -> None:
        self.late: list[Late] = []
        self.corrected: list[tuple[str, int]] = []
        self.faults: list[Exception] = []
        """What the next corrections raise, the last one first."""

    async def renew(self, marks: Mapping[str, int]) -> None: ...

    async def expired(self, limit: int, *, keys: Sequence[str] | None = None) -> Sequence[Late]:
        found, self.late = self.late[:limit], self.late[limit:]
        return found

    async def correct(self, key: str, cost: int) -> Settled:
        if self.faults:
            raise self.faults.pop()
        self.corrected.append((key, cost))
        return Settled(key, "settled", 30, False, adjusted=30 - cost)

    async def user_balance(self, user_id: int) -> Balance:
        return Balance(0, 0)

    async def token_balance(self, token_id: int) -> Balance:
        return Balance(0, 0)

    async def audit(self) -> Sequence[Finding]:
        return []

    async def aclose(self) -> None: ...


def late(key: str) -> Late:
    return Late(key, LogFacts(), unmarked=True)


@pytest.fixture
def backend() -> Script:
    return Script()


@pytest.fixture
async def ledger(backend: Script, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchedLedger]:
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(lanes, "LAST_RETRY", 0.001)
    monkeypatch.setattr(front, "TICK_SECONDS", 0.001)
    started = BatchedLedger(backend, NoBooks(), grace_seconds=0.0, drain_seconds=0.05)
    await started.start()
    yield started
    backend.gate.set()
    await started.aclose()


async def test_what_waits_is_one_batch(backend: Script, ledger: BatchedLedger) -> None:
    backend.gate.clear()
    first = asyncio.ensure_future(ledger.reserve(reserve(1, 1, 1, key="a")))
    await backend.arrived.wait()
    others = [asyncio.ensure_future(ledger.reserve(reserve(1, 1, 1, key=key))) for key in "bcd"]
    ending = asyncio.ensure_future(ledger.settle("x", 1, FACTS))
    await asyncio.sleep(0)
    backend.gate.set()
    await asyncio.gather(first, ending, *others)

    assert backend.batches == [["Reservation a"], ["Ending x", "Reservation b", "Reservation c", "Reservation d"]]


async def test_a_key_occurs_once_in_a_batch_and_keeps_its_order(backend: Script, ledger: BatchedLedger) -> None:
    calls = (ledger.extend("a", 1), ledger.settle("a", 1, FACTS), ledger.settle("b", 1, FACTS), ledger.void("a"))
    await asyncio.gather(*calls)

    assert backend.batches == [["Ending b", "Extension a"], ["Ending a"], ["Ending a"]]


async def test_two_lanes_do_not_wait_for_each_other() -> None:
    backend = Script(2)
    ledger = BatchedLedger(backend, NoBooks())
    await ledger.start()
    await asyncio.gather(ledger.reserve(reserve(1, 1, 1, key="a")), ledger.settle("b", 1, FACTS), ledger.extend("c", 1))
    await ledger.aclose()

    assert sorted(backend.batches) == [["Ending b", "Extension c"], ["Reservation a"]]
    assert backend.closed


async def test_a_batch_has_a_limit(backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_BATCH", 10)
    await asyncio.gather(*(ledger.void(str(n)) for n in range(25)))
    assert [len(batch) for batch in backend.batches] == [10, 10, 5]


async def test_a_bad_member_fails_alone(backend: Script, ledger: BatchedLedger) -> None:
    fault = RuntimeError("bad row")
    backend.fault = lambda batch: fault if any(operation.key == "bad" for operation in batch) else None

    answers = await asyncio.gather(*(ledger.void(key) for key in ("a", "bad", "b")), return_exceptions=True)

    assert answers == [Settled("a", "void", 0, True), fault, Settled("b", "void", 0, True)]


async def test_a_settlement_does_not_fail_for_the_text_beside_it(backend: Script, ledger: BatchedLedger) -> None:
    def refuse_nul(batch: Batch) -> Exception | None:
        texts = [operation.facts.content for operation in batch if isinstance(operation, Ending) and operation.facts]
        return ValueError("NUL") if any("\x00" in text for text in texts) else None

    backend.fault = refuse_nul
    facts = LogFacts(content="a\x00b", metadata={"k": "v"}, prompt_tokens=2**70)
    assert (await ledger.settle("a", 5, facts)).charged == 5


async def test_an_ending_outlasts_an_outage(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(front, "ENDING_PATIENCE", 0.0)
    backend.fault = lambda batch: Away("no route")
    with pytest.raises(StoreUnavailable):
        await ledger.settle("a", 5, FACTS)
    backend.fault = lambda batch: None
    await ledger.aclose()

    assert backend.batches[-1] == ["Ending a"]
    assert [record.getMessage() for record in caplog.records] == [
        "the ledger's database is away: no route",
        "the ledger's database is back",
    ]


async def test_a_reserve_is_given_up_after_its_deadline_and_voided(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.0)
    backend.fault = lambda batch: Away("no route") if batch.reservations else None
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(reserve(1, 1, 1, key="a"))
    await ledger.aclose()

    assert backend.batches[-1] == ["Ending a"]  # nobody knows whether the reserve was committed


async def test_a_late_reserve_is_voided(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.0)
    backend.gate.clear()
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(reserve(1, 1, 1, key="a"))
    backend.gate.set()
    await ledger.aclose()

    assert backend.batches == [["Reservation a"], ["Ending a"]]


async def test_a_reserve_that_was_never_sent_is_dropped(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.gate.clear()
    running = asyncio.ensure_future(ledger.void("x"))
    await backend.arrived.wait()
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.0)
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(reserve(1, 1, 1, key="a"))
    backend.gate.set()
    await running
    await ledger.aclose()

    assert backend.batches == [["Ending x"]]


async def test_the_caller_of_an_ending_behind_a_stuck_reserve_is_told(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.0)
    monkeypatch.setattr(front, "ENDING_PATIENCE", 0.0)
    backend.gate.clear()
    for call in (ledger.reserve(reserve(1, 1, 1, key="a")), ledger.void("a")):
        with pytest.raises(StoreUnavailable):
            await call
    backend.gate.set()
    await ledger.aclose()

    assert backend.batches == [["Reservation a"], ["Ending a"]]


async def test_a_reserve_asked_for_again_in_vain_is_voided(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one may have been carried out; the second, which never was sent, must not hide that."""
    monkeypatch.setattr(front, "RESERVE_PATIENCE", 0.0)
    backend.fault = lambda batch: Away("no route") if batch.reservations else None
    backend.gate.clear()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(reserve(1, 1, 1, key="a"))
    backend.gate.set()
    await ledger.aclose()

    assert backend.batches[-1] == ["Ending a"]


async def test_followers_of_a_denied_reserve_are_let_go(backend: Script, ledger: BatchedLedger) -> None:
    async def denied(lane: int, batch: Batch) -> None:
        for reservation in batch.reservations:
            reservation.answer = Denied("state")
        for ending in batch.endings:
            ending.answer = Settled(ending.key, "void", 0, False)

    backend.run = denied  # type: ignore[method-assign]
    await ledger.aclose()
    await ledger.start()
    request = reserve(1, 1, 1)
    answer, settled = await asyncio.gather(ledger.reserve(request), ledger.void(request.key))

    assert answer == Denied("state")
    assert settled == Settled(request.key, "void", 0, False)


async def test_too_much_unanswered_refuses_reserves_but_not_endings(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MAX_UNANSWERED", 2)
    backend.gate.clear()
    waiting = [asyncio.ensure_future(ledger.void(key)) for key in "abc"]
    await backend.arrived.wait()
    with pytest.raises(StoreUnavailable, match="Too many"):
        await ledger.reserve(reserve(1, 1, 1))
    backend.gate.set()
    assert len(await asyncio.gather(*waiting)) == 3


async def test_closing_carries_out_what_was_handed_over(backend: Script, ledger: BatchedLedger) -> None:
    backend.gate.clear()
    waiting = [asyncio.ensure_future(ledger.void(key)) for key in "ab"]
    await backend.arrived.wait()
    closing = asyncio.ensure_future(ledger.aclose())
    await asyncio.sleep(0)
    with pytest.raises(NotStarted):
        await ledger.reserve(reserve(1, 1, 1))
    late = asyncio.ensure_future(ledger.void("c"))
    await asyncio.sleep(0)
    backend.gate.set()
    await closing

    assert len(await asyncio.gather(late, *waiting)) == 3
    with pytest.raises(NotStarted):
        await ledger.void("d")


async def test_closing_during_an_outage_names_what_is_lost(
    backend: Script, ledger: BatchedLedger, caplog: pytest.LogCaptureFixture
) -> None:
    backend.fault = lambda batch: Away("no route")
    request = reserve(1, 1, 1, key="never")
    waiting = [asyncio.ensure_future(call) for call in (ledger.settle("a", 5, FACTS), ledger.reserve(request))]
    follower = asyncio.ensure_future(ledger.void("never"))
    await asyncio.sleep(0)
    await ledger.aclose()

    assert [type(answer) for answer in await asyncio.gather(*waiting, follower, return_exceptions=True)] == [
        NotStarted
    ] * 3
    lost = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lost == [  # the reserve may have been carried out, so its void is lost, too
        "hold a was not ended at 5 before shutdown",
        "hold never was not ended at 0 before shutdown",
    ]


async def test_closing_between_the_members_of_a_bad_batch_answers_everybody(
    backend: Script, ledger: BatchedLedger
) -> None:
    def bad_then_away(batch: Batch) -> Exception | None:
        if len(batch) > 1:
            return RuntimeError("bad row")
        return Away("no route") if batch.endings and batch.endings[0].key == "b" else None

    backend.fault = bad_then_away
    waiting = [asyncio.ensure_future(ledger.void(key)) for key in "abc"]
    await asyncio.sleep(0)
    await ledger.aclose()

    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Settled, NotStarted, NotStarted]


async def test_a_close_that_is_cancelled_still_closes(backend: Script, ledger: BatchedLedger) -> None:
    backend.gate.clear()
    waiting = asyncio.ensure_future(ledger.void("a"))
    await backend.arrived.wait()
    closing = asyncio.ensure_future(ledger.aclose())
    await asyncio.sleep(0)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(NotStarted):
        await waiting
    assert backend.closed


async def test_a_start_that_fails_leaves_nothing_open(
    backend: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(spool: Spool) -> Sequence[Orphan]:
        raise StoreUnavailable("a file could not be replayed")

    monkeypatch.setattr(Spool, "orphans", refuse)
    ledger = BatchedLedger(backend, NoBooks(), spool=Spool(tmp_path, database="d", worker="w", max_bytes=2**20))

    with pytest.raises(StoreUnavailable, match="could not be replayed"):
        await ledger.start()
    assert backend.closed
    with pytest.raises(NotStarted):
        await ledger.void("a")


async def test_a_database_that_is_away_at_start(backend: Script) -> None:
    async def refuse() -> None:
        raise Away("connection refused")

    backend.start = refuse  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="connection refused"):
        await BatchedLedger(backend, NoBooks()).start()


def started_long_ago(ledger: BatchedLedger) -> None:
    """Let a ledger that sweeps after the usual grace be past that of its start."""
    ledger._grace_seconds = front.GRACE_SECONDS
    ledger._started_at -= front.GRACE_SECONDS


async def test_the_sweep_waits_a_grace_after_an_outage(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = NoBooks()
    books.late = [late("lost")]
    monkeypatch.setattr(ledger, "_books", books)
    started_long_ago(ledger)
    backend.fault = lambda batch: Away("no route") if len(backend.batches) == 1 else None
    await ledger.void("a")

    assert await ledger.sweep() == 0
    ledger._lanes[0].back_at -= front.GRACE_SECONDS
    assert await ledger.sweep() == 1


@pytest.mark.parametrize(
    ("renewed", "swept_at", "found"),
    [
        ([0, 20, 40], 55, 1),
        ([0, 20], 80, 0),  # an outage, or the machine stood still: nobody has renewed yet
        ([0, 20, 80], 81, 0),  # others may not have had their turn
        ([0, 20, -9000], -9000, 0),  # who knows what was renewed when a clock is put back
    ],
)
async def test_the_sweep_waits_a_grace_after_missed_renewals(
    ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch, renewed: list[int], swept_at: int, found: int
) -> None:
    books, clock = NoBooks(), SimpleNamespace(now=0)
    books.late = [late("lost")]
    monkeypatch.setattr(ledger, "_books", books)
    started_long_ago(ledger)
    monkeypatch.setattr(front, "time", SimpleNamespace(time=lambda: clock.now))
    for clock.now in renewed:
        await ledger.renew({})
    clock.now = swept_at

    assert await ledger.sweep() == found


async def test_a_hold_that_cannot_be_ended_does_not_stop_the_sweep(
    backend: Script, ledger: BatchedLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    books = NoBooks()
    books.late = [late("a"), late("bad"), late("b")]
    monkeypatch.setattr(ledger, "_books", books)
    backend.fault = lambda batch: RuntimeError("x") if any(member.key == "bad" for member in batch) else None

    assert await ledger.sweep() == 2
    assert [record.getMessage() for record in caplog.records] == ["hold bad could not be ended at -1"]


@pytest.mark.parametrize(("again", "said"), [(5, []), (6, ["hold a had ended at 5 before an ending at 6"])])
async def test_an_ending_that_says_something_else_is_noticed(
    backend: Script, caplog: pytest.LogCaptureFixture, again: int, said: list[str]
) -> None:
    async def ended_before(lane: int, batch: Batch) -> None:
        for ending in batch.endings:
            ending.answer = Settled(ending.key, "settled", 5, False)

    backend.run = ended_before  # type: ignore[method-assign]
    ledger = BatchedLedger(backend, NoBooks())
    await ledger.start()
    await ledger.settle("a", again, FACTS)
    await ledger.aclose()
    assert [record.getMessage().split(",")[0] for record in caplog.records] == said


async def test_holds_of_a_crash_are_swept_a_grace_after_the_start(backend: Script) -> None:
    """Whoever starts cannot know whether the others were able to renew."""
    books = NoBooks()
    books.late = [late(str(n)) for n in range(3)]
    ledger = BatchedLedger(backend, books)
    for _ in range(2):
        await ledger.start()
        assert await ledger.sweep() == 0
        ledger._started_at -= front.GRACE_SECONDS / 2
        assert await ledger.sweep() == 0
        await ledger.aclose()
    await ledger.start()
    ledger._started_at -= front.GRACE_SECONDS
    assert await ledger.sweep() == 3
    await ledger.aclose()

    assert backend.batches == [["Ending 0", "Ending 1", "Ending 2"]]


class Swept(Script):
    """A backend whose holds have all been ended by a sweep."""

    async def run(self, lane: int, batch: Batch) -> None:
        await super().run(lane, batch)
        for ending in batch.endings:
            answer_ended(ending, SETTLED, 30, True)


@pytest.fixture
async def late_ledger(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[BatchedLedger, NoBooks]]:
    monkeypatch.setattr(lanes, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(lanes, "LAST_RETRY", 0.001)
    books = NoBooks()
    started = BatchedLedger(Swept(), books, grace_seconds=0.0, drain_seconds=0.05)
    await started.start()
    yield started, books
    await started.aclose()


async def test_an_ending_after_a_sweep_is_answered_when_it_is_corrected(
    late_ledger: tuple[BatchedLedger, NoBooks],
) -> None:
    ledger, books = late_ledger
    answers = await asyncio.gather(ledger.settle("a", 5, FACTS), ledger.void("b"), ledger.void("a"))

    assert [(answer.adjusted, answer.cost) for answer in answers] == [(25, 5), (30, 0), (30, 0)]
    assert {answer.charged for answer in answers} == {30}
    assert books.corrected == [("a", 5), ("b", 0), ("a", 0)]


async def test_a_sweep_that_comes_second_corrects_nothing(late_ledger: tuple[BatchedLedger, NoBooks]) -> None:
    ledger, books = late_ledger
    books.late = [late("a")]
    assert await ledger.sweep() == 0
    assert books.corrected == []


async def test_a_correction_outlasts_an_outage_and_nothing_else_is_done_again(
    late_ledger: tuple[BatchedLedger, NoBooks],
) -> None:
    ledger, books = late_ledger
    books.faults = [StoreUnavailable("no route")] * 3
    await asyncio.gather(ledger.settle("a", 5, FACTS), ledger.extend("b", 1), ledger.settle("c", 6, FACTS))

    assert sorted(books.corrected) == [("a", 5), ("c", 6)]
    assert isinstance(ledger._backend, Swept)
    assert ledger._backend.batches == [["Ending a", "Ending c", "Extension b"]]
    assert await ledger.sweep() == 0  # that was the outage of the very database


async def test_a_correction_that_cannot_be_booked_fails_alone(late_ledger: tuple[BatchedLedger, NoBooks]) -> None:
    ledger, books = late_ledger
    fault = ValueError("the balance would leave its range")
    books.faults = [fault, fault]  # once among others, once by itself
    answers = await asyncio.gather(ledger.settle("a", 5, FACTS), ledger.settle("b", 6, FACTS), return_exceptions=True)
    assert [getattr(answer, "cost", answer) for answer in answers] == [fault, 6]


async def test_closing_names_the_corrections_that_were_not_booked(
    late_ledger: tuple[BatchedLedger, NoBooks], caplog: pytest.LogCaptureFixture
) -> None:
    ledger, books = late_ledger
    books.faults = [StoreUnavailable("no route")] * 10_000
    settling = asyncio.ensure_future(ledger.settle("a", 5, FACTS))
    await asyncio.sleep(0)
    await ledger.aclose()
    with pytest.raises(NotStarted):
        await settling
    assert "hold a was not ended at 5 before shutdown" in caplog.text
    assert ledger._unanswered == 0
