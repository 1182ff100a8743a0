"""`Settings`: all sections in one frozen object."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, PrivateAttr, ValidationError

from oneapi_mw.settings.accounts import AccountSettings
from oneapi_mw.settings.environment import EnvironmentSource
from oneapi_mw.settings.kinds import split_bind
from oneapi_mw.settings.limits import BillingSettings, RateLimitSettings
from oneapi_mw.settings.names import env_name
from oneapi_mw.settings.problems import SettingsError, problems_of
from oneapi_mw.settings.relay import (
    ChannelSettings,
    ConversionSettings,
    ProviderSettings,
    RelaySettings,
    ResponseStateSettings,
)
from oneapi_mw.settings.server import IdentitySettings, LogSettings, ObservationSettings, ServerSettings
from oneapi_mw.settings.storage import DatabaseSettings, RedisSettings

DEFAULT_PORT = 3000
PLACEHOLDER_SECRET = "random_string"  # noqa: S105 -- what is refused, not what is used
MIN_TOKEN_CHARS = 22
"""What 128 random bits take in base64."""


class Settings(
    AccountSettings,  # pydantic puts the fields of the last base first
    ResponseStateSettings,
    ConversionSettings,
    ProviderSettings,
    ChannelSettings,
    RelaySettings,
    BillingSettings,
    RateLimitSettings,
    RedisSettings,
    DatabaseSettings,
    ObservationSettings,
    LogSettings,
    IdentitySettings,
    ServerSettings,
):
    """Everything an operator can set. Made in code it reads nothing; `from_environment` does.

    A field is named as its environment variable in lower case, except `secret_key` (`ONEAPI_SECRET_KEY`).
    `repr` shows no secrets.

    Raises: `SettingsError`, with every value that cannot be used.
    """

    _read_with_warnings: tuple[str, ...] = PrivateAttr(default=())

    if not TYPE_CHECKING:  # type checkers know the fields as arguments

        def __init__(self, **values: Any) -> None:
            try:
                BaseModel.__init__(self, **values)  # not that of BaseSettings, which looks into the environment
            except ValidationError as exc:
                raise SettingsError(problems_of(type(self), exc)) from None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Self:
        """The settings of a process.

        Args:
            environ: by default the environment of this process, as it is now.
            env_file: what `environ` does not have is taken from there, if there is such a file.

        Raises: `SettingsError`.
        """
        source = EnvironmentSource(cls, os.environ if environ is None else environ, env_file)
        problems = list(source.problems)
        try:
            settings = cls(**source())
        except SettingsError as exc:
            problems += [replace(each, name=source.written.get(each.name, each.name)) for each in exc.problems]
        if problems:
            raise SettingsError(problems)
        settings._read_with_warnings = tuple(source.warnings)
        return settings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know about these settings, one sentence each, to be logged at start."""
        return (*self._read_with_warnings, *self._doubts())

    def price_policy(self) -> Literal["reject", "default_price", "reference"]:
        """What becomes of requests for a model without a price."""
        return self.unknown_model_policy

    def secret(self) -> str | None:
        """The key that seals other keys, or `None` when it is kept in a file."""
        return self.secret_key or None

    def listening(self, *, port: int | None = None) -> str:
        """Where `oneapi-mw serve` listens: `host:port` or `unix:/path`.

        Args:
            port: of the command line, for when neither PORT nor BIND has one.
        """
        host, bound = split_bind(self.bind)
        if host.startswith("unix:"):
            return host
        chosen = next(each for each in (self.port, bound, port, DEFAULT_PORT) if each is not None)
        return f"[{host}]:{chosen}" if ":" in host else f"{host}:{chosen}"

    def listens_on_loopback(self) -> bool:
        """Whether only this machine can connect to `listening`."""
        host = split_bind(self.bind)[0]
        if host.startswith("unix:") or host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def _doubts(self) -> Iterator[str]:
        if self.session_secret == PLACEHOLDER_SECRET:
            yield (
                "SESSION_SECRET is the placeholder of the manual, with which anybody can sign in as anybody: write "
                "32 random characters"
            )
        for field in ("initial_root_token", "initial_root_access_token"):
            if 0 < len(getattr(self, field)) < MIN_TOKEN_CHARS:
                yield f"{env_name(field)} can be guessed: write at least {MIN_TOKEN_CHARS} random characters"
        if not self.listens_on_loopback() and not self.trusted_proxies:
            yield (
                "BIND lets other machines connect without TLS, so keys and passwords can be read on the way: put a "
                "proxy with TLS in front and name its network in TRUSTED_PROXIES"
            )
        if self.redis_conn_string and not self.sync_frequency:
            yield "REDIS_CONN_STRING is not used because SYNC_FREQUENCY is 0"
        if self.batch_update_enabled:
            yield "BATCH_UPDATE_ENABLED has no effect: balances are written at once, many requests in one transaction"
