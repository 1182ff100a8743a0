"""Slowing down whoever guesses passwords or codes."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

FREE_FAILURES = 5
FREE_FAILURES_OF_ADDRESS = 20
FIRST_DELAY = 4.0
LONGEST_DELAY = 900.0
"""Seconds. A delay and never a lock: nobody can shut an owner out for good."""
MAX_TRACKED = 20_000


@dataclass(slots=True)
class _Failures:
    count: int = 0
    blocked_until: float = 0.0
    seen: float = 0.0


class LoginThrottle:
    """Failed logins per account and address, and per address over all accounts.

    An attempt counts as failed from `begin` until `succeeded` takes it back, so that a hundred guesses at once
    are no more than five. Attempts refused during a delay neither lengthen it nor take up room, so that nobody
    can push other people's failures out by guessing at invented names.

    Args:
        clock: seconds; only differences matter.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    def begin(self, account: str, address: str) -> float:
        """Count an attempt. Returns: seconds to wait when it must not be made, else 0."""
        now = self._clock()
        watched = _keys(account, address)
        wait = max(entry.blocked_until - now if (entry := self._failures.get(key)) else 0.0 for key, _ in watched)
        if wait > 0:
            return wait
        for key, free in watched:
            entry = self._entry(key, now)
            entry.count += 1
            entry.seen = now
            if entry.count >= free:
                entry.blocked_until = now + min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(entry.count - free, 16))
        return 0.0

    def succeeded(self, account: str, address: str) -> None:
        """The password was right: forget the account's failures here, and this attempt at the address."""
        (pair, _), (whole, free) = _keys(account, address)
        self._failures.pop(pair, None)
        entry = self._failures.get(whole)
        if entry is not None:
            entry.count = max(0, entry.count - 1)
            if entry.count < free:
                entry.blocked_until = 0.0

    def _entry(self, key: tuple[str, ...], now: float) -> _Failures:
        entry = self._failures.get(key)
        if entry is None or now - entry.seen > LONGEST_DELAY:
            entry = self._failures[key] = _Failures()
        self._failures.move_to_end(key)
        if len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)
        return entry


class FailureLimit:
    """So many failures of one kind in so many seconds, for each key.

    An attempt counts as failed from `begin` until `succeeded` takes it back, as with logins.

    Args:
        most: 0 or less for no limit.
        clock: seconds; only differences matter.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, key: str) -> float:
        """Count an attempt. Returns: seconds to wait when it must not be made, else 0."""
        if self._most <= 0:
            return 0.0
        now = self._clock()
        times = self._failures.setdefault(key, deque())
        self._failures.move_to_end(key)
        while times and times[0] <= now - self._seconds:
            times.popleft()
        if len(times) >= self._most:
            return times[0] + self._seconds - now
        times.append(now)
        if len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)
        return 0.0

    def succeeded(self, key: str) -> None:
        """It was no failure: take the last attempt back."""
        times = self._failures.get(key)
        if times:
            times.pop()


def _keys(account: str, address: str) -> tuple[tuple[tuple[str, ...], int], tuple[tuple[str, ...], int]]:
    network = _network(address)
    return ((account.casefold()[:64], network), FREE_FAILURES), ((network,), FREE_FAILURES_OF_ADDRESS)


def _network(address: str) -> str:
    """What one guesser commands: an IPv4 address, but the whole /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
