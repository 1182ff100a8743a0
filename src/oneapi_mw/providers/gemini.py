"""Google's Gemini API."""

from __future__ import annotations

from oneapi_mw.providers.base import Provider
from oneapi_mw.routing.channel import Channel


class Gemini(Provider):
    """The key goes in a header: in the query it would end up in logs."""

    def headers(self, channel: Channel, wire: str) -> list[tuple[str, str]]:
        return [("x-goog-api-key", str.__str__(channel.key))]
