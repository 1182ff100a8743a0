"""Who is calling, and whether the route lets them.

The cookie holds an opaque id; user, role and status are read from the store on each request, so that a demoted
or disabled administrator loses power at once.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from oneapi_mw.admin.endpoint import REQUIRED_ROLE, Access, Caller, Endpoint
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.errors import Forbidden, GatewayError, Unauthorized, UserDisabled
from oneapi_mw.principal import Principal, UserStatus
from oneapi_mw.store.records import UserRecord

_DENIED = "No permission to perform this operation, "
_MAX_CREDENTIAL = 256  # characters; ours have 32 to 64


class KeyRefused(Exception):
    """The API key of a key route was refused: answered as relay routes do. The error is the cause."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(str(error))
        self.error = error


async def admit(endpoint: Endpoint, request: Request, services: AdminServices) -> Caller:
    """The caller of `endpoint`.

    Raises: `KeyRefused`; `Unauthorized` without a valid credential; `Forbidden` when the user is disabled, the
    role too low, or the request came from another site on the strength of a cookie.
    """
    match endpoint.access:
        case Access.ANYONE:
            _refuse_cross_site(endpoint, request)
            return Caller()
        case Access.KEY | Access.HOLDER:
            return Caller(principal=await _key(request, services, used_up=endpoint.access is Access.HOLDER))
        case Access.ANY_CREDENTIAL:
            try:
                return await _user_caller(endpoint, request, services)
            except Unauthorized:  # a refusal is answered as on the routes of users: this is not a key route
                return Caller(principal=await services.authenticate_key(request.scope))
        case Access.USER | Access.ADMIN | Access.ROOT:
            caller = await _user_caller(endpoint, request, services)
            if caller.user is None or caller.user.role < REQUIRED_ROLE[endpoint.access]:
                raise Forbidden(_DENIED + "insufficient permissions")
            return caller


async def _key(request: Request, services: AdminServices, *, used_up: bool) -> Principal:
    try:
        return await services.authenticate_key(request.scope, used_up=used_up)
    except GatewayError as error:
        raise KeyRefused(error) from error


async def _user_caller(endpoint: Endpoint, request: Request, services: AdminServices) -> Caller:
    session = session_id(request, services)
    user = await _session_user(session, services)
    if user is not None:
        _refuse_cross_site(endpoint, request)
    else:
        session, user = None, await _token_user(request, services)
    if user.status != UserStatus.ENABLED:
        if session is not None:
            await services.store.sessions.delete(session)
        raise UserDisabled("User has been banned")
    return Caller(user=user, session=session)


async def _session_user(session: str | None, services: AdminServices) -> UserRecord | None:
    if session is None:
        return None
    user_id = await services.store.sessions.find(session)
    return None if user_id is None else await services.store.users.get_by_id(user_id)


async def _token_user(request: Request, services: AdminServices) -> UserRecord:
    """The owner of the management access token in `Authorization`."""
    presented = request.headers.get("authorization", "").strip()
    if not presented:
        raise Unauthorized(_DENIED + "not logged in and no access token provided", code="session_required")
    token = presented.removeprefix("Bearer ").strip()
    user = None
    if 0 < len(token) <= _MAX_CREDENTIAL and token.isascii():
        user = await services.store.users.find_access_token(token)
    if user is None:
        raise Unauthorized(_DENIED + "access token is invalid", code="session_required")
    return user


def session_id(request: Request, services: AdminServices) -> str | None:
    """What the session cookie holds; `None` for none and for what cannot be ours."""
    value = request.cookies.get(services.cookie_name, "")
    return value if 0 < len(value) <= _MAX_CREDENTIAL and value.isascii() else None


def set_session(response: Response, request: Request, services: AdminServices, session: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        services.cookie_name,
        session,
        max_age=services.cookie_max_age,
        path=cookie_path(request),
        secure=services.cookie_secure,
        httponly=True,
        samesite="lax",
    )


def clear_session(response: Response, request: Request, services: AdminServices) -> None:
    """Make the browser forget its session."""
    response.delete_cookie(
        services.cookie_name, path=cookie_path(request), secure=services.cookie_secure, httponly=True, samesite="lax"
    )


def cookie_path(request: Request) -> str:
    """The mount the gateway lives under, as browsers spell it: a neighbour's requests do not carry our cookie."""
    root: str = request.scope.get("root_path", "")
    return quote(root.rstrip("/"), safe="/-._~!$&'()*+,=:@") or "/"


def _refuse_cross_site(endpoint: Endpoint, request: Request) -> None:
    """Cookies travel by themselves, so what another site caused must not change anything.

    Browsers say where a request comes from; scripts send neither header and are let through.
    """
    if endpoint.guarded and not _same_origin(request):
        raise Forbidden("The request comes from another site: send it from this one", code="csrf_failed")


def _same_origin(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:  # no page can forge it, and it is right behind proxies that rewrite Host
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return True
    ours = _authority("//" + request.headers.get("host", ""))
    return ours is not None and _authority(origin) == ours


def _authority(url: str) -> tuple[str, int | None] | None:
    """Host and port of `url`, default ports left out: TLS may end at a proxy, so the scheme is not compared."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if not host else (host, None if port in (80, 443) else port)
