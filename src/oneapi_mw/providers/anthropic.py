"""Anthropic, and hosts that speak Messages as Anthropic does."""

from __future__ import annotations

from oneapi_mw.providers.base import Provider
from oneapi_mw.routing.channel import Channel

VERSION = "2023-06-01"
_OAUTH_TOKEN, _OAUTH_BETA = "sk-ant-oat", "oauth-2025-04-20"


class Anthropic(Provider):
    """Keys go in a header of their own; tokens of an OAuth login as a bearer, with the beta that allows them."""

    def headers(self, channel: Channel, wire: str) -> list[tuple[str, str]]:
        key = str.__str__(channel.key)
        if key.startswith(_OAUTH_TOKEN):
            return [
                ("authorization", "Bearer " + key),
                ("anthropic-version", VERSION),
                ("anthropic-beta", _OAUTH_BETA),
            ]
        return [("x-api-key", key), ("anthropic-version", VERSION)]
