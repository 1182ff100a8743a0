"""API keys: their owner's routes, administrators' views, and what a key may see of itself.

Ownership is part of each query, so another user's key and one that does not exist get the same answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from oneapi_mw.admin.body import MAX_INTEGER, Balance, Body, Text, TokenStatusNumber, read
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, Refusal, ok, reply
from oneapi_mw.admin.models import models_of_group
from oneapi_mw.admin.query import Sorting, body_reference, keyword, page, path_reference, reference
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.ids import token_key
from oneapi_mw.principal import TokenStatus
from oneapi_mw.store.records import TokenRecord

SORTING = Sorting(
    columns=frozenset(
        ["id", "uuid", "name", "status", "expired_time", "remain_quota", "used_quota", "created_at", "updated_at"],
    ),
    legacy=frozenset({"remain_quota", "used_quota"}),
)
NEVER = -1
MAX_NAME_BYTES = 30

_Expiry = Annotated[int, Field(ge=-1, le=MAX_INTEGER)]


def masked(key: str) -> str:
    """Enough of a key to recognise it, and far too little to use it."""
    return f"{key[:4]}...{key[-4:]}"


def token_view(token: TokenRecord, prefix: str, *, mask: bool = False) -> dict[str, Any]:
    """The token object: fifteen keys. `key` is shown whole, as clients of One API expect in every list."""
    return {
        "uuid": token.uuid,
        "user_uuid": token.user_uuid,
        "key": prefix + (masked(token.key) if mask else token.key),
        "status": token.status,
        "name": token.name,
        "created_time": token.created_time,
        "accessed_time": token.accessed_time,
        "expired_time": token.expired_time,
        "remain_quota": token.remain_quota,
        "unlimited_quota": token.unlimited_quota,
        "used_quota": token.used_quota,
        "created_at": token.created_at,
        "updated_at": token.updated_at,
        "models": token.models,
        "subnet": token.subnet,
    }


def _view(call: Call, token: TokenRecord) -> dict[str, Any]:
    mask = call.services.mask_admin_token_keys and token.user_id != call.user.id
    return token_view(token, call.services.token_key_prefix, mask=mask)


def _one(call: Call, token: TokenRecord | None) -> Response:
    if token is None:
        raise Missing
    # a form that sends back what it was filled in with says by this what it has seen
    return ok({**_view(call, token), "remain_quota_read": token.remain_quota})


async def _many(call: Call, *, user_id: int | None, word: str = "") -> Response:
    rows, total = await call.store.tokens.list(page(call, SORTING), user_id=user_id, keyword=word)
    return ok([_view(call, row) for row in rows], total=total)


async def list_tokens(call: Call) -> Response:
    return await _many(call, user_id=call.user.id)


async def search_tokens(call: Call) -> Response:
    return await _many(call, user_id=call.user.id, word=keyword(call))


async def show_token(call: Call) -> Response:
    return _one(call, await call.store.tokens.get(path_reference(call), user_id=call.user.id))


async def delete_token(call: Call) -> Response:
    if not await call.store.tokens.delete(path_reference(call), user_id=call.user.id):
        raise Missing
    return ok()


class NewToken(Body):
    name: Text = ""
    remain_quota: Balance | None = None
    expired_time: _Expiry | None = None
    unlimited_quota: bool | None = None
    models: Text | None = None
    subnet: Text | None = None


async def create_token(call: Call) -> Response:
    """A new enabled key. No expiry, or 0, means never."""
    body = await read(call, NewToken, prefix="invalid token")
    if not body.name.strip():
        raise Refusal("Token name is required")
    token = await call.store.tokens.create(
        user_id=call.user.id,
        user_uuid=call.user.uuid,
        name=_name(body.name),
        key=token_key(),
        remain_quota=_quota(body.remain_quota or 0),
        unlimited_quota=body.unlimited_quota or False,
        expired_time=body.expired_time or NEVER,
        models=_models(body.models),
        subnet=_subnet(body.subnet or ""),
    )
    return _one(call, token)


class TokenChanges(NewToken):
    uuid: Text | None = None
    status: TokenStatusNumber | None = None
    remain_quota_read: Balance | None = None


async def update_token(call: Call) -> Response:
    """Change what the body names. An explicit null or 0 gives the value a new key has; an absent field keeps its.

    `?status_only=1` changes nothing but the status. With `remain_quota_read`, what whoever filled in the form saw,
    `remain_quota` is a difference to that: what is spent meanwhile stays spent.
    """
    body = await read(call, TokenChanges, prefix="invalid token")
    uuid = body_reference(body.uuid)
    token = await call.store.tokens.get(uuid, user_id=call.user.id)
    if token is None:
        raise Missing
    only_status = bool(call.request.query_params.get("status_only"))
    if only_status and body.status is None:
        raise Refusal("status is required: 1 enables, 2 disables")
    changes = {} if only_status else _changes(body, token)
    if body.status is not None:
        changes["status"] = _next_status(body.status, _terms(token, changes), call.services.clock())
    if changes:
        token = await call.store.tokens.update(uuid, changes, user_id=call.user.id)
    return _one(call, token)


def _changes(body: TokenChanges, token: TokenRecord) -> dict[str, Any]:
    given = body.model_fields_set
    changes: dict[str, Any] = {}
    if "name" in given:
        if not body.name.strip():
            raise Refusal("Token name cannot be empty")
        changes["name"] = _name(body.name)
    if "remain_quota" in given and body.remain_quota_read is not None:
        changes["more_quota"] = _quota(body.remain_quota or 0) - body.remain_quota_read
    elif "remain_quota" in given and (body.remain_quota or 0) != token.remain_quota:
        changes["remain_quota"] = _quota(body.remain_quota or 0)
    if "unlimited_quota" in given:
        changes["unlimited_quota"] = body.unlimited_quota or False
    if "expired_time" in given:
        changes["expired_time"] = body.expired_time or NEVER
    if "models" in given:
        changes["models"] = _models(body.models)
    if "subnet" in given:
        changes["subnet"] = None if body.subnet is None else _subnet(body.subnet)
    return changes


def _terms(token: TokenRecord, changes: dict[str, Any]) -> dict[str, Any]:
    """What decides on a key's status, with `changes` made."""
    return {
        "expired_time": token.expired_time,
        "remain_quota": token.remain_quota + changes.get("more_quota", 0),
        "unlimited_quota": token.unlimited_quota,
        **changes,
    }


