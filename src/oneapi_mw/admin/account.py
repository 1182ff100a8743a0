"""A user's own account: login, logout, profile, management access token."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from oneapi_mw.admin.access import clear_session, session_id, set_session
from oneapi_mw.admin.body import Body, Text, read
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Refusal, Taken, ok
from oneapi_mw.admin.models import models_of_group
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.admin.throttle import LoginThrottle
from oneapi_mw.admin.users import check_display_name, check_password, check_username, identity_view, user_view
from oneapi_mw.errors import RateLimited
from oneapi_mw.ids import access_token
from oneapi_mw.principal import UserStatus
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.records import UserRecord

_WRONG = "Username or password is wrong, or user has been banned"
_MAX_PASSWORD_BYTES = 128  # hashing is slow on purpose; a megabyte of it would be slower


class LoginBody(Body):
    username: Text | None = None
    password: Text | None = None


class Login:
    """`POST /api/user/login`. Unknown names cost the same work and get the same text as wrong passwords."""

    def __init__(self, services: AdminServices) -> None:
        self._throttle = LoginThrottle(services.clock)
        self._decoy: str | None = None

    async def __call__(self, call: Call) -> Response:
        body = await read(call, LoginBody)
        if not body.username or not body.password:
            raise Refusal("invalid parameter: username and password are required")
        address = call.services.client_address(call.request.scope) or ""
        wait = self._throttle.begin(body.username, address)
        if wait > 0:
            raise RateLimited(
                "Too many failed logins: wait before the next attempt", code="login_throttled", retry_after=wait
            )
        user = await self._check(call.services, body.username, body.password)
        self._throttle.succeeded(body.username, address)
        response = ok(identity_view(user))
        await _renew_session(call, response, user)
        return response

    async def _check(self, services: AdminServices, username: str, password: str) -> UserRecord:
        if len(password.encode()) > _MAX_PASSWORD_BYTES:
            raise Refusal(_WRONG)
        user = await services.store.users.find_login(username) if len(username) <= 64 else None
        if self._decoy is None:
            self._decoy = await services.passwords.hash(secrets.token_hex(16))
        right = await services.passwords.verify(password, user.password_hash if user is not None else self._decoy)
        if user is None or not right or user.status != UserStatus.ENABLED:
            raise Refusal(_WRONG)
        return user


async def _renew_session(call: Call, response: Response, user: UserRecord) -> None:
    """A new session id in `response`; the one the browser came with ends, so it cannot have been planted."""
    sessions = call.store.sessions
    old = session_id(call.request, call.services)
    if old is not None:
        await sessions.delete(old)
    new = await sessions.create(user.id, max_age=call.services.cookie_max_age)
    set_session(response, call.request, call.services, new)


async def logout(call: Call) -> Response:
    """End the session the cookie names, if any."""
    session = session_id(call.request, call.services)
    if session is not None:
        await call.store.sessions.delete(session)
    response = ok()
    clear_session(response, call.request, call.services)
    return response


async def show_self(call: Call) -> Response:
    return ok(user_view(call.user))


class SelfBody(Body):
    username: Text | None = None
    password: Text | None = None
    display_name: Text | None = None


async def update_self(call: Call) -> Response:
    """Change name, display name or password. A blank name or password keeps what is there."""
    body = await read(call, SelfBody)
    changes: dict[str, Any] = {}
    prefix = "Input is illegal: "
    if body.username and body.username.strip():
        changes["username"] = check_username(body.username, prefix=prefix)
    if body.display_name is not None:
        changes["display_name"] = check_display_name(body.display_name, prefix=prefix)
    if body.password:
        if call.user.metadata.get("password_locked"):
            raise Refusal("The password of this account is locked: ask an administrator")
        check_password(body.password, prefix=prefix)
        changes["password_hash"] = await call.services.passwords.hash(body.password)
    if changes:
        try:
            await call.store.users.update(call.user.id, changes)
        except Conflict:
            raise Taken("Username already exists") from None
    response = ok()
    if "password_hash" in changes:
        await call.store.sessions.delete_user(call.user.id)
        if call.caller.session is not None:
            await _renew_session(call, response, call.user)
    return response


async def renew_access_token(call: Call) -> Response:
    """A new management access token; the one before stops working. This is the only time it is shown."""
    token = access_token()
    await call.store.users.update(call.user.id, {"access_token": token})
    return ok(token)


async def available_models(call: Call) -> Response:
    """Names the user's group may ask for."""
    return ok(models_of_group(call.store.channel_table.snapshot(), call.user.group))


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    return (
        Endpoint("POST", "/api/user/login", Access.ANYONE, Login(services)),
        Endpoint("GET", "/api/user/logout", Access.ANYONE, logout, changes_state=True),
        Endpoint("GET", "/api/user/self", Access.USER, show_self),
        Endpoint("PUT", "/api/user/self", Access.USER, update_self),
        Endpoint("GET", "/api/user/token", Access.USER, renew_access_token, changes_state=True),
        Endpoint("GET", "/api/user/available_models", Access.USER, available_models),
    )
