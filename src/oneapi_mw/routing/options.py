"""How far conversion may go for one channel: the operator's settings, with what the channel says on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.wire.target import ConversionOptions

_SWITCHES = {
    "strict_conversion": "strict",
    "strict_passthrough": "strict_passthrough",
    "emulate_stop": "emulate_stop",
    "emulate_prefill": "emulate_prefill",
    "emulate_client_tools": "emulate_client_tools",
    "drop_hosted_tools": "drop_hosted_tools",
    "fan_out_n": "fan_out_n",
    "inline_urls": "inline_urls",
}
"""Keys of a channel's `config` and the options they set."""
_WORDS = {"reasoning_lost": ("drop", "text"), "gemini_schema": ("auto", "json", "openapi")}


def channel_options(defaults: ConversionOptions, config: Mapping[str, Any]) -> ConversionOptions:
    """`defaults` with what `config` says. Values of other types, which are refused when a channel is saved, say
    nothing."""
    changes: dict[str, Any] = {}
    for key, name in _SWITCHES.items():
        if isinstance(config.get(key), bool):
            changes[name] = config[key]
    for key, words in _WORDS.items():
        if config.get(key) in words:
            changes[key] = config[key]
    return replace(defaults, **changes) if changes else defaults
