"""The management API: every resource's routes behind one door."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from oneapi_mw.admin import (
    account,
    channels,
    consume,
    costs,
    dashboard,
    logs,
    pricing,
    redemptions,
    status,
    tokens,
    topups,
    users,
)
from oneapi_mw.admin.access import KeyRefused, admit, clear_session
from oneapi_mw.admin.endpoint import Call, Endpoint, check_table
from oneapi_mw.admin.envelope import failure, key_failure
from oneapi_mw.admin.routing import Router, route
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.errors import GatewayError, InternalError, Unauthorized, UserDisabled
from oneapi_mw.exchange import EXCHANGE, Exchange, Outcome
from oneapi_mw.middleware.body import ClientDisconnected

__all__ = ["AdminServices", "build_admin", "route_table"]

log = logging.getLogger("oneapi_mw.admin")

RESOURCES = (account, users, topups, redemptions, tokens, consume, channels, pricing, logs, costs, dashboard, status)
"""Order matters where a fixed path and `{uuid}` both match: the fixed one must come first."""


def route_table(services: AdminServices) -> list[Endpoint]:
    """Every route with who may call it. Raises `RouteTableError` when one does not say."""
    endpoints = [endpoint for resource in RESOURCES for endpoint in resource.endpoints(services)]
    check_table(endpoints)
    return sorted(endpoints, key=lambda endpoint: "{" in endpoint.path)


def build_admin(services: AdminServices) -> ASGIApp:
    """The app for `/api/*`, at any mount: paths are matched below `root_path`.

    Raises: `RouteTableError` when a route does not declare who may call it.
    """
    return build_from(route_table(services), services)


def build_from(endpoints: Sequence[Endpoint], services: AdminServices) -> ASGIApp:
    """An app of `endpoints` alone."""
    return Router([route(e.method, e.path, _door(e, services)) for e in endpoints])


def _door(endpoint: Endpoint, services: AdminServices) -> Callable[[Request], Awaitable[Response]]:
    """`endpoint` behind admission, and its errors as answers."""

    async def answer(request: Request) -> Response:
        exchange = EXCHANGE.find(request.scope)
        request_id = exchange.request_id if exchange else None
        try:
            response = await endpoint.handle(Call(services, request, await admit(endpoint, request, services)))
            _note(exchange, "complete")
        except KeyRefused as refused:
            _note(exchange, "failed", refused.error.code)
            response = key_failure(refused.error, request_id=request_id)
        except GatewayError as error:
            _note(exchange, "failed", error.code)
            response = _failed(error, request, services)
        except ClientDisconnected:
            _note(exchange, "client_gone")
            response = Response(status_code=400)  # nobody is there to read it
        except Exception:  # the outer stages would answer in the envelope of the relay
            log.exception("request_id=%s %s %s failed", request_id, endpoint.method, endpoint.path)
            fault = InternalError("The gateway failed; its log has the details")
            _note(exchange, "failed", fault.code)
            response = failure(fault, strict=False)
        return response

    return answer


def _note(exchange: Exchange | None, outcome: Outcome, code: str | None = None) -> None:
    """How a call ended, for the access log."""
    if exchange is not None:
        exchange.outcome, exchange.code = outcome, code


def _failed(error: GatewayError, request: Request, services: AdminServices) -> Response:
    response = failure(error, strict=services.strict_http_status)
    if isinstance(error, Unauthorized | UserDisabled) and services.cookie_name in request.cookies:
        clear_session(response, request, services)
    return response
