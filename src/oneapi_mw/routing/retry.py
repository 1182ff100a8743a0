"""Whether a failed attempt may be followed by one on another channel."""

from __future__ import annotations

from oneapi_mw.errors import GatewayError, UpstreamAuthFailed, UpstreamError

_OF_THE_CHANNEL = frozenset({401, 402, 403, 408, 413, 429})


def may_retry(error: GatewayError) -> bool:
    """Whether another channel might do better. Faults of the request itself are the same everywhere.

    Asked anew after every failure; nothing may have been sent to the client yet.
    """
    if not isinstance(error, UpstreamError):
        return False
    status = error.upstream_status
    if status is None or isinstance(error, UpstreamAuthFailed):
        return True
    return status >= 500 or status in _OF_THE_CHANNEL
