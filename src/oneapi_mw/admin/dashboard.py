"""Balance and use, where clients of OpenAI once asked for them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import reply
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.immutable import immutable
from oneapi_mw.types import QUOTA_PER_USD, Quota

UNLIMITED = 100_000_000
"""What an API key without a quota of its own is said to have."""
BY_TOKEN, IN_CURRENCY = "DisplayTokenStatEnabled", "DisplayInCurrencyEnabled"
"""Options, both on by default: the key's figures and not its owner's, US dollars and not quota units."""


@immutable
class _Account:
    """What is shown of a key or its owner."""

    remaining: Quota
    used: Quota
    unlimited: bool
    expires_at: int
    currency: bool

    def shown(self, quota: Quota) -> float:
        return quota / QUOTA_PER_USD if self.currency else quota


async def _account(call: Call) -> _Account | None:
    """`None` for a key or an owner that was deleted a moment ago."""
    principal, options = call.principal, await call.store.options.all()
    currency = options.get(IN_CURRENCY) != "false"
    token = await call.store.tokens.get_by_id(principal.token_id)
    if token is None:
        return None
    expires_at = max(token.expired_time, 0)
    if options.get(BY_TOKEN) != "false":
        return _Account(token.remain_quota, token.used_quota, token.unlimited_quota, expires_at, currency)
    user = await call.store.users.get_by_id(principal.user_id)
    return None if user is None else _Account(user.quota, user.used_quota, False, expires_at, currency)


def _failed(kind: str) -> Response:
    return reply({"error": {"message": "This API key or its user was deleted a moment ago", "type": kind}})


async def subscription(call: Call) -> Response:
    """What there was in all: what is left and what was used."""
    account = await _account(call)
    if account is None:
        return _failed("upstream_error")
    limit = UNLIMITED if account.unlimited else account.shown(account.remaining + account.used)
    return reply(
        {
            "object": "billing_subscription",
            "has_payment_method": True,
            "soft_limit_usd": limit,
            "hard_limit_usd": limit,
            "system_hard_limit_usd": limit,
            "access_until": account.expires_at,
        }
    )


async def usage(call: Call) -> Response:
    """What was used, in hundredths of what `subscription` counts in."""
    account = await _account(call)
    if account is None:
        return _failed("one_api_error")
    return reply({"object": "list", "total_usage": account.shown(account.used * 100)})


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return tuple(
        Endpoint("GET", f"{prefix}/dashboard/billing/{name}", Access.KEY, handle)
        for prefix in ("", "/v1")
        for name, handle in (("subscription", subscription), ("usage", usage))
    )
