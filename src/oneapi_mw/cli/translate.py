"""What other layers raise about settings and database, as one line for the person at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.errors import GatewayError, StoreUnavailable
from oneapi_mw.resources import UnsafeConfiguration, UnusableSettings
from oneapi_mw.store.base import Conflict
from oneapi_mw.store.keyring import WrongKey
from oneapi_mw.store.schema import SchemaError


@contextmanager
def translated() -> Iterator[None]:
    """Raises `CommandFailed` for what a user can put right; faults of ours pass unchanged."""
    try:
        yield
    except StoreUnavailable as exc:
        raise CommandFailed(f"{exc}; SQL_DSN or SQLITE_PATH say where it should be") from exc
    except Conflict as exc:
        raise CommandFailed(f"this {exc} is taken already: choose another one") from exc
    except (UnsafeConfiguration, UnusableSettings, WrongKey, SchemaError, GatewayError) as exc:
        raise CommandFailed(str(exc)) from exc
    except RuntimeError as exc:
        if not isinstance(exc.__cause__, ModuleNotFoundError):
            raise
        raise CommandFailed(str(exc)) from exc  # a driver is missing; the message names the extra
