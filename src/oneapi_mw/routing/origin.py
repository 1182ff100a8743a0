"""Where what a request continues was made."""

from __future__ import annotations

from oneapi_mw.scope import ScopeKey

ORIGIN: ScopeKey[int] = ScopeKey("oneapi_mw.origin")
"""Id of the channel that made what the request continues. Not written when it continues nothing."""
