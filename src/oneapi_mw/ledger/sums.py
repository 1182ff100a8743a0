"""What a batch does to balances, added up per account: pure rules for backends that sum in the client."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from oneapi_mw.ledger.base import Denied, Held
from oneapi_mw.ledger.operation import Ending, Extension
from oneapi_mw.types import Quota

AccountRow: TypeAlias = tuple[int, int, Quota, bool, Quota]
"""token id, user id, `users.quota`, whether the token is limited, `tokens.remain_quota`: usable accounts only."""

HoldRow: TypeAlias = tuple[str, int, int, bool, Quota]
"""key, user id, token id, whether the token was limited, amount: open holds only."""


class Admission:
    """Decides, in order of arrival, who still fits into balances that were read under lock.

    `from_users` and `from_tokens` are what was admitted, per id.
    """

    def __init__(self, rows: Iterable[AccountRow]) -> None:
        self._quota: dict[int, Quota] = {}
        self._tokens: dict[int, tuple[int, bool]] = {}
        self._remain: dict[int, Quota] = {}
        self.from_users: dict[int, Quota] = {}
        self.from_tokens: dict[int, Quota] = {}
        for token_id, user_id, quota, limited, remain in rows:
            self._quota[user_id] = quota
            self._tokens[token_id] = (user_id, bool(limited))
            self._remain[token_id] = remain

    def limited(self, token_id: int) -> bool:
        """Whether the token has a quota of its own. Only for tokens that are usable."""
        return self._tokens[token_id][1]

    def take(self, user_id: int, token_id: int, amount: Quota, *, limited: bool | None = None) -> Denied | None:
        """Take `amount` from the user and, when it is limited, the token; `None` when both could pay.

        `limited` overrides what the token says now: a hold keeps the answer it was reserved with.
        """
        owner, token_limited = self._tokens.get(token_id, (None, False))
        if owner != user_id:
            return Denied("state")
        if limited is None:
            limited = token_limited
        quota = self._quota[user_id]
        if quota < amount:
            return Denied("user_quota", quota)
        if limited:
            remain = self._remain[token_id]
            if remain < amount:
                return Denied("token_quota", remain)
            self._remain[token_id] = remain - amount
            self.from_tokens[token_id] = self.from_tokens.get(token_id, 0) + amount
        self._quota[user_id] = quota - amount
        self.from_users[user_id] = self.from_users.get(user_id, 0) + amount
        return None


def extend_holds(
    extensions: Sequence[Extension], holds: Iterable[HoldRow], admission: Admission
) -> list[tuple[str, Quota, Quota]]:
    """Answer `extensions`; returns (key, what to add, mark) for their holds.

    What is owed is noted even when there is nothing left to set aside. Noting alone needs no balance.
    """
    by_key = {hold[0]: hold for hold in holds}
    changes = []
    for extension in extensions:
        key, by = extension.key, extension.by
        if key not in by_key:
            extension.answer = Denied("state")
            continue
        _, user_id, token_id, limited, amount = by_key[key]
        denied = admission.take(user_id, token_id, by, limited=bool(limited)) if by else None
        extension.answer = denied or Held(key, amount + by)
        changes.append((key, 0 if denied else by, extension.mark))
    return changes


class Endings:
    """What ended holds give back and charge.

    `users`: id to [returned, charged, requests, no longer held]; `tokens`: id to [returned, charged, settlements];
    `channels`: id to charged.
    """

    def __init__(self) -> None:
        self.users: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self.tokens: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.channels: dict[int, Quota] = defaultdict(int)

    def add(self, ending: Ending, user_id: int, token_id: int, *, limited: bool, amount: Quota, final: Quota) -> None:
        facts = ending.facts
        settled = 0 if facts is None else 1
        user, token = self.users[user_id], self.tokens[token_id]
        user[0] += amount - final
        user[1] += final
        user[2] += settled
        user[3] += amount
        token[0] += amount - final if limited else 0
        token[1] += final
        token[2] += settled
        if final and facts is not None and facts.channel_id is not None:
            self.channels[facts.channel_id] += final

    @property
    def charged(self) -> dict[int, Quota]:
        """By user id."""
        return {user_id: sums[1] for user_id, sums in self.users.items()}
