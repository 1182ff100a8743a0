"""The settings a command works with: those of the environment."""

from __future__ import annotations

from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.settings import Settings, SettingsError
from oneapi_mw.store.dsn import parse_dsn


def read_settings() -> Settings:
    """The settings of the environment. Raises `CommandFailed` naming every setting that cannot be used."""
    try:
        settings = Settings.from_environment()
        parse_dsn(settings.sql_dsn, sqlite_path=settings.sqlite_path)
    except SettingsError as exc:
        raise CommandFailed("; ".join(map(str, exc.problems))) from exc
    except ValueError as exc:
        raise CommandFailed(str(exc)) from exc
    return settings
