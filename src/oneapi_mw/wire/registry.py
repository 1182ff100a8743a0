"""The wire formats, and which of them is spoken at which path.

A codec is loaded when its format is first asked for: stages that only name formats are imported quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from oneapi_mw.exchange import Endpoint
from oneapi_mw.wire.base import WireFormat

NAMES = ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "openai_completions")
"""Each is a module or package beside this one that exports `FORMAT`."""


@cache
def formats() -> Mapping[str, WireFormat]:
    """All formats by name."""
    return MappingProxyType({name: get_format(name) for name in NAMES})


@cache
def get_format(name: str) -> WireFormat:
    """The format of that name. Raises `KeyError`."""
    if name not in NAMES:
        raise KeyError(name)
    found: WireFormat = import_module(f"oneapi_mw.wire.{name}").FORMAT
    return found


@cache
def _endpoints() -> Mapping[str, Endpoint]:
    return {
        path: Endpoint(operation, wire.name) for wire in formats().values() for path, operation in wire.paths.items()
    }


def endpoint_for(path: str) -> Endpoint | None:
    """What a client path below the mount asks for; `None` when it asks for nothing the gateway serves."""
    endpoint = _endpoints().get(path)
    if endpoint is not None:
        return endpoint
    for wire in formats().values():
        operation = wire.operation_at(path)
        if operation is not None:
            return Endpoint(operation, wire.name)
    return None
