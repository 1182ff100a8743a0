"""An LLM gateway as a stack of ASGI middlewares: one key and one bill for every AI provider.

    from oneapi_mw import Gateway, Settings

    app = Gateway(Settings(sqlite_path="gateway.db"))

`Gateway` and `Settings` are loaded when first used: importing the package, or one middleware, needs no
database and no HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oneapi_mw.app import Gateway
    from oneapi_mw.settings import Settings

__version__ = "0.1.0"
__all__ = ["Gateway", "Settings", "__version__"]

_HOMES = {"Gateway": "oneapi_mw.app", "Settings": "oneapi_mw.settings"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
