"""The hold of a request, as the billing stages share it."""

from __future__ import annotations

from dataclasses import dataclass

from oneapi_mw.scope import ScopeKey
from oneapi_mw.types import Quota


@dataclass(slots=True)
class Hold:
    """Quota set aside for one request. `closed` is set by whoever ends it."""

    key: str
    amount: Quota
    closed: bool = False


HOLD: ScopeKey[Hold] = ScopeKey("oneapi_mw.hold")
