"""The invariants of the books, as queries that return only what breaks them.

Plain SQL that SQLite, PostgreSQL, MySQL and MariaDB read alike; `h.key` needs no quotes because a word after a
period is a name everywhere. Run all of them in one snapshot: between two transactions of the ledger every
invariant holds, between two statements of ours it need not.
"""

# ruff: noqa: S608 -- what is put into the queries are other queries
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import CONSUMED, EXTERNAL, EXTERNAL_USE, LEASE_SECONDS, Finding
from oneapi_mw.ledger.corrections import KIND, OF_TOKEN, OF_USER
from oneapi_mw.ledger.operation import OPEN, SETTLED

_CHARGES = f"""
    SELECT l.id, l.user_id, l.token_id, l.request_id, l.quota
    FROM logs l LEFT JOIN billing_holds h ON h.key = l.request_id
    WHERE l.type = {CONSUMED} OR (l.type = {EXTERNAL_USE} AND h.kind = '{EXTERNAL}')
"""
"""Log rows that charge. Other rows of the second type tell what a charge consists of."""

_BOTH_SIDES = f"""(
            SELECT h.key AS hold_key, 1 AS holds, h.final AS final, 0 AS log_rows, 0 AS quota
            FROM billing_holds h WHERE h.state = :settled
            UNION ALL
            SELECT l.request_id, 0, 0, 1, l.quota FROM ({_CHARGES}) l)"""
"""Settled holds and the log rows that charge, to be put together by key: log rows are not indexed by it."""


def _corrections(prefix: str) -> str:
    """Entries that correct holds: one at most of each prefix, because keys are unique."""
    key_at = len(prefix) + 1
    return f"""(
            SELECT e.*, SUBSTR(e.key, {key_at}) AS hold_key FROM billing_entries e
            WHERE SUBSTR(e.key, 1, {len(prefix)}) = '{prefix}')"""


@immutable
class Check:
    """`sql` returns (id, expected, actual); `subject` and `detail` say what these are.

    Its parameters are `:open`, `:settled` (numbers of the table) and `:now_ms`.
    """

    invariant: str
    subject: str
    detail: str
    sql: str

    def values(self, now_ms: int) -> dict[str, int]:
        """The parameters this check uses."""
        all_values = {"open": OPEN, "settled": SETTLED, "now_ms": now_ms}
        return {name: value for name, value in all_values.items() if f":{name}" in self.sql}

    def findings(self, rows: Iterable[Sequence[Any]]) -> list[Finding]:
        return [
            Finding(self.invariant, f"{self.subject} {row[0]}", self.detail.format(expected=row[1], actual=row[2]))
            for row in rows
        ]


