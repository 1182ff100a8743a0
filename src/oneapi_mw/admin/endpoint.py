"""What a management route is: method, path, who may call it, and the function that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from oneapi_mw.admin.services import AdminServices
from oneapi_mw.immutable import immutable
from oneapi_mw.principal import Principal, Role
from oneapi_mw.store.base import Store
from oneapi_mw.store.records import UserRecord


class Access(Enum):
    """Who may call a route. Checked after routing, for the route that will run."""

    ANYONE = "anyone"
    KEY = "API key"
    HOLDER = "API key, its quota used up or not"
    ANY_CREDENTIAL = "session, access token or API key"
    USER = "user"
    ADMIN = "admin"
    ROOT = "root"


REQUIRED_ROLE = {Access.USER: Role.COMMON, Access.ADMIN: Role.ADMIN, Access.ROOT: Role.ROOT}


@immutable
class Caller:
    """Who calls, as the store had it at this request."""

    user: UserRecord | None = None
    principal: Principal | None = None
    """When the call came with an API key."""
    session: str | None = None
    """Session id when the cookie was the credential."""


@immutable
class Call:
    """One admitted request, as handlers see it."""

    services: AdminServices
    request: Request
    caller: Caller

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def user(self) -> UserRecord:
        """The caller of a route that asks for a user."""
        assert self.caller.user is not None, "the route admits callers without a user"
        return self.caller.user

    @property
    def principal(self) -> Principal:
        """The API key of a route that asks for one."""
        assert self.caller.principal is not None, "the route admits callers without an API key"
        return self.caller.principal


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


@immutable
class Endpoint:
    """One row of the route table.

    `changes_state` decides whether a browser's cross-site request is refused; by default every method but GET.
    """

    method: str
    path: str
    access: Access
    handle: Handler
    changes_state: bool | None = None

    @property
    def guarded(self) -> bool:
        return self.method != "GET" if self.changes_state is None else self.changes_state


PREFIXES = ("/api/", "/dashboard/billing/", "/v1/dashboard/billing/")
"""Where the routes of the management API are: all but the first are where clients of OpenAI once asked for balances."""


class RouteTableError(ValueError):
    """A route is declared twice, outside `PREFIXES`, or without saying who may call it."""


def check_table(endpoints: Iterable[Endpoint]) -> None:
    """Refuse a table with a hole. Raises `RouteTableError` naming the route."""
    seen: set[tuple[str, str]] = set()
    for endpoint in endpoints:
        name = f"{endpoint.method} {endpoint.path}"
        if not isinstance(endpoint.access, Access):
            raise RouteTableError(f"{name} does not declare who may call it: give it an Access")
        if not endpoint.path.startswith(PREFIXES):
            raise RouteTableError(f"{name} is not below {' or '.join(PREFIXES)}")
        if (endpoint.method, endpoint.path) in seen:
            raise RouteTableError(f"{name} is declared twice")
        seen.add((endpoint.method, endpoint.path))