def _next_status(wanted: int, terms: dict[str, Any], now: float) -> int:
    """The status a key takes on under `terms`. Raises `Refusal` for enabling one that cannot be used."""
    expired = terms["expired_time"] != NEVER and terms["expired_time"] <= now
    exhausted = not terms["unlimited_quota"] and terms["remain_quota"] <= 0
    if wanted == TokenStatus.ENABLED and expired:
        raise Refusal("The token has expired: change its expired_time first, or set it to -1 for never")
    if wanted == TokenStatus.ENABLED and exhausted:
        raise Refusal("The quota of the token is used up: raise remain_quota first, or make it unlimited")
    if (wanted == TokenStatus.EXHAUSTED and not exhausted) or (wanted == TokenStatus.EXPIRED and not expired):
        return int(TokenStatus.ENABLED)
    return wanted


def _name(name: str) -> str:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise Refusal("invalid token: Token name is too long")
    return name.strip()


def _quota(quota: int) -> int:
    if quota < 0:
        raise Refusal("invalid token: remain_quota must be at least 0")
    return quota


def _models(models: str | None) -> str | None:
    return None if models is None else ",".join(name.strip() for name in models.split(",") if name.strip())


def _subnet(subnet: str) -> str:
    """`subnet` with each comma-separated block checked; a bare address would be read as nothing by some clients."""
    blocks = [block.strip() for block in subnet.split(",") if block.strip()]
    for block in blocks:
        try:
            if "/" not in block:
                raise ValueError
            ipaddress.ip_network(block, strict=False)
        except ValueError:
            raise Refusal(
                f"invalid token: invalid network segment: {block[:64]!r}; write a CIDR block such as 192.0.2.0/24"
            ) from None
    return ",".join(blocks)


