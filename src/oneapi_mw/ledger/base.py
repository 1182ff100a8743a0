"""The ledger: the only code that changes balances. One interface, the same on every backend.

A hold is reserved before anything goes upstream and ends exactly once, in `settle` (charge what was
consumed, return the rest) or `void` (return everything). All operations are idempotent by key.

    (none) --reserve--> open --extend*--> open --settle--> settled
                         |                  |----void----> void
                         '-- lease ended --sweep--> settled or void (estimated), as `OnCrash` says

A worker that was only cut off from the database comes back knowing what its swept hold did cost. The hold stays as it
is; its first ending books the difference, see `ledger.corrections`.

A hold of kind `external` is somebody else's: its lease is the time that was agreed for it, so nobody renews it, and
when it ends the amount set aside is charged.

Every method hands its operation to the backend before it first waits: cancelling the caller never takes
an operation back, so a cancelled request ends its hold simply by calling `void` or `settle` on its way out.
An ending asked for while the reserve of the same key is still on its way is carried out after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, Protocol, TypeAlias

from oneapi_mw.immutable import immutable
from oneapi_mw.types import JsonObject, Quota

DeniedReason: TypeAlias = Literal["user_quota", "token_quota", "state"]
HoldState: TypeAlias = Literal["open", "settled", "void"]
OnCrash: TypeAlias = Literal["prompt_cost", "void", "hold"]
"""What a lost hold is charged when nobody noted what is owed: its `fallback`, nothing, or all that was set aside."""

LEASE_SECONDS = 60
"""How long a hold stays open without its worker renewing it, by the database's clock."""
EXTERNAL = "external"
"""`Reserve.kind` of the external billing API."""
CONSUMED, EXTERNAL_USE = 2, 7
"""`logs.type` of a settlement: a model call's, and that of a hold of kind `external`."""
REMIND_BELOW: Quota = 1000
"""What a user has left when a reminder is due, unless an administrator says otherwise."""


@immutable
class ExternalNote:
    """What a call of the external billing API said; kept beside its hold, in the same transaction."""

    transaction_id: str
    """At most 128 characters. The hold's key is made from it, so that both are unique together."""
    token_uuid: str
    user_uuid: str
    reason: str
    request_id: str = ""
    """Of the call that made the hold."""
    trace_id: str = ""
    elapsed_time_ms: int | None = None


@immutable
class Reserve:
    """What to set aside for one request."""

    key: str
    """The request id: at most 32 characters, unique."""
    user_id: int
    token_id: int
    amount: Quota
    """Not negative. 0 is a hold too: it makes free requests count exactly once."""
    kind: str = "model"
    lease_seconds: int = LEASE_SECONDS
    fallback: Quota = 0
    """What to charge should the worker die before any progress mark: the price of the prompt."""
    card_id: str = ""
    group_ratio: int = 1_000_000
    """Millionths, frozen at admission."""
    started_at: int = 0
    """Unix milliseconds; the instant the price was looked up for."""
    body_hash: str = ""
    log: JsonObject = field(default_factory=dict)
    """What a log row needs that is known at admission (see `LogFacts`), for holds a sweeper has to end."""
    note: ExternalNote | None = None
    """Only of kind `external`."""


@immutable
class Held:
    key: str
    amount: Quota


@immutable
class Denied:
    reason: DeniedReason
    remaining: Quota = 0
    """What the account that was short still had: the user's for `user_quota`, the token's for `token_quota`."""


@immutable
class LogFacts:
    """The consume-log row of a settlement. Names are the columns of table `logs`."""

    user_uuid: str = ""
    username: str = ""
    token_uuid: str = ""
    token_name: str = ""
    channel_id: int | None = None
    channel_uuid: str | None = None
    channel_name: str = ""
    model_name: str = ""
    origin_model_name: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    content: str = ""
    trace_id: str = ""
    elapsed_time: int = 0
    """Milliseconds."""
    is_stream: bool = False
    metadata: Mapping[str, object] | None = None
    type: int = CONSUMED


@immutable
class Settled:
    """How a hold ended. The same for every repeated call with its key, but for what was adjusted in between."""

    key: str
    state: HoldState
    charged: Quota
    first: bool
    """Whether this very call ended the hold."""
    spooled: bool = False
    """The database is away and the ending is safe on the local disk: `charged` is what will be charged, unless the
    hold has ended otherwise by then."""
    adjusted: Quota = 0
    """What was given back, or, negative, taken besides, because a sweep had ended the hold at an estimate."""

    @property
    def cost(self) -> Quota:
        """What the payer has paid in the end."""
        return self.charged - self.adjusted


@immutable
class Balance:
    """An account now. `quota` already has open holds subtracted."""

    quota: Quota
    used_quota: Quota
    request_count: int = 0


@immutable
class Finding:
    """A deviation an audit found."""

    invariant: str
    subject: str
    detail: str


class Ledger(Protocol):
    """Quota balances, as billing needs them. Raises `StoreUnavailable` when the backend cannot be reached."""

    remind_below: Quota
    """A settlement that takes what a user has not spent from here or above to less writes an event, in the same
    transaction. What open holds have set aside is not spent. 0 for no events."""

    async def start(self) -> None: ...

    async def aclose(self) -> None:
        """Carry out what was handed over, then stop."""

    async def reserve(self, request: Reserve) -> Held | Denied:
        """Set `amount` aside from the user and, when it is limited, the token: both or neither.

        Repeating a key changes nothing and returns the first answer's hold. Raises `ValueError` for a key or an
        amount that does not fit (`ledger.limits`), as the other methods do.
        """

    async def extend(self, key: str, by: Quota, *, mark: Quota = 0) -> Held | Denied:
        """Set more aside for an open hold, and note that `mark` quota units are owed by now.

        The mark is noted even when `by` is denied, and noting alone (`by` 0) is never denied to an open hold.
        `Denied("state")`: the hold has ended, or user or token may not spend any more.
        """

    async def settle(self, key: str, final: Quota, facts: LogFacts) -> Settled:
        """End the hold: charge `final` (never refused for lack of balance), return the rest, write log and cost.

        With state `void` and `first` false in the answer when the hold had been voided before. A hold that was swept
        is corrected by its first ending, whether that is this or a `void`; one of kind `external` never.
        Raises `KeyError` for a key that was never reserved. While the backend is away the ending, like that of
        `void`, is kept and carried out as soon as it is back: with a spool it is on the local disk when this returns
        (`Settled.spooled`); without one only this process knows of it, and `StoreUnavailable` says so.
        """

    async def void(self, key: str, *, reason: str = "") -> Settled:
        """End the hold and return everything. Unknown keys are voided trivially."""

    async def renew(self, marks: Mapping[str, Quota]) -> None:
        """Extend the lease of this worker's open holds, external ones excepted; `marks` maps keys to what is owed by
        now."""

    async def sweep(self, *, limit: int = 500) -> int:
        """End holds whose lease ran out: at the last mark or `fallback`, whichever is more; without a mark as `OnCrash`
        says, external ones excepted. Returns how many. Where other processes may know better, none for one lease after
        a start or an outage: they need the time to renew and to say what they know."""

    async def expire(self, keys: Sequence[str]) -> int:
        """End those external holds whose time is over, as a sweep would. Returns how many."""

    async def user_balance(self, user_id: int) -> Balance:
        """Raises `KeyError` for a user that does not exist."""

    async def token_balance(self, token_id: int) -> Balance:
        """Of a token: what remains (0 when unlimited) and was used. Raises `KeyError` likewise."""

    async def audit(self) -> Sequence[Finding]:
        """Check the invariants over the whole database; empty when the books balance."""