CHECKS = (
    Check(
        "I-1",
        "user",
        "credits are {expected}, but quota, used quota and open holds make {actual}",
        """
        SELECT u.id, COALESCE(e.total, 0), u.quota + u.used_quota + COALESCE(h.total, 0)
        FROM users u
        LEFT JOIN (SELECT user_id, SUM(amount) AS total FROM billing_entries WHERE token_id IS NULL
            GROUP BY user_id) e ON e.user_id = u.id
        LEFT JOIN (SELECT user_id, SUM(amount) AS total FROM billing_holds WHERE state = :open
            GROUP BY user_id) h ON h.user_id = u.id
        WHERE COALESCE(e.total, 0) <> u.quota + u.used_quota + COALESCE(h.total, 0)
        """,
    ),
    Check(
        "I-1",
        "user",
        "open holds are {expected}, but {actual} is counted as held",
        """
        SELECT u.id, COALESCE(h.total, 0), u.held
        FROM users u
        LEFT JOIN (SELECT user_id, SUM(amount) AS total FROM billing_holds WHERE state = :open
            GROUP BY user_id) h ON h.user_id = u.id
        WHERE u.held <> COALESCE(h.total, 0)
        """,
    ),
    Check(
        "I-1",
        "token",
        "credits are {expected}, but what remains, what was charged and open holds make {actual}",
        """
        SELECT t.id, COALESCE(e.total, 0), t.remain_quota + COALESCE(h.total, 0)
        FROM tokens t
        LEFT JOIN (SELECT token_id, SUM(amount) AS total FROM billing_entries WHERE token_id IS NOT NULL
            GROUP BY token_id) e ON e.token_id = t.id
        LEFT JOIN (SELECT token_id, SUM(CASE state WHEN :open THEN amount WHEN :settled THEN final ELSE 0 END)
            AS total FROM billing_holds WHERE token_limited GROUP BY token_id) h ON h.token_id = t.id
        WHERE NOT t.unlimited_quota AND COALESCE(e.total, 0) <> t.remain_quota + COALESCE(h.total, 0)
        """,
    ),
    Check(
        "I-2",
        "user",
        "log rows make {expected}, but the used quota is {actual}",
        f"""
        SELECT u.id, COALESCE(l.total, 0), u.used_quota
        FROM users u
        LEFT JOIN (SELECT user_id, SUM(quota) AS total FROM ({_CHARGES}) c
            GROUP BY user_id) l ON l.user_id = u.id
        WHERE u.used_quota <> COALESCE(l.total, 0)
        """,
    ),
    Check(
        "I-2",
        "token",
        "log rows make {expected}, but the used quota is {actual}",
        f"""
        SELECT t.id, COALESCE(l.total, 0), t.used_quota
        FROM tokens t
        LEFT JOIN (SELECT token_id, SUM(quota) AS total FROM ({_CHARGES}) c
            GROUP BY token_id) l ON l.token_id = t.id
        WHERE t.used_quota <> COALESCE(l.total, 0)
        """,
    ),
    Check(
        "I-2",
        "user",
        "{expected} holds were settled, but {actual} requests are counted",
        """
        SELECT u.id, COALESCE(h.total, 0), u.request_count
        FROM users u
        LEFT JOIN (SELECT user_id, COUNT(*) AS total FROM billing_holds WHERE state = :settled
            GROUP BY user_id) h ON h.user_id = u.id
        WHERE u.request_count <> COALESCE(h.total, 0)
        """,
    ),
    Check(
        "I-2",
        "channel",
        "settled holds make {expected}, but used quota and outbox make {actual}",
        """
        SELECT c.id, COALESCE(h.total, 0), c.used_quota + COALESCE(o.total, 0)
        FROM channels c
        LEFT JOIN (SELECT channel_id, SUM(final) AS total FROM billing_holds WHERE state = :settled
            GROUP BY channel_id) h ON h.channel_id = c.id
        LEFT JOIN (SELECT channel_id, SUM(quota) AS total FROM billing_outbox
            GROUP BY channel_id) o ON o.channel_id = c.id
        WHERE c.used_quota + COALESCE(o.total, 0) <> COALESCE(h.total, 0)
        """,
    ),
    Check(
        "I-4",
        "user",
        "charges above their holds and debits explain {expected} below zero, but it is {actual}",
        """
        SELECT u.id, COALESCE(o.total, 0) - COALESCE(e.total, 0), -u.quota
        FROM users u
        LEFT JOIN (SELECT user_id, SUM(final - amount) AS total FROM billing_holds
            WHERE state = :settled AND final > amount GROUP BY user_id) o ON o.user_id = u.id
        LEFT JOIN (SELECT user_id, SUM(amount) AS total FROM billing_entries
            WHERE token_id IS NULL AND amount < 0 GROUP BY user_id) e ON e.user_id = u.id
        WHERE u.quota < 0 AND -u.quota > COALESCE(o.total, 0) - COALESCE(e.total, 0)
        """,
    ),
    Check(
        "I-5",
        "hold",
        "settled once, but it has {actual} log rows",
        f"""
        SELECT hold_key, 1, SUM(log_rows) FROM {_BOTH_SIDES} s
        GROUP BY hold_key HAVING SUM(holds) = 1 AND SUM(log_rows) <> 1
        """,
    ),
    Check(
        "I-9",
        "hold",
        "settled at {expected}, but its log row says {actual}",
        f"""
        SELECT hold_key, SUM(final), SUM(quota) FROM {_BOTH_SIDES} s
        GROUP BY hold_key HAVING SUM(holds) = 1 AND SUM(log_rows) = 1 AND SUM(final) <> SUM(quota)
        """,
    ),
    Check(
        "I-17",
        "hold",
        "external, but {actual} transactions say what for",
        f"""
        SELECT h.key, 1, COUNT(t.id) FROM billing_holds h LEFT JOIN token_transactions t ON t.hold_key = h.key
        WHERE h.kind = '{EXTERNAL}' GROUP BY h.key HAVING COUNT(t.id) <> 1
        """,
    ),
    Check(
        "I-18",
        "entry",
        "corrects an estimate of {expected} by {actual}, which it cannot: it was none, or less",
        f"""
        SELECT u.key, COALESCE(h.final, 0), u.amount
        FROM {_corrections(OF_USER)} u LEFT JOIN billing_holds h ON h.key = u.hold_key
        WHERE h.key IS NULL OR NOT h.estimated OR h.state = :open OR h.kind = '{EXTERNAL}' OR u.amount > h.final
            OR u.user_id <> h.user_id OR u.token_id IS NOT NULL OR u.kind <> '{KIND}'
        """,
    ),
    Check(
        "I-18",
        "hold",
        "its correction is {expected} for its API key, but {actual} was booked",
        f"""
        SELECT h.key, CASE WHEN h.token_limited THEN COALESCE(u.amount, 0) ELSE 0 END, COALESCE(t.amount, 0)
        FROM billing_holds h
        LEFT JOIN {_corrections(OF_USER)} u ON u.hold_key = h.key
        LEFT JOIN {_corrections(OF_TOKEN)} t ON t.hold_key = h.key
        WHERE CASE WHEN h.token_limited THEN COALESCE(u.amount, 0) ELSE 0 END <> COALESCE(t.amount, 0)
            OR t.token_id <> h.token_id OR t.kind <> '{KIND}'
        """,
    ),
    Check(
        "I-6",
        "hold",
        "still open, though its lease ended {actual} ms ago",
        f"""
        SELECT h.key, h.lease_until, :now_ms - h.lease_until FROM billing_holds h
        WHERE h.state = :open AND h.lease_until < :now_ms - {LEASE_SECONDS * 1000}
        """,
    ),
)


