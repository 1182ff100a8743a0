"""Kinds of values a setting may have: what is accepted, what to write, and what of it may be shown.

Messages of the validators continue the sentence "NAME is …: write".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from oneapi_mw.immutable import immutable

MIN_SECRET_CHARS = 16


@immutable
class Rule:
    """What to write, as it follows the word "write"."""

    text: str


@immutable
class Masked:
    """Marks a value that is quoted in no message, and how a listing shows it."""

    show: Callable[[str], str]


def hide(text: str) -> str:
    """Only whether there is anything."""
    return "********" if text else ""


def hide_credentials(text: str) -> str:
    """An address without what may be a password: credentials before the last `@`, and all parameters."""
    if "@" not in text and "://" not in text and "=" in text:  # host=h password=p
        return hide(text)
    scheme = re.match(r"[a-z0-9+]+://", text)
    start = scheme.group() if scheme else ""
    rest = text.removeprefix(start)
    if "@" in rest:
        rest = "********@" + rest.rpartition("@")[2]
    address, question, _ = rest.partition("?")
    return start + address + (question and "?********")


def split_bind(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `[::1]:port`; a `unix:` path is a host without a port.

    Raises: `ValueError`.
    """
    if re.fullmatch(r"unix:.+", text):
        return text, None
    if _is_ip(text):
        return text, None
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?", text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (match["v6"] and not _is_ip(match["v6"])) or (port or 0) > 65535:
        raise ValueError("an address or name, with or without a port, such as 127.0.0.1, 0.0.0.0:3000 or [::1]:3000")
    return match["v6"] or match["name"], port


def split_destination(text: str) -> tuple[str | ipaddress.IPv4Network | ipaddress.IPv6Network, int | None]:
    """Host name (lower case) or network, and port, of `name`, `name:port`, `10.0.0.0/8`, `[fd00::/8]:443`.

    Raises: `ValueError`.
    """
    match = re.fullmatch(r"\[(?P<v6>[^\]]+)\]:(?P<port>[0-9]{1,5})", text) or re.fullmatch(
        r"(?P<name>[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?", text
    )
    found = match.groupdict() if match else {"v6": text}
    port = int(found["port"]) if found.get("port") else None
    where = found.get("v6") or found["name"]
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{text!r} names a port that does not exist")
    try:
        return ipaddress.ip_network(where, strict=False), port
    except ValueError:
        if ":" in where or "/" in where or not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", where):
            raise ValueError(f"{text!r} is no host, address or network") from None
    return where.lower(), port


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _checked_bind(text: str) -> str:
    split_bind(text)
    return text


def _url(*schemes: str) -> Callable[[str], str]:
    wanted = " or ".join(f"{scheme}://host" for scheme in schemes)

    def check(text: str) -> str:
        try:
            parts = urlsplit(text)
            usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if text and not usable:
            raise ValueError(f"an address that begins with {wanted}")
        return text

    return check


def _without_slash(text: str) -> str:
    return text.rstrip("/")


def _items(value: Any) -> Any:
    """A list as it stands in the environment: commas, spaces or both."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    networks = []
    for text in values:
        try:
            networks.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            raise ValueError(
                f"the networks of your own proxies, such as 10.0.0.0/8, separated by commas; {text!r} is none"
            ) from None
    return tuple(networks)


def _destinations(values: tuple[str, ...]) -> tuple[str, ...]:
    for text in values:
        try:
            split_destination(text)
        except ValueError as exc:
            raise ValueError(
                f"hosts or networks, such as media.example.com, 10.0.0.0/8:8080 or [fd00::/8]:443, separated by "
                f"commas; {exc}"
            ) from None
    return values


def _long_enough(text: str) -> str:
    if text and any(len(part.strip()) < MIN_SECRET_CHARS for part in text.split(",")):
        raise ValueError(
            f"at least {MIN_SECRET_CHARS} characters that nobody can guess, such as those of 'openssl rand -hex 32'; "
            "a comma separates them from older secrets"
        )
    return text


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,16}", text):
        raise ValueError("1 to 16 letters, digits, '-' or '_'")
    return text


def synonyms(**words: str) -> BeforeValidator:
    """Other words, in any case, for some of a choice."""

    def replaced(value: Any) -> Any:
        return words.get(value.lower(), value) if isinstance(value, str) else value

    return BeforeValidator(replaced)


Positive = Annotated[int, Field(gt=0), Rule("a whole number above 0")]
NonNegative = Annotated[int, Field(ge=0), Rule("a whole number, 0 or above")]
Limit = Annotated[int, Rule("a whole number; 0 switches the limit off")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), Rule("a number of seconds above 0")]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False), Rule("a number of seconds, 0 or above")]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False), Rule("an amount in US dollars, 0 or above")]
Ratio = Annotated[float, Field(ge=0, le=1), Rule("a number from 0 to 1")]
Days = Annotated[int, Field(ge=0), Rule("a whole number of days; 0 keeps everything")]
Port = Annotated[Annotated[int, Field(ge=1, le=65535)] | None, Rule("a port from 1 to 65535")]

Bind = Annotated[str, AfterValidator(_checked_bind)]
WebAddress = Annotated[str, AfterValidator(_url("http", "https"))]
Origin = Annotated[WebAddress, AfterValidator(_without_slash)]
Items = Annotated[tuple[str, ...], BeforeValidator(_items), Rule("a list, separated by commas")]
Networks = Annotated[Items, AfterValidator(_networks)]
Destinations = Annotated[Items, AfterValidator(_destinations)]
TokenPrefix = Annotated[str, AfterValidator(_prefix)]

Secret = Annotated[str, Field(repr=False), Masked(hide)]
SecretKey = Annotated[Secret, AfterValidator(_long_enough)]
SecretAddress = Annotated[str, Field(repr=False), Masked(hide_credentials)]
"""An address that may hold a password."""
Proxy = Annotated[SecretAddress, AfterValidator(_url("http", "https", "socks5"))]
Webhook = Annotated[Secret, AfterValidator(_url("http", "https"))]
"""An address whose path is a credential."""
