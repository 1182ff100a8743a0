"""Names of settings in the environment: ours, One API's older ones, and those that mean nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oneapi_mw.immutable import immutable

_NAMED_APART: Final[Mapping[str, str]] = {"secret_key": "ONEAPI_SECRET_KEY"}
"""Fields whose bare name in capitals could belong to any other program."""


def env_name(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    return _NAMED_APART.get(field, field.upper())


@immutable
class Alias:
    """An older name of a setting, read when the newer one is not set."""

    newer: str
    inverted: bool = False
    """The older name says the opposite: `true` is `false` of the newer one."""


ALIASES: Final[Mapping[str, Alias]] = {
    "DISABLE_COOKIE_SECURE": Alias("ENABLE_COOKIE_SECURE", inverted=True),
    "SHUTDOWN_TIMEOUT_SEC": Alias("SHUTDOWN_TIMEOUT"),
    "TRACE_RENTATION_DAYS": Alias("TRACE_RETENTION_DAYS"),
}

IGNORED: Final[Mapping[str, str]] = {
    "CHANNEL_UPDATE_FREQUENCY": "has no effect: balances of channels are refreshed when an administrator asks for it",
}
"""Names that promise something nobody does any more, and what to tell who set them."""

ACCEPTED: Final = frozenset(
    {
        "API_BASE",
        "API_TOKEN",
        "COMPACT_UUID_ACTIVE_INTERVAL",
        "COMPACT_UUID_AUTO_MIGRATE",
        "COMPACT_UUID_BATCH_SIZE",
        "COMPACT_UUID_DDL_TIMEOUT",
        "COMPACT_UUID_IDLE_INTERVAL",
        "COMPACT_UUID_LOCK_TIMEOUT",
        "COMPACT_UUID_MAX_CYCLE_DURATION",
        "COMPACT_UUID_MAX_ROWS_PER_CYCLE",
        "COMPACT_UUID_RETRY_INTERVAL",
        "COMPACT_UUID_VALIDATION_TIMEOUT",
        "DATA_GYM_CACHE_DIR",
        "ENABLE_PPROF",
        "EXTERNAL_UUID_BACKFILL_ACTIVE_INTERVAL",
        "EXTERNAL_UUID_BACKFILL_ALLOW_BLOCKING_DDL",
        "EXTERNAL_UUID_BACKFILL_AUTO_FINALIZE",
        "EXTERNAL_UUID_BACKFILL_AUTO_FINALIZE_IDLE_PASSES",
        "EXTERNAL_UUID_BACKFILL_DDL_TIMEOUT",
        "EXTERNAL_UUID_BACKFILL_FINALIZER",
        "EXTERNAL_UUID_BACKFILL_IDLE_INTERVAL",
        "EXTERNAL_UUID_BACKFILL_LOCK_TIMEOUT",
        "EXTERNAL_UUID_BACKFILL_MAX_CYCLE_DURATION",
        "EXTERNAL_UUID_BACKFILL_MAX_ROWS_PER_CYCLE",
        "ONEAPI_TEST_MODELS",
        "ONEAPI_TEST_VARIANTS",
        "PPROF_LISTEN",
        "TIKTOKEN_CACHE_DIR",
    }
)
"""Names of One API that concern its own migrations, profiler and test programs: known, and without effect here."""