@immutable
class Explanation:
    """What a deviation means for whoever pays or is paid, and what to do about it."""

    means: str
    advice: str


_ENTRY = "correct it with an entry, which leaves a trace, and not by changing the balance"

EXPLANATIONS = {
    "I-1 user": Explanation(
        "quota was made or lost: something else than the ledger changed the balance, its holds or its entries",
        f"find who writes to users.quota, users.held or billing_entries; 'oneapi-mw user quota NAME --add N': {_ENTRY}",
    ),
    "I-1 token": Explanation(
        "the API key may spend more or less than it was given: something else than the ledger changed what remains",
        "find who writes to tokens.remain_quota or billing_entries, then set the key's quota again",
    ),
    "I-2 user": Explanation(
        "the user's totals differ from what was charged: rows of logs were changed, or the counters were",
        "if old log rows were deleted on purpose nobody lost anything; else restore logs from a backup",
    ),
    "I-2 token": Explanation(
        "the API key's total differs from what was charged: rows of logs were changed, or the counter was",
        "if old log rows were deleted on purpose nobody lost anything; else restore logs from a backup",
    ),
    "I-2 channel": Explanation(
        "the channel's total differs from what was charged for it; balances are not concerned",
        "if its total was set by hand this is expected; it has no effect on what anybody pays",
    ),
    "I-4 user": Explanation(
        "the balance is further below zero than charges above their holds explain: something was spent unheld",
        f"find who writes to users.quota; {_ENTRY}",
    ),
    "I-5 hold": Explanation(
        "the request was charged once, but the user sees it in the log never or several times",
        "if old log rows were deleted on purpose nobody lost anything; else restore logs from a backup",
    ),
    "I-6 hold": Explanation(
        "quota is still set aside for a request that nobody serves any more",
        "start a gateway: it sweeps within two minutes; while one runs, look for 'sweep failed' in its log",
    ),
    "I-9 hold": Explanation(
        "the user is shown another amount than was charged",
        "the hold is right: set the quota of the row of its request to the hold's final",
    ),
    "I-18 entry": Explanation(
        "quota was given or taken as if an estimate had been wrong, and there is no estimate that explains it",
        f"find who writes to billing_entries; {_ENTRY}",
    ),
    "I-18 hold": Explanation(
        "a request turned out to cost more or less than estimated, and its user was told but its API key was not",
        "set the key's quota to what should remain",
    ),
    "I-17 hold": Explanation(
        "a service has booked consumption and what for is not recorded",
        "restore token_transactions from a backup",
    ),
}
"""By invariant and subject."""


def explain(check: Check) -> Explanation:
    return EXPLANATIONS[f"{check.invariant} {check.subject}"]
