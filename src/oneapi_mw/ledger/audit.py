"""The invariants of the books, as queries that return only what breaks them.

Plain SQL that SQLite, PostgreSQL, MySQL and MariaDB read alike; `h.key` needs no quotes because a word after a
period is a name everywhere. Run all of them in one snapshot: between two transactions of the ledger every
invariant holds, between two statements of ours it need not.
"""

# ruff: noqa: S608 -- what is put into the queries are other queries
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from oneapi_mw.ledger.base import CONSUMED, EXTERNAL, EXTERNAL_USE, Finding
from oneapi_mw.ledger.operation import OPEN, SETTLED

_CHARGES = f"""
    SELECT l.id, l.user_id, l.token_id, l.request_id, l.quota
    FROM logs l LEFT JOIN billing_holds h ON h.key = l.request_id
    WHERE l.type = {CONSUMED} OR (l.type = {EXTERNAL_USE} AND h.kind = '{EXTERNAL}')
"""
"""Log rows that charge. Other rows of the second type tell what a charge consists of."""


@dataclass(frozen=True, slots=True)
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
        "I-5",
        "hold",
        "settled once, but it has {actual} log rows",
        f"""
        SELECT h.key, 1, COUNT(l.id)
        FROM billing_holds h LEFT JOIN ({_CHARGES}) l ON l.request_id = h.key
        WHERE h.state = :settled GROUP BY h.key HAVING COUNT(l.id) <> 1
        """,
    ),
    Check(
        "I-9",
        "hold",
        "settled at {expected}, but its log row says {actual}",
        f"""
        SELECT h.key, h.final, l.quota FROM billing_holds h
        JOIN ({_CHARGES}) l ON l.request_id = h.key
        WHERE h.state = :settled AND l.quota <> h.final
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
        "I-6",
        "hold",
        "still open, though its lease ended {actual} ms ago",
        """
        SELECT h.key, h.lease_until, :now_ms - h.lease_until FROM billing_holds h
        WHERE h.state = :open AND h.lease_until < :now_ms
        """,
    ),
)
