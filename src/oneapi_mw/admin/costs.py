"""What one request cost, by its request id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from oneapi_mw.admin.endpoint import Access, Call, Caller, Endpoint
from oneapi_mw.admin.envelope import Missing, reply
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.principal import Role
from oneapi_mw.store.records import CostRecord
from oneapi_mw.types import QUOTA_PER_USD

_REQUEST_ID = re.compile(r"[0-9A-Za-z]{1,32}")


def cost_view(cost: CostRecord) -> dict[str, Any]:
    """While `state` is `pending`, `quota` is what is set aside, not what will be charged. Of an estimate that was
    corrected it is the true cost, and `adjusted` says by how much the estimate was too high, or, negative, too low."""
    return {
        "uuid": cost.uuid,
        "created_time": cost.created_time,
        "user_uuid": cost.user_uuid,
        "request_id": cost.request_id,
        "quota": cost.quota,
        "cost_usd": cost.quota / QUOTA_PER_USD,
        "state": cost.state,
        "estimated": cost.estimated,
        "adjusted": cost.adjusted,
        "created_at": cost.created_at,
        "updated_at": cost.updated_at,
    }


async def show_cost(call: Call) -> Response:
    """The cost object without an envelope."""
    request_id = call.request.path_params["request_id"]
    cost = await call.store.costs.get(request_id) if _REQUEST_ID.fullmatch(request_id) else None
    public = call.services.public_cost_lookup and cost is not None and not cost.guessable
    if cost is None or not (public or _may_see(call.caller, cost)):
        raise Missing("no cost is known for this request id")
    return reply(cost_view(cost))


def _may_see(caller: Caller, cost: CostRecord) -> bool:
    if caller.user is not None:
        return caller.user.role >= Role.ADMIN or caller.user.uuid == cost.user_uuid
    return caller.principal is not None and caller.principal.user_uuid == cost.user_uuid


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    access = Access.ANYONE if services.public_cost_lookup else Access.ANY_CREDENTIAL
    return (Endpoint("GET", "/api/cost/request/{request_id}", access, show_cost),)
