"""Redemption codes, as administrators make and see them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from oneapi_mw.admin.body import Body, Count, Text, read
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, Refusal, Taken, ok
from oneapi_mw.admin.query import Sorting, body_reference, keyword, page, path_reference
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.records import RedemptionRecord, RedemptionStatus
from oneapi_mw.store.search import REDEMPTION_SORTS

SORTING = Sorting(columns=REDEMPTION_SORTS)
NEWEST_FIRST = Sorting(columns=frozenset())
MAX_NAME_BYTES, MAX_COUNT, USUAL_QUOTA = 20, 100, 100


def redemption_view(code: RedemptionRecord) -> dict[str, Any]:
    """The redemption object: eleven keys, and `redeemed_by` once somebody has."""
    view: dict[str, Any] = {
        "uuid": code.uuid,
        "user_uuid": code.user_uuid,
        "key": code.key,
        "status": code.status,
        "name": code.name,
        "quota": code.quota,
        "created_time": code.created_time,
        "redeemed_time": code.redeemed_time,
        "count": 0,
        "created_at": code.created_at,
        "updated_at": code.updated_at,
    }
    if code.redeemed_by:
        view["redeemed_by"] = code.redeemed_by
    return view


async def list_codes(call: Call) -> Response:
    rows, total = await call.store.redemptions.list(page(call, NEWEST_FIRST))
    return ok([redemption_view(row) for row in rows], total=total)


async def search_codes(call: Call) -> Response:
    rows, total = await call.store.redemptions.list(page(call, SORTING), keyword=keyword(call))
    return ok([redemption_view(row) for row in rows], total=total)


def _one(code: RedemptionRecord | None) -> Response:
    if code is None:
        raise Missing
    return ok(redemption_view(code))


async def show_code(call: Call) -> Response:
    return _one(await call.store.redemptions.get(path_reference(call)))


class NewCodes(Body):
    name: Text = ""
    quota: Count | None = None
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = None


async def create_codes(call: Call) -> Response:
    """`count` new codes, each worth `quota`; the answer is the list of them."""
    body = await read(call, NewCodes)
    if body.count is None:
        raise Refusal(f"invalid parameter: count is required: 1 to {MAX_COUNT}")
    keys = [secrets.token_hex(16) for _ in range(body.count)]
    await call.store.redemptions.create(
        user_id=call.user.id,
        user_uuid=call.user.uuid,
        name=_name(body.name),
        quota=body.quota or USUAL_QUOTA,
        keys=keys,
    )
    return ok(keys)


class CodeChanges(Body):
    uuid: Text | None = None
    name: Text | None = None
    quota: Count | None = None
    status: int | None = None


async def update_code(call: Call) -> Response:
    """Name and quota, or with `?status_only=1` the status. An absent field keeps its value, an explicit null or 0 of
    `quota` gives the one a new code has. What was redeemed keeps its quota and its status."""
    body = await read(call, CodeChanges)
    uuid = body_reference(body.uuid)
    changes = _status(body) if call.request.query_params.get("status_only") else _changes(body)
    try:
        return _one(await call.store.redemptions.update(uuid, changes))
    except Conflict:
        raise Taken("The code was redeemed already: make a new one") from None


def _status(body: CodeChanges) -> dict[str, Any]:
    if body.status not in (RedemptionStatus.ENABLED, RedemptionStatus.DISABLED):
        raise Refusal("status must be 1 to enable the code or 2 to disable it")
    return {"status": body.status}


def _changes(body: CodeChanges) -> dict[str, Any]:
    given = body.model_fields_set
    changes: dict[str, Any] = {}
    if "name" in given:
        if not (body.name or "").strip():
            raise Refusal("Redemption name cannot be empty")
        changes["name"] = _name(body.name or "")
    if "quota" in given:
        changes["quota"] = body.quota or USUAL_QUOTA
    return changes


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise Refusal(f"The name of a redemption code must have 1 to {MAX_NAME_BYTES} bytes")
    return name


async def delete_code(call: Call) -> Response:
    """What it was redeemed for stays booked."""
    if not await call.store.redemptions.delete(path_reference(call)):
        raise Missing
    return ok()


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("GET", "/api/redemption/", Access.ADMIN, list_codes),
        Endpoint("POST", "/api/redemption/", Access.ADMIN, create_codes),
        Endpoint("PUT", "/api/redemption/", Access.ADMIN, update_code),
        Endpoint("GET", "/api/redemption/search", Access.ADMIN, search_codes),
        Endpoint("GET", "/api/redemption/{uuid}", Access.ADMIN, show_code),
        Endpoint("DELETE", "/api/redemption/{uuid}", Access.ADMIN, delete_code),
    )
