"""External billing: a trusted service books its own consumption on the API key it calls with.

    pre A --> pending --post F--> confirmed at F
                 |------cancel--> canceled
                 '----time over-> auto_confirmed at A
    single A -------------------> confirmed at A

Every move is one conditional change of the ledger, so that of several at once one happens. A `pre` or `single` that
is repeated with its `Idempotency-Key`, or with its own `transaction_id`, is the same transaction and charged once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from oneapi_mw.admin.access import KeyRefused
from oneapi_mw.admin.body import MAX_INTEGER, Body, Text, read
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import BadBody, Missing, Refusal, ok, reply
from oneapi_mw.admin.idempotent import REPLAYED, KeyReused, digest, idempotency_key
from oneapi_mw.admin.query import Sorting, page
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.admin.tokens import token_view
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import LEASE_SECONDS, Denied, ExternalNote, Ledger, Reserve
from oneapi_mw.ledger.external import derived_id, external_facts, external_reserve, hold_key
from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.middleware.auth import token_exhausted
from oneapi_mw.middleware.precharge import refusal
from oneapi_mw.principal import TokenStatus
from oneapi_mw.store.records import TransactionRecord, TransactionStatus
from oneapi_mw.types import Quota

log = logging.getLogger("oneapi_mw.billing")

MAX_REASON, MAX_TRANSACTION_ID = 1000, 128
NEWEST_FIRST = Sorting(columns=frozenset())

_Amount = Annotated[int, Field(ge=0, le=MAX_QUOTA)]
_Seconds = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]


class NotEnough(Refusal):
    """The balance is short."""

    status, code = 400, "insufficient_quota"


class Ended(Refusal):
    """The transaction is in a state that the call does not start from."""

    status, code = 409, "conflict"


class ConsumeBody(Body):
    phase: Text | None = None
    add_used_quota: _Amount | None = None
    final_used_quota: _Amount | None = None
    add_reason: Text | None = None
    transaction_id: Text | None = None
    timeout_seconds: _Seconds | None = None
    elapsed_time_ms: _Seconds | None = None


@immutable
class Order:
    """A call, checked."""

    phase: str
    amount: Quota
    reason: str
    transaction_id: str
    """Empty when the server is to find one."""
    seconds: int
    elapsed_ms: int | None

    def digest(self) -> str:
        return digest({name: getattr(self, name) for name in ("phase", "amount", "reason", "seconds", "elapsed_ms")})


async def consume(call: Call) -> Response:
    order = await _order(call)
    match order.phase:
        case "post":
            return await _post(call, order)
        case "cancel":
            return await _cancel(call, order)
        case _:
            return await _begin(call, order)


async def _order(call: Call) -> Order:
    """What the call asks for. Raises `BadBody`."""
    try:
        body = await read(call, ConsumeBody)
    except Refusal as exc:  # here a wrong value is a bad request like any other
        raise BadBody(exc.message) from None
    phase, reason = (body.phase or "").strip().lower() or "single", (body.add_reason or "").strip()
    transaction_id, amount = (body.transaction_id or "").strip(), body.add_used_quota
    if phase not in ("single", "pre", "post", "cancel"):
        raise BadBody(f"unsupported phase: {phase[:64]}")
    if not reason:
        raise BadBody("add_reason cannot be empty")
    if len(reason) > MAX_REASON:
        raise BadBody(f"add_reason is too long: at most {MAX_REASON} characters")
    if len(transaction_id) > MAX_TRANSACTION_ID:
        raise BadBody(f"transaction_id is too long: at most {MAX_TRANSACTION_ID} characters")
    if phase in ("post", "cancel") and not transaction_id:
        raise BadBody(f"transaction_id is required for {phase} phase")
    if phase == "pre" and not amount:
        raise BadBody("add_used_quota must be greater than 0 for pre phase")
    if phase == "post":
        amount = body.final_used_quota if body.final_used_quota is not None else amount
        if amount is None:
            raise BadBody("final_used_quota or add_used_quota must be provided for post phase")
    elapsed = body.elapsed_time_ms if body.elapsed_time_ms and body.elapsed_time_ms > 0 else None
    seconds = _hold_seconds(call.services, body.timeout_seconds) if phase == "pre" else LEASE_SECONDS
    return Order(phase, amount or 0, reason, transaction_id, seconds, elapsed)


def _hold_seconds(services: AdminServices, wanted: int | None) -> int:
    usual = services.external_seconds if wanted is None or wanted <= 0 else wanted
    return min(usual, services.external_max_seconds)


async def _begin(call: Call, order: Order) -> Response:
    """`pre` and `single`."""
    principal, ledger, exchange = call.principal, call.services.ledger, EXCHANGE.find(call.request.scope)
    if principal.token_status == TokenStatus.EXHAUSTED:
        raise KeyRefused(token_exhausted(principal))
    key, transaction_id = idempotency_key(call), order.transaction_id
    named = bool(key or transaction_id)
    if not transaction_id:
        transaction_id = derived_id(f"key\0{principal.token_id}\0{key}") if key else secrets.token_hex(16)
    note = ExternalNote(
        transaction_id,
        principal.token_uuid,
        principal.user_uuid,
        order.reason,
        request_id=exchange.request_id if exchange is not None else "",
        elapsed_time_ms=order.elapsed_ms,
    )
    request = external_reserve(
        principal,
        order.amount,
        note,
        seconds=order.seconds,
        body_hash=order.digest(),
        started_at=int(call.services.clock() * 1000),
    )
    try:
        return await _carry_out(call, order, request, note)
    except (asyncio.CancelledError, StoreUnavailable):
        if not named:  # its caller does not know its id, so nobody could end it
            await _take_back(ledger, request.key)
        raise


async def _carry_out(call: Call, order: Order, request: Reserve, note: ExternalNote) -> Response:
    """A call that is cut off in between is charged when its time is over: it can be repeated until then."""
    ledger, transaction_id = call.services.ledger, note.transaction_id
    answer = await ledger.reserve(request)
    if isinstance(answer, Denied):
        raise _short(answer, call)
    found = await _find(call, transaction_id)
    if found.body_hash != request.body_hash:
        raise KeyReused(
            f"transaction {transaction_id} was made by a call that said something else: repeat it as it was, or use "
            "another key"
        )
    if order.phase == "single" and found.status is TransactionStatus.PENDING:
        facts = external_facts(call.principal, transaction_id, found.reason, elapsed_ms=order.elapsed_ms)
        await ledger.settle(request.key, order.amount, facts)
        found = await _find(call, transaction_id)
    if found.status is TransactionStatus.CANCELED:
        raise Ended(f"transaction {transaction_id} is already canceled: use another key")
    return await _answer(call, found, replayed=found.request_id != note.request_id)


async def _take_back(ledger: Ledger, key: str) -> None:
    try:
        await ledger.void(key, reason="nobody was told of it")
    except StoreUnavailable as exc:
        log.warning("external hold %s is voided as soon as the ledger is back: %s", key, exc)


async def _post(call: Call, order: Order) -> Response:
    found = await _pending(call, order.transaction_id, "transaction {} is already {}")
    principal, ledger = call.principal, call.services.ledger
    more = order.amount - found.pre_quota
    if more > 0 and not call.services.external_overrun:
        answer = await ledger.extend(found.hold_key, more)
        if isinstance(answer, Denied):
            await _refuse_overrun(call, order.transaction_id, answer)
    elapsed = order.elapsed_ms or found.elapsed_time_ms
    facts = external_facts(principal, found.transaction_id, found.reason, elapsed_ms=elapsed)
    settled = await ledger.settle(found.hold_key, order.amount, facts)
    ended = await _find(call, order.transaction_id)
    if not settled.first:
        raise Ended(f"transaction {order.transaction_id} is already {_word(ended)}")
    return await _answer(call, ended)


async def _refuse_overrun(call: Call, transaction_id: str, denied: Denied) -> None:
    """Nothing more may be set aside. Returns for a transaction that has ended meanwhile: its end is what is said."""
    if denied.reason != "state":
        raise _short(denied, call)
    if (await _find(call, transaction_id)).status is TransactionStatus.PENDING:
        raise NotEnough(
            "insufficient token quota: this API key is used up or disabled, charge no more than was set aside",
            code="insufficient_token_quota",
        )


async def _cancel(call: Call, order: Order) -> Response:
    words = "transaction {} cannot be canceled because it is {}"
    found = await _pending(call, order.transaction_id, words)
    settled = await call.services.ledger.void(found.hold_key, reason=order.reason)
    ended = await _find(call, order.transaction_id)
    if not settled.first:
        raise Ended(words.format(order.transaction_id, _word(ended)))
    return await _answer(call, ended)


async def _pending(call: Call, transaction_id: str, refusal_words: str) -> TransactionRecord:
    """The transaction, if it can still be ended: one whose time is over cannot, whether or not that was noticed."""
    await call.services.ledger.expire([hold_key(call.principal.token_id, transaction_id)])
    found = await _find(call, transaction_id)
    if found.status is not TransactionStatus.PENDING:
        raise Ended(refusal_words.format(transaction_id, _word(found)))
    return found


async def _find(call: Call, transaction_id: str) -> TransactionRecord:
    found = await call.store.transactions.get(hold_key(call.principal.token_id, transaction_id))
    if found is None:
        raise Missing(f"transaction {transaction_id} cannot be found: record not found")
    return found


def _short(denied: Denied, call: Call) -> Exception:
    match denied.reason:
        case "user_quota":
            return NotEnough(f"insufficient user quota: {denied.remaining} left", code="insufficient_user_quota")
        case "token_quota":
            return NotEnough(f"insufficient token quota: {denied.remaining} left", code="insufficient_token_quota")
        case _:
            return KeyRefused(refusal(denied, call.principal))


async def _answer(call: Call, transaction: TransactionRecord, *, replayed: bool = False) -> Response:
    token = await call.store.tokens.get_by_id(call.principal.token_id)
    response = reply(
        {
            "success": True,
            "message": "",
            "data": None if token is None else token_view(token, call.services.token_key_prefix),
            "transaction": transaction_view(transaction),
        }
    )
    if replayed:
        response.headers[REPLAYED] = "true"
    return response


def _word(transaction: TransactionRecord) -> str:
    return transaction.status.name.lower()


def _fields(transaction: TransactionRecord) -> dict[str, Any]:
    return {
        "uuid": transaction.uuid,
        "transaction_id": transaction.transaction_id,
        "token_uuid": transaction.token_uuid,
        "user_uuid": transaction.user_uuid,
        "log_uuid": transaction.log_uuid,
        "pre_quota": transaction.pre_quota,
        "final_quota": transaction.final_quota,
        "auto_confirmed": transaction.status is TransactionStatus.AUTO_CONFIRMED,
        "expires_at": transaction.expires_at,
        "reason": transaction.reason,
        "request_id": transaction.request_id,
        "trace_id": transaction.trace_id,
    }


def _ended_at(transaction: TransactionRecord) -> dict[str, int | None]:
    """When it was confirmed or canceled, in seconds."""
    seconds = None if transaction.ended_at is None else transaction.ended_at // 1000
    canceled = transaction.status is TransactionStatus.CANCELED
    return {"confirmed_at": None if canceled else seconds, "canceled_at": seconds if canceled else None}


def transaction_view(transaction: TransactionRecord) -> dict[str, Any]:
    """As `consume` answers; what there is not is left out."""
    extra = {**_ended_at(transaction), "elapsed_time_ms": transaction.elapsed_time_ms}
    return {
        **_fields(transaction),
        "status_code": int(transaction.status),
        "status": _word(transaction),
        **{name: value for name, value in extra.items() if value is not None},
    }


def transaction_row(transaction: TransactionRecord) -> dict[str, Any]:
    """As the list shows it: `status` is a number, and all fields are there."""
    return {
        **_fields(transaction),
        **_ended_at(transaction),
        "status": int(transaction.status),
        "elapsed_time_ms": transaction.elapsed_time_ms,
        "created_at": transaction.created_at,
        "updated_at": transaction.updated_at,
    }


async def list_transactions(call: Call) -> Response:
    """The newest transactions of the calling API key; those whose time is over are confirmed first."""
    transactions, token_id = call.store.transactions, call.principal.token_id
    await call.services.ledger.expire(await transactions.late(token_id))
    rows, total = await transactions.list(token_id, page(call, NEWEST_FIRST), most=call.services.max_transactions)
    return ok([transaction_row(row) for row in rows], total=total)


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("POST", "/api/token/consume", Access.HOLDER, consume),
        Endpoint("GET", "/api/token/transactions", Access.KEY, list_transactions),
    )
