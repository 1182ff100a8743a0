"""The JSON object in a channel's `config`: what may be stored, and what of it nobody gets to see again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from oneapi_mw.operations.registry import ENDPOINT_NAMES
from oneapi_mw.pricing.card import decode_card
from oneapi_mw.routing.terms import AMBIGUOUS, SWITCHES

SECRETS = frozenset({"sk", "vertex_ai_adc", "spark_api_secret", "spark_api_key", "tencent_secret_key"})
"""Keys whose values are credentials. `key` of a channel is one too and has a column of its own."""
MASK = "******"
"""Shown in place of a secret; stored, it means the secret that is there already."""
HARMLESS = frozenset({"tooling", "mcp_tool_blacklist", "supported_endpoints", "ambiguous", *SWITCHES})
"""Keys that do not decide where requests and their credentials go."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # a token of RFC 9110
_OF_THE_MESSAGE = frozenset(
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"]
)
"""Fields by which two servers tell where a message ends: a second one would split it."""


def is_address(url: str) -> bool:
    """Whether `url` is an absolute http or https URL, written so that no two parsers read it differently."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    readable = url.isascii() and url.isprintable() and not set(' \\"<>') & set(url)
    return usable and readable and "@" not in parts.netloc and not parts.fragment


def check_config(config: Any) -> bool:
    """Whether `config` is an object. Raises `ValueError` saying what is wrong inside it."""
    if not isinstance(config, dict):
        return False
    _check_urls(config.get("endpoint_urls"))
    _check_endpoints(config.get("supported_endpoints"))
    _check_headers(config.get("custom_headers"))
    _check_terms(config)
    if config.get("tooling") is not None and not check_tooling(config["tooling"]):
        raise ValueError('tooling must be an object such as {"whitelist": ["web_search"]}')
    return True


def check_tooling(tooling: Any) -> bool:
    """Whether `tooling` is an object. Raises `ValueError` naming what of it cannot be meant: every tool needs a price
    that can be charged, and a whitelist names tools."""
    if not isinstance(tooling, dict):
        return False
    if not isinstance(tooling.get("pricing") or {}, dict):
        raise ValueError('pricing must be an object such as {"web_search": {"usd_per_call": 0.01}}')
    decode_card({"tools": tooling.get("pricing") or {}})
    whitelist = tooling.get("whitelist") or []
    if not isinstance(whitelist, list):
        raise ValueError('whitelist must be a list of tools such as ["web_search"]')
    if not all(isinstance(name, str) and name.strip() for name in whitelist):
        raise ValueError("tool whitelist cannot contain empty entries")
    return True


def _check_urls(urls: Any) -> None:
    if urls is None:
        return
    if not isinstance(urls, dict):
        raise ValueError('endpoint_urls must be an object such as {"chat_completions": "https://api.example.com/chat"}')
    for endpoint, url in urls.items():
        _check_endpoint(endpoint)
        if url and not (isinstance(url, str) and is_address(url)):
            raise ValueError(f"Endpoint URL for {endpoint} must be an absolute http(s) URL")


def _check_endpoints(endpoints: Any) -> None:
    if endpoints is None:
        return
    if not isinstance(endpoints, list):
        raise ValueError('supported_endpoints must be a list such as ["chat_completions"]')
    for endpoint in endpoints:
        _check_endpoint(endpoint)


def _check_endpoint(name: Any) -> None:
    if not isinstance(name, str) or name not in ENDPOINT_NAMES:
        raise ValueError(f"Unknown endpoint: {str(name)[:64]}; known are {', '.join(sorted(ENDPOINT_NAMES))}")


def _check_headers(headers: Any) -> None:
    if headers is None:
        return
    if not isinstance(headers, dict):
        raise ValueError('custom_headers must be an object such as {"x-team": "search"}')
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OF_THE_MESSAGE or name.lower().startswith("proxy-"):
            raise ValueError(f'invalid custom header name "{name[:64]}"')
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValueError(f"the value of custom header {name} must be a string of printable ASCII characters")


def _check_terms(config: dict[str, Any]) -> None:
    if config.get("ambiguous", "void") not in AMBIGUOUS:
        raise ValueError(f"ambiguous must be one of {', '.join(AMBIGUOUS)}")
    for name in SWITCHES:
        if not isinstance(config.get(name, False), bool):
            raise ValueError(f"{name} must be true or false")


def hide_secrets(config: str) -> str:
    """A stored `config` as it is shown. Unchanged, byte for byte, when nothing in it is secret."""
    parsed = _object(config)
    hidden = {name: MASK for name in SECRETS & parsed.keys() if parsed[name]}
    return _text({**parsed, **hidden}) if hidden else config


def keep_secrets(config: str, stored: str) -> str:
    """A checked `config` that somebody edited, with the secrets he was not shown put back from the `stored` one."""
    parsed = _object(config)
    masked = {name for name in SECRETS & parsed.keys() if parsed[name] == MASK}
    if not masked:
        return config
    known = _object(stored)
    return _text({**parsed, **{name: known.get(name, "") for name in masked}})


def destination(config: str) -> Mapping[str, Any]:
    """The part of a stored `config` that decides where requests go and what they carry."""
    return {name: value for name, value in _object(config).items() if name not in HARMLESS and value}


def set_tooling(config: str, tooling: str | None) -> str:
    """`config` with its `tooling` replaced; both were checked. Without `tooling` it is returned as it is."""
    if not tooling or not tooling.strip():
        return config
    return _text({**_object(config), "tooling": orjson.loads(tooling)})


def tooling_of(config: str) -> str | None:
    """The `tooling` of a stored `config` as text; `None` when it has none or is not readable."""
    tooling = _object(config).get("tooling")
    return _text(tooling) if tooling else None


def _object(config: str) -> dict[str, Any]:
    """A stored `config`; empty when it is blank or, written by somebody else, not readable."""
    try:
        parsed = orjson.loads(config) if config.strip() else {}
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
