"""Users as administrators see them. An administrator reaches only users below his own role; root reaches all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from oneapi_mw.admin.body import Balance, Body, Count, RoleNumber, Text, UserStatusNumber, read
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, NotAllowed, Refusal, Taken, ok
from oneapi_mw.admin.query import Sorting, body_reference, page, path_reference
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.admin.topups import book
from oneapi_mw.ids import access_token, token_key
from oneapi_mw.principal import Role, UserStatus
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.records import UserRecord

SORTING = Sorting(
    columns=frozenset(
        [
            "id",
            "username",
            "email",
            "display_name",
            "role",
            "status",
            "quota",
            "used_quota",
            "request_count",
            "created_at",
            "updated_at",
        ]
    ),
    legacy=frozenset({"quota", "used_quota", "request_count"}),
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_INVALID = "Invalid input, please check your input: "


def user_view(user: UserRecord) -> dict[str, Any]:
    """The user object: twenty keys, always all of them."""
    return {
        "uuid": user.uuid,
        "username": user.username,
        "display_name": user.display_name,
        "role": user.role,
        "status": user.status,
        "email": user.email,
        "github_id": user.github_id,
        "wechat_id": user.wechat_id,
        "lark_id": user.lark_id,
        "oidc_id": user.oidc_id,
        "quota": user.quota,
        "used_quota": user.used_quota,
        "request_count": user.request_count,
        "group": user.group,
        "aff_code": user.aff_code,
        "inviter_uuid": user.inviter_uuid,
        "mcp_tool_blacklist": list(user.mcp_tool_blacklist),
        "metadata": {"password_locked": True} if user.metadata.get("password_locked") else {},
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    }


_BLANK_VIEW: dict[str, Any] = {
    **dict.fromkeys(
        [
            "uuid",
            "username",
            "display_name",
            "email",
            "github_id",
            "wechat_id",
            "lark_id",
            "oidc_id",
            "group",
            "aff_code",
        ],
        "",
    ),
    **dict.fromkeys(["role", "status", "quota", "used_quota", "request_count", "created_at", "updated_at"], 0),
    "inviter_uuid": None,
    "mcp_tool_blacklist": [],
    "metadata": {},
}


def identity_view(user: UserRecord) -> dict[str, Any]:
    """The answer to a login: a user object in which only the identity is filled."""
    view = user_view(user)
    return {**_BLANK_VIEW, **{key: view[key] for key in ("uuid", "username", "display_name", "role", "status")}}


def check_username(name: str, *, prefix: str = _INVALID, shortest: int = 3) -> str:
    name = name.strip()
    if not shortest <= len(name) <= 30:
        raise Refusal(f"{prefix}username must have {shortest} to 30 characters")
    if not name.isprintable():
        raise Refusal(f"{prefix}username must not contain control or invisible characters")
    return name


def check_display_name(name: str, *, prefix: str = _INVALID) -> str:
    if len(name) > 20:
        raise Refusal(f"{prefix}display_name must have at most 20 characters")
    return name.strip()


def check_password(password: str, *, prefix: str = _INVALID) -> str:
    if len(password) < 8 or len(password.encode()) > 128:
        raise Refusal(f"{prefix}password must have at least 8 characters and at most 128 bytes")
    return password


def _check_email(email: str) -> str:
    if email and (len(email) > 50 or not _EMAIL.fullmatch(email)):
        raise Refusal(f"{_INVALID}email must be an address of at most 50 characters")
    return email


def _check_group(group: str) -> str:
    group = group.strip()
    if not 1 <= len(group) <= 32:
        raise Refusal(f"{_INVALID}group must have 1 to 32 characters")
    return group


def _check_reach(actor: UserRecord, target: UserRecord, refusal: str) -> None:
    if actor.role < Role.ROOT and actor.role <= target.role:
        raise NotAllowed(refusal)


async def _find(call: Call, uuid: str) -> UserRecord:
    user = await call.store.users.get(uuid)
    if user is None:
        raise Missing
    return user


async def list_users(call: Call) -> Response:
    rows, total = await call.store.users.list(page(call, SORTING))
    return ok([user_view(row) for row in rows], total=total)


async def show_user(call: Call) -> Response:
    user = await _find(call, path_reference(call))
    _check_reach(call.user, user, "No permission to get information of users at the same level or higher")
    # a form that sends back what it was filled in with says by this what it has seen
    return ok({**user_view(user), "quota_read": user.quota})


class NewUser(Body):
    username: Text
    password: Text
    display_name: Text | None = None
    email: Text | None = None
    role: RoleNumber | None = None
    quota: Count | None = None
    group: Text | None = None


async def create_user(call: Call) -> Response:
    """A common user with an API key named `default`. `role` is checked against the caller's, never assigned."""
    body = await read(call, NewUser)
    username = check_username(body.username, shortest=1)
    check_password(body.password)
    if body.role is not None and body.role >= call.user.role:
        raise NotAllowed("Unable to create users with permissions greater than or equal to your own")
    try:
        user = await call.store.users.create(
            username=username,
            display_name=check_display_name(body.display_name or username[:20]),
            email=_check_email(body.email or ""),
            group=_check_group(body.group) if body.group else "default",
            quota=body.quota or 0,
            password_hash=await call.services.passwords.hash(body.password),
            access_token=access_token(),
        )
    except Conflict:
        raise Taken("Username already exists") from None
    await call.store.tokens.create(
        user_id=user.id, user_uuid=user.uuid, name="default", key=token_key(), unlimited_quota=True
    )
    return ok()


