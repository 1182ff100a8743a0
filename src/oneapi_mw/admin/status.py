"""What the gateway says about itself to anyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import Response

from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import ok
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.types import QUOTA_PER_USD

_ABSENT_FEATURES: Final[dict[str, Any]] = {
    **dict.fromkeys(
        ["email_verification", "github_oauth", "wechat_login", "turnstile_check", "oidc", "stripe_enabled"], False
    ),
    **dict.fromkeys(
        [
            "github_client_id",
            "lark_client_id",
            "logo",
            "footer_html",
            "wechat_qrcode",
            "turnstile_site_key",
            "top_up_link",
            "chat_link",
            "oidc_client_id",
            "oidc_well_known",
            "oidc_authorization_endpoint",
            "oidc_token_endpoint",
            "oidc_userinfo_endpoint",
        ],
        "",
    ),
    "password_register": False,
    "min_topup_usd": 0,
}
"""Keys that front ends read, for sign-in methods and pages this gateway does not offer."""


async def show_status(call: Call) -> Response:
    """Answers without the database, so that it tells a running process from a dead one."""
    services = call.services
    return ok(
        {
            **_ABSENT_FEATURES,
            "version": services.version,
            "start_time": services.start_time,
            "system_name": services.system_name,
            "server_address": services.server_address,
            "quota_per_unit": QUOTA_PER_USD,
            "display_in_currency": True,
            "password_login": True,
        }
    )


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (Endpoint("GET", "/api/status", Access.ANYONE, show_status),)
