"""What travels from the front of a ledger to its backend: operations, and batches of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import LogFacts, OnCrash, Reserve
from oneapi_mw.types import Quota

if TYPE_CHECKING:
    from oneapi_mw.ledger.spool_file import SpoolFile

OPEN, SETTLED, VOID = 0, 1, 2
"""`billing_holds.state`."""

BY_ESTIMATE = -1
"""`Ending.final` of a sweep: charge what the hold row says, if its lease has ended."""
AS_HELD = -2
"""The same, but all that was set aside when no mark was noted. A void by estimate is for holds without a mark only."""


class Away(Exception):
    """The database cannot be reached or is too busy. The batch may be sent again as it is."""


class Operation:
    """One call of a ledger's user. `answer` is set by the backend: the result, or an exception to raise."""

    __slots__ = ("answer", "answered", "deadline", "future", "key")

    def __init__(self, key: str, future: asyncio.Future[Any], deadline: float) -> None:
        self.key = key
        self.future = future
        self.deadline = deadline  # by the loop's clock: when the caller stops waiting
        self.answer: Any = None
        self.answered = False  # once `answer` was handed to the caller


class Reservation(Operation):
    """`sent` once a backend has seen it, so that its outcome may be unknown. `followers` wait for its end."""

    __slots__ = ("followers", "request", "sent")

    def __init__(self, request: Reserve, future: asyncio.Future[Any], deadline: float) -> None:
        super().__init__(request.key, future, deadline)
        self.request = request
        self.sent = False
        self.followers: list[Operation] = []


class Extension(Operation):
    __slots__ = ("by", "mark")

    def __init__(self, key: str, by: Quota, mark: Quota, future: asyncio.Future[Any], deadline: float) -> None:
        super().__init__(key, future, deadline)
        self.by = by
        self.mark = mark


class Ending(Operation):
    """A settlement, a void (no `facts`, `final` 0) or a sweep (`final` is `BY_ESTIMATE` or `AS_HELD`).

    `spooled` once it was handed to a spool, `file` where it is kept until it has been answered. `late` when a backend
    has found that a sweep was faster, so that the difference is to be booked.
    """

    __slots__ = ("facts", "file", "final", "late", "spooled")

    def __init__(
        self, key: str, final: Quota, facts: LogFacts | None, future: asyncio.Future[Any], deadline: float
    ) -> None:
        super().__init__(key, future, deadline)
        self.final = final
        self.facts = facts
        self.spooled = False
        self.late = False
        self.file: SpoolFile | None = None

    @property
    def state(self) -> int:
        return VOID if self.facts is None else SETTLED

    @property
    def swept(self) -> bool:
        return self.final < 0

    def estimate(self, *, amount: Quota, mark: Quota, fallback: Quota) -> Quota | None:
        """What a sweep charges for a hold whose lease has ended; `None` when it must not end it."""
        if self.facts is None:
            return 0 if mark < 0 else None
        return amount if self.final == AS_HELD and mark < 0 else max(mark, fallback)


@immutable
class Late:
    """An open hold whose lease has ended."""

    key: str
    facts: LogFacts
    """What was noted at admission."""
    unmarked: bool
    """Nobody noted what is owed, and it is not an external hold."""

    def ending(self, policy: OnCrash) -> tuple[Quota, LogFacts | None]:
        """`final` and `facts` of the sweep's ending."""
        if not self.unmarked or policy == "prompt_cost":
            return BY_ESTIMATE, self.facts
        return (AS_HELD, self.facts) if policy == "hold" else (BY_ESTIMATE, None)


class Batch:
    """Operations for one transaction; no key occurs twice. Carried out in the order of the fields."""

    __slots__ = ("endings", "extensions", "reservations")

    def __init__(self) -> None:
        self.endings: list[Ending] = []
        self.extensions: list[Extension] = []
        self.reservations: list[Reservation] = []

    @classmethod
    def of(cls, operations: Sequence[Operation]) -> Batch:
        batch = cls()
        for operation in operations:
            batch.add(operation)
        return batch

    def add(self, operation: Operation) -> None:
        match operation:
            case Reservation():
                operation.sent = True
                self.reservations.append(operation)
            case Ending():
                self.endings.append(operation)
            case Extension():
                self.extensions.append(operation)
            case _:
                raise TypeError(f"unknown operation {operation!r}")

    def __len__(self) -> int:
        return len(self.endings) + len(self.extensions) + len(self.reservations)

    def __iter__(self) -> Iterator[Operation]:
        return chain[Operation](self.endings, self.extensions, self.reservations)


class Backend(Protocol):
    """What a database does for a `BatchedLedger`."""

    remind_below: Quota
    """See `Ledger.remind_below`."""
    lanes: int
    """1: everything goes through one connection. 2: reservations have their own beside that for the rest."""

    async def start(self) -> None:
        """Connect. Raises `Away`."""

    async def aclose(self) -> None: ...

    async def run(self, lane: int, batch: Batch) -> None:
        """Carry out `batch` in one transaction and put an answer into each operation.

        A member that is refused or unknown gets that as its answer and does not disturb the others. Raises
        `Away` when it may be tried again, anything else when some member cannot be carried out; then nothing
        of the batch has happened, or, with `Away`, everything may have.
        """
