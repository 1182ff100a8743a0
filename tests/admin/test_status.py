"""`GET /api/status`, which front ends read first."""

from __future__ import annotations

import pytest

from oneapi_mw import __version__
from tests.admin.test_access import Broken
from tests.admin.world import World

KEYS = (
    "version start_time email_verification github_oauth github_client_id lark_client_id system_name logo footer_html "
    "wechat_qrcode wechat_login server_address turnstile_check turnstile_site_key top_up_link chat_link quota_per_unit "
    "display_in_currency oidc oidc_client_id oidc_well_known oidc_authorization_endpoint oidc_token_endpoint "
    "oidc_userinfo_endpoint password_login password_register stripe_enabled min_topup_usd"
)


async def test_all_keys_are_there(world: World) -> None:
    world.configure(start_time=1_700_000_000, system_name="Ours", server_address="https://ours.example")

    data = (await world.get("/api/status")).data

    assert data.keys() == set(KEYS.split())
    assert data["version"] == __version__
    assert (data["start_time"], data["system_name"], data["server_address"]) == (
        1_700_000_000,
        "Ours",
        "https://ours.example",
    )
    assert (data["quota_per_unit"], data["display_in_currency"]) == (500_000, True)
    assert (data["password_login"], data["password_register"]) == (True, False)


async def test_it_answers_without_the_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(AssertionError("the store was asked"))
    for repository in ("users", "sessions", "options"):
        monkeypatch.setattr(world.store, repository, broken)

    assert (await world.get("/api/status", world["alice"].cookie)).status == 200
