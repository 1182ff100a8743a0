"""The hold of a request, as the billing stages share it."""

from __future__ import annotations

from collections.abc import Callable
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


class RunningCosts:
    """What the requests of a process have cost by now, to be noted with their leases: when the process dies, that much
    is charged."""

    def __init__(self) -> None:
        self._costs: dict[str, Callable[[], Quota]] = {}
        self._noted: dict[str, Quota] = {}

    def watch(self, key: str, cost: Callable[[], Quota]) -> None:
        """Ask `cost` from now on; 0 for a request that has brought nothing yet."""
        self._costs[key] = cost

    def forget(self, key: str) -> None:
        """The request of that hold has ended."""
        self._costs.pop(key, None)
        self._noted.pop(key, None)

    def marks(self) -> dict[str, Quota]:
        """By key of the hold, for those that cost more than when they were last noted."""
        now = {key: cost() for key, cost in self._costs.items()}
        return {key: cost for key, cost in now.items() if cost > self._noted.get(key, 0)}

    def note(self, marks: dict[str, Quota]) -> None:
        """`marks` are kept: they need not be told again."""
        self._noted.update((key, mark) for key, mark in marks.items() if key in self._costs)
