"""Logging of the standalone server. A mounted gateway leaves logging to its host."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"


def set_up(level: str, *, access_log: bool) -> None:
    """Send log lines of `level` and above to stderr, and one line a request when asked for."""
    logging.basicConfig(level=level.upper(), format=_FORMAT, stream=sys.stderr, force=True)
    logging.getLogger("oneapi_mw.access").setLevel("INFO" if access_log else "WARNING")
    # libraries tell their daily business at INFO: connections, migrations, that they listen
    for name in ("hypercorn", "alembic", "sqlalchemy", "httpx", "asyncio", "aiosqlite"):
        logging.getLogger(name).setLevel("WARNING")


def show_warnings(warnings: Iterable[str]) -> None:
    """Log what was odd about the settings."""
    for warning in warnings:
        logging.getLogger("oneapi_mw.settings").warning("%s", warning)
