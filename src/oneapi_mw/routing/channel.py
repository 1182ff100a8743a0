"""A channel: one configured account at a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import IntEnum
from typing import Any

from oneapi_mw.immutable import immutable


class ChannelStatus(IntEnum):
    UNKNOWN = 0
    ENABLED = 1
    DISABLED = 2
    AUTO_DISABLED = 3


class Secret(str):
    """Text that does not show itself in logs, tracebacks and debuggers. `str.__str__` gives the value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@immutable
class Channel:
    """A channel as routing and relay need it."""

    id: int
    uuid: str
    name: str
    type: int
    """Channel type number of One API; a row of `providers.catalogue`."""
    base_url: str
    key: Secret
    models: tuple[str, ...]
    groups: tuple[str, ...] = ("default",)
    status: int = ChannelStatus.ENABLED
    priority: int = 0
    weight: int = 0
    ratelimit: int = 0
    model_mapping: Mapping[str, str] = field(default_factory=dict)
    """Requested name -> name at the provider."""
    hidden_models: frozenset[str] = frozenset()
    """Lower-case names served only to pinned requests."""
    system_prompt: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    model_configs: Mapping[str, Any] = field(default_factory=dict)
    """The channel's own prices and limits per model, as stored."""
