"""The ledger in a dictionary: for a single middleware in front of one's own app, and as the model in tests.

Nothing survives the process. Every method is one step of the event loop, hence atomic.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from oneapi_mw.ids import uuid7
from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import (
    EXTERNAL,
    LEASE_SECONDS,
    REMIND_BELOW,
    Balance,
    Denied,
    Finding,
    Held,
    HoldState,
    LogFacts,
    OnCrash,
    Reserve,
    Settled,
)
from oneapi_mw.ledger.limits import check_amounts, check_key
from oneapi_mw.ledger.rows import estimated_facts
from oneapi_mw.types import Quota


@dataclass(slots=True)
class _Account:
    quota: Quota
    used_quota: Quota = 0
    request_count: int = 0
    credits: Quota = 0
    held: Quota = 0
    enabled: bool = True


@dataclass(slots=True)
class _Token(_Account):
    user_id: int = 0
    limited: bool = True
    charged: Quota = 0
    """Of `used_quota`, what was taken from `quota`: unlimited tokens have none."""


@dataclass(slots=True)
class MemoryHold:
    request: Reserve
    limited: bool
    amount: Quota
    lease_until: float
    mark: Quota = -1
    """What is owed by now, as last noted; -1 when nothing was."""
    state: HoldState = "open"
    final: Quota = 0
    created_at: float = field(default_factory=time.time)
    entry: LogEntry | None = None
    """What was logged when it was settled."""
    estimated: bool = False
    """Whether a sweep has ended it."""
    correction: Correction | None = None
    ended_at: float | None = None
    """Unix seconds."""


@dataclass(slots=True)
class LogEntry:
    """A settlement, as a log row would tell it."""

    key: str
    user_id: int
    token_id: int
    quota: Quota
    estimated: bool
    facts: LogFacts
    uuid: str = field(default_factory=uuid7)
    created_at: float = field(default_factory=time.time)
    """Unix seconds."""


@immutable
class Correction:
    """What a swept hold did cost, as it became known."""

    key: str
    user_id: int
    estimate: Quota
    cost: Quota
    uuid: str = field(default_factory=uuid7)
    created_at: float = field(default_factory=time.time)
    """Unix seconds."""

    @property
    def amount(self) -> Quota:
        """What was given back, or, negative, taken besides."""
        return self.estimate - self.cost


@immutable
class Reminder:
    """A user has less left than the threshold."""

    user_id: int
    quota: Quota
    threshold: Quota


@dataclass(slots=True)
class MemoryLedger:
    """Implements `ledger.base.Ledger`.

    Args:
        worker: whose holds these are.
        clock: seconds; leases go by it.
        remember: how many ended holds and log entries are kept. A key older than that is unknown again.

    `log` has the settlements, newest last, and `corrections` what was found out about some of them later; `holds` what
    is and was held, by key; `reminders` the events.
    """

    worker: str = "memory"
    clock: Callable[[], float] = time.monotonic
    remember: int = 100_000
    remind_below: Quota = REMIND_BELOW
    on_crash: OnCrash = "prompt_cost"
    log: deque[LogEntry] = field(init=False)
    corrections: deque[Correction] = field(init=False)
    reminders: deque[Reminder] = field(init=False)
    _users: dict[int, _Account] = field(default_factory=dict)
    _tokens: dict[int, _Token] = field(default_factory=dict)
    holds: dict[str, MemoryHold] = field(default_factory=dict)
    _ended: deque[str] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.log = deque(maxlen=self.remember)
        self.corrections = deque(maxlen=self.remember)
        self.reminders = deque(maxlen=self.remember)

    def open_account(self, user_id: int, quota: Quota) -> None:
        """Create a user with `quota` to spend, or add `quota` to the one there is."""
        user = self._users.setdefault(user_id, _Account(0))
        user.quota += quota
        user.credits += quota

    def open_token(self, token_id: int, user_id: int, remain_quota: Quota = 0, *, unlimited: bool = False) -> None:
        """Create a token of a user, or add `remain_quota` to the one there is."""
        token = self._tokens.setdefault(token_id, _Token(0, user_id=user_id, limited=not unlimited))
        token.quota += remain_quota
        token.credits += remain_quota

    def set_enabled(self, *, user_id: int | None = None, token_id: int | None = None, enabled: bool) -> None:
        """Let a user or a token reserve, or not. What is held already is not touched."""
        if user_id is not None:
            self._users[user_id].enabled = enabled
        if token_id is not None:
            self._tokens[token_id].enabled = enabled

    def set_limited(self, token_id: int, *, limited: bool) -> None:
        """Let what remains of a token bound its reserves from now on, or not. What is held keeps its terms."""
        self._tokens[token_id].limited = limited

    async def start(self) -> None:
        """Nothing to connect to."""

    async def aclose(self) -> None:
        """Nothing to hand over."""

    async def reserve(self, request: Reserve) -> Held | Denied:
        check_key(request.key)
        check_amounts(request.amount, request.fallback)
        known = self.holds.get(request.key)
        if known is not None:
            return Held(request.key, known.amount)
        token = self._tokens.get(request.token_id)
        limited = token is not None and token.limited
        denied = self._take(request.user_id, request.token_id, request.amount, limited=limited)
        if denied is not None:
            return denied
        lease_until = self.clock() + request.lease_seconds
        self.holds[request.key] = MemoryHold(request, limited, request.amount, lease_until)
        return Held(request.key, request.amount)

    async def extend(self, key: str, by: Quota, *, mark: Quota = 0) -> Held | Denied:
        check_amounts(by, mark)
        hold = self.holds.get(key)
        if hold is None or hold.state != "open":
            return Denied("state")
        hold.mark = max(hold.mark, mark)
        request = hold.request
        denied = self._take(request.user_id, request.token_id, by, limited=hold.limited) if by else None
        if denied is not None:
            return denied
        hold.amount += by
        return Held(key, hold.amount)

    async def settle(self, key: str, final: Quota, facts: LogFacts) -> Settled:
        check_amounts(final)
        hold = self.holds[key]
        return self._end(hold, final, facts)

    async def void(self, key: str, *, reason: str = "") -> Settled:
        hold = self.holds.get(key)
        if hold is None:
            return Settled(key, "void", 0, False)
        return self._end(hold, 0, None)

    async def renew(self, marks: Mapping[str, Quota]) -> None:
        """All holds are of this process, whichever of its gateways asks."""
        check_amounts(*marks.values())
        for key, hold in self.holds.items():
            if hold.state == "open" and hold.request.kind != EXTERNAL:
                hold.lease_until = max(hold.lease_until, self.clock() + LEASE_SECONDS)
                hold.mark = max(hold.mark, marks.get(key, -1))

    async def sweep(self, *, limit: int = 500) -> int:
        return self._end_late([hold for hold in self.holds.values() if self._is_late(hold)][:limit])

    async def expire(self, keys: Sequence[str]) -> int:
        there = [hold for key in keys if (hold := self.holds.get(key)) is not None]
        return self._end_late([hold for hold in there if self._is_late(hold) and hold.request.kind == EXTERNAL])

    def _is_late(self, hold: MemoryHold) -> bool:
        return hold.state == "open" and hold.lease_until <= self.clock()

    def _end_late(self, late: Sequence[MemoryHold]) -> int:
        for hold in late:
            request, facts = hold.request, estimated_facts(hold.request.log)
            if hold.mark >= 0 or request.kind == EXTERNAL or self.on_crash == "prompt_cost":
                self._end(hold, max(hold.mark, request.fallback), facts, estimated=True)
            elif self.on_crash == "hold":
                self._end(hold, hold.amount, facts, estimated=True)
            else:
                self._end(hold, 0, None, estimated=True)
        return len(late)

    async def user_balance(self, user_id: int) -> Balance:
        user = self._users[user_id]
        return Balance(user.quota, user.used_quota, user.request_count)

    async def token_balance(self, token_id: int) -> Balance:
        token = self._tokens[token_id]
        return Balance(token.quota, token.used_quota)

    async def audit(self) -> Sequence[Finding]:
        sums = [
            (f"user {id_}", user.credits, user.quota + user.used_quota + user.held) for id_, user in self._users.items()
        ]
        sums += [
            (f"token {id_}", token.credits, token.quota + token.charged + token.held)
            for id_, token in self._tokens.items()
        ]
        return [
            Finding("I-1", subject, f"credits are {credit}, but the rest makes {rest}")
            for subject, credit, rest in sums
            if credit != rest
        ]

    def _take(self, user_id: int, token_id: int, amount: Quota, *, limited: bool) -> Denied | None:
        user, token = self._users.get(user_id), self._tokens.get(token_id)
        if user is None or token is None or token.user_id != user_id or not (user.enabled and token.enabled):
            return Denied("state")
        if user.quota < amount:
            return Denied("user_quota", user.quota)
        if limited and token.quota < amount:
            return Denied("token_quota", token.quota)
        for account in (user, token) if limited else (user,):
            account.quota -= amount
            account.held += amount
        return None

    def _end(self, hold: MemoryHold, final: Quota, facts: LogFacts | None, *, estimated: bool = False) -> Settled:
        request = hold.request
        if hold.state != "open":
            if hold.estimated and not estimated and request.kind != EXTERNAL and hold.correction is None:
                self._correct(hold, final)
            adjusted = 0 if hold.correction is None else hold.correction.amount
            return Settled(request.key, hold.state, hold.final, False, adjusted=adjusted)
        user, token = self._users[request.user_id], self._tokens[request.token_id]
        for account in (user, token) if hold.limited else (user,):
            account.held -= hold.amount
            account.quota += hold.amount - final
        user.used_quota += final
        token.used_quota += final
        token.charged += final if hold.limited else 0
        hold.state, hold.final = ("settled" if facts is not None else "void"), final
        hold.ended_at, hold.estimated = time.time(), estimated
        unspent = user.quota + user.held
        if unspent < self.remind_below <= unspent + final:
            self.reminders.append(Reminder(request.user_id, unspent, self.remind_below))
        if facts is not None:
            user.request_count += 1
            hold.entry = LogEntry(request.key, request.user_id, request.token_id, final, estimated, facts)
            self.log.append(hold.entry)
        self._ended.append(request.key)
        if len(self._ended) > self.remember:
            del self.holds[self._ended.popleft()]
        return Settled(request.key, hold.state, final, True)

    def _correct(self, hold: MemoryHold, cost: Quota) -> None:
        """As `ledger.corrections` says."""
        user, token = self._users[hold.request.user_id], self._tokens[hold.request.token_id]
        hold.correction = Correction(hold.request.key, hold.request.user_id, hold.final, cost)
        self.corrections.append(hold.correction)
        for account in (user, token) if hold.limited else (user,):
            account.quota += hold.correction.amount
            account.credits += hold.correction.amount