class UserChanges(Body):
    uuid: Text | None = None
    username: Text | None = None
    display_name: Text | None = None
    email: Text | None = None
    password: Text | None = None
    group: Text | None = None
    quota: Count | None = None
    quota_read: Balance | None = None
    role: RoleNumber | None = None
    status: UserStatusNumber | None = None


async def update_user(call: Call) -> Response:
    """Change what the body names; null changes nothing.

    `quota` is booked as a difference, so that what is spent meanwhile stays spent: to `quota_read`, the balance that
    whoever filled in the form saw, else to the balance of this moment.
    """
    body = await read(call, UserChanges)
    user = await _find(call, body_reference(body.uuid))
    _check_reach(call.user, user, "No permission to update user information with the same or higher level")
    changes = await _changes(call, body, user)
    if changes:
        await _apply(call, user, changes)
    if body.quota is not None:
        more = body.quota - (user.quota if body.quota_read is None else body.quota_read)
        if more:
            await book(call, user, more, kind="adjust", remark=f"set by {call.user.username}")
    return ok()


async def _changes(call: Call, body: UserChanges, user: UserRecord) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if body.username is not None:
        changes["username"] = check_username(body.username)
    if body.display_name is not None:
        changes["display_name"] = check_display_name(body.display_name)
    if body.email is not None:
        changes["email"] = _check_email(body.email)
    if body.group is not None:
        changes["group"] = _check_group(body.group)
    if body.role is not None and body.role != user.role:
        if user.role == Role.ROOT or (body.role >= call.user.role and call.user.role < Role.ROOT):
            raise NotAllowed("No permission to give a role at or above your own, or to take root's away")
        changes["role"] = body.role
    if body.status is not None and body.status != user.status:
        if user.role == Role.ROOT:
            raise NotAllowed("Unable to disable super administrator user")
        changes["status"] = body.status
    if body.password:
        if user.metadata.get("password_locked"):
            raise Refusal("The password of this account is locked: ask root")
        changes["password_hash"] = await call.services.passwords.hash(check_password(body.password))
    return changes


async def _apply(call: Call, user: UserRecord, changes: dict[str, Any]) -> UserRecord:
    """Write `changes`; what changes a user's powers or password ends his sessions."""
    try:
        changed = await call.store.users.update(user.id, changes)
    except Conflict:
        raise Taken("Username already exists") from None
    if changed is None:
        raise Missing
    if changes.keys() & {"role", "status", "password_hash"}:
        await call.store.sessions.delete_user(user.id)
    return changed


async def delete_user(call: Call) -> Response:
    """Soft: the row stays for its logs, the name becomes free, sessions and keys die."""
    user = await _find(call, path_reference(call))
    if call.user.role <= user.role:
        raise NotAllowed("No permission to delete users with the same or higher level")
    await _delete(call, user)
    return ok()


async def _delete(call: Call, user: UserRecord) -> UserRecord:
    name = "deleted_" + user.uuid.replace("-", "")
    return await _apply(call, user, {"username": name, "status": int(UserStatus.DELETED)})


class Manage(Body):
    uuid: Text | None = None
    username: Text | None = None
    action: Text = ""


async def manage_user(call: Call) -> Response:
    """`enable`, `disable`, `delete`, `promote` or `demote` the user that `uuid`, else `username`, names."""
    body = await read(call, Manage)
    user = await _managed(call, body)
    _check_reach(call.user, user, "No permission to update user information with the same or higher level")
    if user.role == Role.ROOT and body.action in ("disable", "delete", "promote", "demote"):
        raise NotAllowed(f"Unable to {body.action} super administrator user")
    match body.action:
        case "enable":
            user = await _apply(call, user, {"status": int(UserStatus.ENABLED)})
        case "disable":
            user = await _apply(call, user, {"status": int(UserStatus.DISABLED)})
        case "delete":
            user = await _delete(call, user)
        case "promote" | "demote":
            user = await _apply(call, user, {"role": _new_role(call.user, user, body.action)})
    return ok({**_BLANK_VIEW, "role": user.role, "status": user.status})


async def _managed(call: Call, body: Manage) -> UserRecord:
    if body.uuid:
        return await _find(call, body_reference(body.uuid))
    if not body.username:
        raise Refusal("uuid or username is required")
    user = await call.store.users.find_login(body.username)
    if user is None or user.username != body.username:  # an e-mail address selects nobody here
        raise Missing("User does not exist")
    return user


def _new_role(actor: UserRecord, user: UserRecord, action: str) -> int:
    if action == "demote":
        if user.role == Role.COMMON:
            raise Refusal("The user is already a common user")
        return int(Role.COMMON)
    if actor.role != Role.ROOT:
        raise NotAllowed("Only root can promote users to administrators")
    if user.role >= Role.ADMIN:
        raise Refusal("The user is already an administrator")
    return int(Role.ADMIN)


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("GET", "/api/user/", Access.ADMIN, list_users),
        Endpoint("POST", "/api/user/", Access.ADMIN, create_user),
        Endpoint("PUT", "/api/user/", Access.ADMIN, update_user),
        Endpoint("POST", "/api/user/manage", Access.ADMIN, manage_user),
        Endpoint("GET", "/api/user/{uuid}", Access.ADMIN, show_user),
        Endpoint("DELETE", "/api/user/{uuid}", Access.ADMIN, delete_user),
    )
