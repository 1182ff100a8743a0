"""Answers of the management API: `{success, message, data, total}`.

One API answers what it refuses (a bad value, a row that is not there) with status 200 and `success: false`, and
scripts read only `success`. Such an answer is a `Refusal`; its real status shows when the operator asks for
strict statuses. Everything else (401, 403, 413, 429, 5xx) always has its own status.
"""

from __future__ import annotations

import math
from typing import Any, Final

import orjson
from starlette.responses import Response

from oneapi_mw.errors import GatewayError

_ABSENT: Final = object()

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""On every answer: they hold balances and keys."""

_TWO_KEYS: Final = frozenset({"session_required", "permission_denied", "user_disabled"})
"""Refused credentials: One API's body has only `success` and `message`, and clients compare it whole."""


class Refusal(GatewayError):
    """The request was understood and is refused: a value breaks a rule."""

    status, code = 422, "validation_failed"


class BadBody(Refusal):
    """The body is not what the route reads."""

    status, code = 400, "invalid_request"


class BadReference(Refusal):
    """Something that should be a uuid is not one."""

    status, code = 400, "invalid_request"


class Missing(Refusal):
    """No such row, or not one the caller may know of: the two must look the same."""

    status, code = 404, "not_found"

    def __init__(self, message: str = "resource reference not found") -> None:
        super().__init__(message)


class Taken(Refusal):
    """Somebody else has it already."""

    status, code = 409, "conflict"


class NotAllowed(Refusal):
    """The caller's role reaches the route but not this row or value."""

    status, code = 403, "permission_denied"


def reply(body: Any, *, status: int = 200) -> Response:
    """`body` as JSON."""
    return Response(orjson.dumps(body), status, HEADERS, "application/json")


def ok(data: Any = _ABSENT, *, total: int | None = None, message: str = "") -> Response:
    """Success. `data` is left out when not given; `total` is for paged lists."""
    body: dict[str, Any] = {"success": True, "message": message}
    if data is not _ABSENT:
        body["data"] = data
    if total is not None:
        body["total"] = total
    return reply(body)


def failure(error: GatewayError, *, strict: bool) -> Response:
    """`error` in the management envelope, `code` included where One API has nothing to compare with."""
    lenient = isinstance(error, Refusal) and not strict
    body: dict[str, Any] = {"success": False, "message": error.message}
    if strict or not (lenient or error.code in _TWO_KEYS):
        body["code"] = error.code
    response = reply(body, status=200 if lenient else error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def key_failure(error: GatewayError, *, request_id: str | None) -> Response:
    """A refused API key, as relay routes answer it: One API has two keys here and names the request."""
    message = f"{error.message} (request id: {request_id})" if request_id else error.message
    return reply({"error": {"message": message, "type": "one_api_error"}}, status=error.status)


def unknown_path(method: str, path: str) -> Response:
    """For paths and methods that are not there; One API never answers 405."""
    message = f"Invalid URL ({method} {path})"
    return reply(
        {"error": {"message": message, "type": "invalid_request_error", "param": "", "code": ""}},
        status=404,
    )
