"""Settings of the database and of Redis."""

from __future__ import annotations

import re

from pydantic import ValidationInfo, field_validator

from oneapi_mw.settings.kinds import Positive, Seconds, SecondsOrNone, Secret, SecretAddress
from oneapi_mw.settings.section import Section

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/@:,\[\]]+):[0-9]{1,5}")


class DatabaseSettings(Section):
    """Where everything is kept."""

    sql_dsn: SecretAddress = ""
    """Main database: PostgreSQL or MySQL as a URL or in One API's spellings. Empty is the SQLite file."""
    log_sql_dsn: SecretAddress = ""
    """Another database for the table of logs. Empty is the main one."""
    sqlite_path: str = "one-api.db"
    """SQLite file, relative to the working directory."""
    sqlite_busy_timeout: Positive = 10_000
    """Milliseconds to wait for another writer of the SQLite file."""
    sql_max_idle_conns: Positive = 200
    """Connections that are kept open when idle."""
    sql_max_open_conns: Positive = 2000
    """Connections that may be open at once."""
    sql_max_lifetime: Seconds = 300
    """Seconds after which a connection is replaced."""


class RedisSettings(Section):
    """Sharing between workers, and how fresh what they keep in memory is."""

    redis_master_name: str = ""
    """Name of the master that sentinels know; REDIS_CONN_STRING then lists the sentinels."""
    redis_conn_string: SecretAddress = ""
    """`redis://user:password@host:port/db`, `rediss://` for TLS, or `host:port`. Empty is no Redis."""
    redis_password: Secret = ""
    """Password of the master that sentinels know."""
    memory_cache_enabled: bool = False
    """Keep channels and options in memory; always so with Redis."""
    sync_frequency: SecondsOrNone = 120
    """Seconds between two readings of options and channels, and life of entries in Redis. 0 switches Redis off."""
    batch_update_enabled: bool = False
    """Without effect: balances are written at once, many requests in one transaction."""
    batch_update_interval: SecondsOrNone = 5
    """Without effect, like BATCH_UPDATE_ENABLED. Seconds."""
    batch_update_timeout: SecondsOrNone = 180
    """Without effect, like BATCH_UPDATE_ENABLED. Seconds."""

    @field_validator("redis_conn_string")
    @classmethod
    def _as_url(cls, text: str, info: ValidationInfo) -> str:
        if not text or re.match(r"(?:rediss?|unix)://.", text):
            return text
        if info.data.get("redis_master_name"):
            if not all(_HOST_PORT.fullmatch(part.strip()) for part in text.split(",")):
                raise ValueError("host:port of every sentinel, separated by commas, as REDIS_MASTER_NAME is set")
            return text
        if not _HOST_PORT.fullmatch(text):
            raise ValueError("redis://user:password@host:port/db, the same with rediss:// for TLS, or host:port")
        return f"redis://{text}"
