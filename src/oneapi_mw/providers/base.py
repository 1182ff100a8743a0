"""What a provider is: where it is, which wire formats it speaks and how it wants to be addressed."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from oneapi_mw.canonical.call import Call
from oneapi_mw.immutable import immutable
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.operations.registry import ENDPOINT_OF_PATH
from oneapi_mw.routing.channel import Channel

_VERSIONED = re.compile(r"/v\d+[a-zA-Z0-9]*$")
_VERSION = re.compile(r"/v\d+[a-zA-Z0-9]*(?=/)")


@immutable
class ProviderSpec:
    """One row of the catalogue. `id` is One API's channel type number and never changes."""

    id: int
    name: str
    base_url: str
    """Default; empty when every account has its own."""
    wires: tuple[str, ...]
    """Wire formats of its text endpoints, the one to prefer first."""
    operations: frozenset[str]
    """Operations a channel of this type serves unless it says otherwise."""
    docs: str
    """The page the row was checked against."""
    url_media: bool = True
    """Whether it fetches media that a request names by URL; else they are sent as data."""


class Provider:
    """How to address a channel. Subclassed only where a row cannot say it."""

    def __init__(self, spec: ProviderSpec) -> None:
        self.spec = spec

    def wires(self, channel: Channel, rules: ModelRules) -> tuple[str, ...]:
        """Wire formats `channel` speaks with a model of these `rules`, the one to prefer first."""
        return self.spec.wires

    def choose(self, call: Call, rules: ModelRules, wires: Collection[str]) -> str | None:
        """Another format of `wires` than the client's to serve `call` in; `None` keeps the client's where it is
        among them, and takes the preferred one where it is not."""
        return None

    def is_official(self, channel: Channel) -> bool:
        """Whether `channel` is at the provider's own host."""
        if not channel.base_url:
            return bool(self.spec.base_url)
        return bool(self.spec.base_url) and _host(channel.base_url) == _host(self.spec.base_url)

    def url(self, channel: Channel, path: str) -> str:
        """Full URL for the endpoint at `path` (begins with a version segment such as `/v1`).

        A base URL that already ends in a version segment is not given a second one.
        """
        override = self._override(channel, path)
        if override:
            return override
        base = (channel.base_url or self.spec.base_url).rstrip("/")
        if _VERSIONED.search(base):
            path = _VERSION.sub("", path, count=1) if _VERSION.match(path) else path
        return base + path

    def _override(self, channel: Channel, path: str) -> str | None:
        """What the channel says about the endpoint at `path`; odd values, which are refused today, say nothing."""
        urls = channel.config.get("endpoint_urls")
        url = urls.get(ENDPOINT_OF_PATH.get(path)) if isinstance(urls, dict) else None
        return url if isinstance(url, str) else None

    def headers(self, channel: Channel, wire: str) -> list[tuple[str, str]]:
        """Credential and version headers of requests in format `wire`."""
        return [("authorization", "Bearer " + str.__str__(channel.key))]


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