async def list_all(call: Call) -> Response:
    """Any user's keys; `?user_id=<uuid>` narrows to one user."""
    return await _many(call, user_id=await _owner(call))


async def search_all(call: Call) -> Response:
    return await _many(call, user_id=await _owner(call), word=keyword(call))


async def _owner(call: Call) -> int | None:
    uuid = call.request.query_params.get("user_id")
    if not uuid:
        return None
    user = await call.store.users.get(reference(uuid))
    if user is None:
        raise Missing
    return user.id


async def show_any(call: Call) -> Response:
    return _one(call, await call.store.tokens.get(path_reference(call)))


async def _own(call: Call) -> TokenRecord:
    """The row of the API key that makes the call."""
    token = await call.store.tokens.get_by_id(call.principal.token_id)
    if token is None:
        raise Missing
    return token


async def show_balance(call: Call) -> Response:
    token = await _own(call)
    return ok(
        {
            "remain_quota": token.remain_quota,
            "used_quota": token.used_quota,
            "unlimited_quota": token.unlimited_quota,
        }
    )


async def show_by_key(call: Call) -> Response:
    """The key and its owner, for services that bill by the key."""
    token = await _own(call)
    user = await call.store.users.get_by_id(token.user_id)
    if user is None:
        raise Missing
    owner = {
        key: getattr(user, key)
        for key in [
            "uuid",
            "username",
            "display_name",
            "role",
            "status",
            "group",
            "quota",
            "used_quota",
            "created_at",
            "updated_at",
        ]
    }
    shown = token_view(token, call.services.token_key_prefix)
    del shown["key"]
    shown["available_models"] = token.models
    flat = "uuid name status used_quota remain_quota unlimited_quota created_time updated_at accessed_time expired_time"
    data = {"user": owner, "token": shown, "user_uuid": user.uuid, "username": user.username}
    data |= {f"token_{key}": shown[key] for key in (*flat.split(), "available_models")}
    return ok(data)


async def available_models(call: Call) -> Response:
    """The key's own model list, in its order, as far as the owner's group offers it."""
    token = await _own(call)
    enabled = token.status == TokenStatus.ENABLED
    if not token.models:
        message = "the token has no available models"
        return reply({"success": False, "message": message, "data": {"available": None, "enabled": enabled}})
    offered = set(models_of_group(call.store.channel_table.snapshot(), call.principal.group))
    available = [name for name in token.models.split(",") if name in offered]
    return ok({"available": available, "enabled": enabled})


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("GET", "/api/token/", Access.USER, list_tokens),
        Endpoint("POST", "/api/token/", Access.USER, create_token),
        Endpoint("PUT", "/api/token/", Access.USER, update_token),
        Endpoint("GET", "/api/token/search", Access.USER, search_tokens),
        Endpoint("GET", "/api/token/balance", Access.KEY, show_balance),
        Endpoint("GET", "/api/user/get-by-token", Access.KEY, show_by_key),
        Endpoint("GET", "/api/available_models", Access.KEY, available_models),
        Endpoint("GET", "/api/token/{uuid}", Access.USER, show_token),
        Endpoint("DELETE", "/api/token/{uuid}", Access.USER, delete_token),
        Endpoint("GET", "/api/admin/tokens/", Access.ADMIN, list_all),
        Endpoint("GET", "/api/admin/tokens/search", Access.ADMIN, search_all),
        Endpoint("GET", "/api/admin/tokens/{uuid}", Access.ADMIN, show_any),
    )
