"""The errors a client can see. Domain code raises them; one middleware turns them into the client's envelope.

Statuses and codes are stable interface. A message says what was wrong and what to change, and never
contains a secret.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of everything the gateway answers instead of a model's answer."""

    status: int = 500
    code: str = "internal_error"
    type: str = "one_api_error"
    """`error.type` of the OpenAI envelope; other formats map the status to theirs."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after  # seconds
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status


class InternalError(GatewayError):
    """Something of ours is broken; the log has the rest."""


class InvalidRequest(GatewayError):
    """The request itself is wrong: the message names the field and what to send instead."""

    status, code, type = 400, "invalid_request", "invalid_request_error"


class InvalidJson(InvalidRequest):
    code = "invalid_json"


class UrlNotAllowed(InvalidRequest):
    """The request names a URL that the gateway does not fetch."""

    code = "url_not_allowed"


class UrlFetchFailed(InvalidRequest):
    """What the request names by URL could not be had. Says the same whatever the reason was."""

    code = "url_fetch_failed"


class ToolNotAllowed(InvalidRequest):
    """The request declares a hosted tool that no channel of its model may run, or that nobody has priced."""

    code = "tool_not_allowed"


class UnsupportedContentEncoding(InvalidRequest):
    status, code = 415, "unsupported_content_encoding"


class UnsupportedMediaType(InvalidRequest):
    status, code = 415, "unsupported_media_type"


class RequestTooLarge(InvalidRequest):
    status, code = 413, "request_too_large"


class RequestTimeout(InvalidRequest):
    """The client sent its body too slowly."""

    status, code = 408, "request_timeout"


class MethodNotAllowed(InvalidRequest):
    status, code = 405, "method_not_allowed"


class NotFound(InvalidRequest):
    status, code = 404, "not_found"


class ModelNotFound(InvalidRequest):
    status, code = 404, "model_not_found"


class Unauthorized(GatewayError):
    """No key, a wrong key, or a key that may not be used any more."""

    status, code = 401, "invalid_api_key"


class TokenExpired(Unauthorized):
    code = "token_expired"


class TokenDisabled(Unauthorized):
    code = "token_disabled"


class TokenExhausted(Unauthorized):
    code = "token_exhausted"


class Forbidden(GatewayError):
    status, code = 403, "permission_denied"


class UserDisabled(Forbidden):
    code = "user_disabled"


class ModelNotAllowed(Forbidden):
    code = "model_not_allowed"


class AddressNotAllowed(Forbidden):
    code = "ip_not_allowed"


class ChannelPinForbidden(Forbidden):
    code = "channel_pin_forbidden"


class InsufficientUserQuota(Forbidden):
    code, type = "insufficient_user_quota", "insufficient_quota"


class InsufficientTokenQuota(Forbidden):
    code, type = "pre_consume_token_quota_failed", "insufficient_quota"


class ModelPriceMissing(GatewayError):
    status, code = 400, "model_price_missing"


class RateLimited(GatewayError):
    """Over a limit of the gateway's own. `retry_after` is always set."""

    status, code = 429, "rate_limited"


class NoChannelAvailable(GatewayError):
    status, code = 503, "no_channel_available"


class StoreUnavailable(GatewayError):
    status, code, type = 503, "store_unavailable", "server_error"


class NotStarted(GatewayError):
    """A request came before start-up finished, or after shutdown."""

    status, code, type = 503, "not_started", "server_error"


class Draining(GatewayError):
    status, code, type = 503, "draining", "server_error"


class NotImplementedByGateway(GatewayError):
    status, code = 501, "api_not_implemented"


class UpstreamError(GatewayError):
    """The upstream failed or answered with an error.

    `status` is what the client gets; `upstream_status` what the upstream sent, if it answered at all.
    """

    status, code, type = 502, "upstream_error", "upstream_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        type: str | None = None,
        upstream_status: int | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code, status=status, retry_after=retry_after)
        self.upstream_status = upstream_status
        if type is not None:
            self.type = type


class UpstreamAuthFailed(UpstreamError):
    """The channel's own credential was refused; the client's key is fine."""

    code = "upstream_auth_failed"


class UpstreamInvalidResponse(UpstreamError):
    code = "upstream_invalid_response"


class UpstreamUnreachable(UpstreamError):
    """No connection could be made: nothing was sent, nothing is owed."""

    status, code, type = 500, "do_request_failed", "one_api_error"


class UpstreamTimeout(UpstreamError):
    status, code = 504, "upstream_timeout"
