"""After which failures another channel is worth a try."""

from __future__ import annotations

import pytest

from oneapi_mw.errors import (
    GatewayError,
    InvalidRequest,
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from oneapi_mw.routing.retry import may_retry


@pytest.mark.parametrize("status", [401, 402, 403, 408, 413, 429, 500, 502, 503, 504, 529, None])
def test_faults_of_the_channel(status: int | None) -> None:
    assert may_retry(UpstreamError("no", upstream_status=status))


@pytest.mark.parametrize("status", [400, 404, 405, 409, 415, 422, 451])
def test_faults_of_the_request(status: int) -> None:
    assert not may_retry(UpstreamError("no", upstream_status=status))


@pytest.mark.parametrize(
    "error",
    [
        UpstreamAuthFailed("no", upstream_status=400),
        UpstreamInvalidResponse("no"),
        UpstreamTimeout("no"),
        UpstreamUnreachable("no"),
    ],
)
def test_faults_on_the_way(error: GatewayError) -> None:
    assert may_retry(error)


@pytest.mark.parametrize("error", [InvalidRequest("no"), GatewayError("no")])
def test_errors_of_our_own(error: GatewayError) -> None:
    assert not may_retry(error)
