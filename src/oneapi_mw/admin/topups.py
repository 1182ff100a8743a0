"""Credits: an administrator tops a user up, a user redeems a code. Each is an entry of the ledger, booked once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from starlette.responses import Response

from oneapi_mw.admin.body import Body, Count, Text, read
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, Refusal, ok
from oneapi_mw.admin.idempotent import REPLAYED, KeyReused, idempotency_key
from oneapi_mw.admin.query import body_reference
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.admin.throttle import FailureLimit
from oneapi_mw.errors import RateLimited
from oneapi_mw.ids import uuid7
from oneapi_mw.store.records import EntryRecord, RedemptionRecord, UserRecord
from oneapi_mw.types import Quota

REDEEM_SECONDS = 600.0
MAX_CODE = 64


async def book(
    call: Call, user: UserRecord, amount: Quota, *, kind: str, remark: str, key: str | None = None
) -> EntryRecord:
    """Credit or debit `user`; with a `key` once. Raises `Missing`, `Refusal` for a balance out of range."""
    try:
        return await call.store.users.add_quota(
            user.id, amount, kind=kind, key=key or uuid7(), remark=remark[:255], actor_id=call.user.id
        )
    except KeyError:
        raise Missing from None
    except ValueError as exc:
        raise Refusal(f"Invalid input, please check your input: quota: {exc}") from None


class TopUp(Body):
    user_uuid: Text
    quota: Count
    remark: Text = ""


async def top_up(call: Call) -> Response:
    """Credit a user. Repeated with its `Idempotency-Key` it credits nothing more."""
    body = await read(call, TopUp)
    user = await call.store.users.get(body_reference(body.user_uuid))
    if user is None:
        raise Missing
    presented = idempotency_key(call)
    key = None
    if presented is not None:
        key = hashlib.sha256(f"topup\0{call.user.id}\0{presented}".encode()).hexdigest()
    remark = (body.remark or f"top-up by {call.user.username}")[:255]
    entry = await book(call, user, body.quota, kind="topup", remark=remark, key=key)
    if (entry.user_id, entry.amount, entry.remark) != (user.id, body.quota, remark):
        raise KeyReused("this Idempotency-Key belongs to a top-up that said something else: use another key")
    response = ok()
    if not entry.first:
        response.headers[REPLAYED] = "true"
    return response


class RedeemBody(Body):
    key: Text | None = None


class Redeem:
    """`POST /api/user/topup`. Wrong codes, used ones and disabled ones get the same answer."""

    def __init__(self, services: AdminServices) -> None:
        self._failures = FailureLimit(services.redeem_failures, REDEEM_SECONDS, services.clock)

    async def __call__(self, call: Call) -> Response:
        code = ((await read(call, RedeemBody)).key or "").strip()
        if not code:
            raise Refusal("invalid parameter: key is required: the redemption code")
        user = call.user
        wait = self._failures.begin(user.uuid)
        if wait > 0:
            raise RateLimited(
                "Too many wrong redemption codes: wait before the next one", code="redeem_throttled", retry_after=wait
            )
        wrong = False
        try:
            found = await self._redeem(call, code)
            wrong = found is None
        except ValueError as exc:
            raise Refusal(f"Redeem failed: {exc}") from None
        finally:
            if not wrong:
                self._failures.succeeded(user.uuid)
        if found is None:
            raise Refusal("Redeem failed: there is no such code, or it was used or disabled")
        return ok(found.quota)

    async def _redeem(self, call: Call, code: str) -> RedemptionRecord | None:
        if len(code) > MAX_CODE:
            return None
        return await call.store.redemptions.redeem(code, user_id=call.user.id, user_uuid=call.user.uuid)


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    return (
        Endpoint("POST", "/api/topup", Access.ADMIN, top_up),
        Endpoint("POST", "/api/user/topup", Access.USER, Redeem(services)),
    )
