"""The SQL of the ledger on SQLite: what one operation does is a trigger, so that a batch is one statement.

Python gives its interpreter lock up and takes it back for every step of a statement, and a busy event loop is waited
for each time. Rows put into the temporary views `reserving` and `ending` are carried out one after the other inside of
SQLite, in a single step however many they are. Who was admitted and what was charged is left in `answers`.

    INSERT INTO reserving --> billing_holds, and when that took a row: users, tokens, answers
    INSERT INTO ending -----> billing_holds, and when that changed one:  logs
                                   '-- a hold left the open state: users, tokens, answers
                                                                     '-- a user fell below the threshold: billing_events

`changes()` is the count of the statement before it in the same trigger. Rows without a key are padding.
"""

# ruff: noqa: S608 -- what is put into the statements are constants
from __future__ import annotations

from functools import lru_cache

from oneapi_mw.ledger import clock
from oneapi_mw.ledger.operation import AS_HELD, OPEN, SETTLED, VOID
from oneapi_mw.ledger.rows import ENDED_COLUMNS, EVENT_COLUMNS, FACT_COLUMNS, HOLD_COLUMNS, NOTE_COLUMNS, REMIND
from oneapi_mw.types import Quota

RESERVING = (*HOLD_COLUMNS, "worker", "created_at", "lease")
"""Columns of `reserving`; `lease` is milliseconds from now."""
ENDING = ("key", "state", "final", "uuid", "now_ms", *FACT_COLUMNS)
"""Columns of `ending`."""


def _nulls(columns: tuple[str, ...]) -> str:
    return ", ".join(f"NULL AS {column}" for column in columns)


def _new(columns: tuple[str, ...]) -> str:
    return ", ".join(f"NEW.{column}" for column in columns)


def _exact(table: str, balance: str) -> str:
    """Refuse sums past 64 bits, which SQLite would go on with as floating point numbers."""
    return f"""
CREATE TEMP TRIGGER exact_{table} AFTER UPDATE OF used_quota ON {table}
WHEN typeof(NEW.used_quota) <> 'integer' OR typeof(NEW.{balance}) <> 'integer' BEGIN
    SELECT RAISE(ABORT, 'a counter of {table} would leave the range of 64 bits');
END;
"""


SET_UP = f"""
CREATE TEMP TABLE answers (key TEXT, final INTEGER);
CREATE TEMP VIEW reserving AS SELECT {_nulls(RESERVING)};
CREATE TEMP VIEW ending AS SELECT {_nulls(ENDING)};

CREATE TEMP TRIGGER reserve INSTEAD OF INSERT ON reserving WHEN NEW.key IS NOT NULL BEGIN
    INSERT INTO billing_holds ({", ".join(HOLD_COLUMNS)}, token_limited, worker, created_at, lease_until, mark, state,
        estimated)
    SELECT {_new(HOLD_COLUMNS)}, NOT t.unlimited_quota, NEW.worker, NEW.created_at, {clock.SQLITE} + NEW.lease, -1,
        {OPEN}, 0
    FROM tokens t JOIN users u ON u.id = t.user_id
    WHERE t.id = NEW.token_id AND u.id = NEW.user_id AND u.status = 1 AND t.status = 1 AND NOT t.deleted
        AND u.quota >= NEW.amount AND (t.unlimited_quota OR t.remain_quota >= NEW.amount)
        AND NOT EXISTS (SELECT 1 FROM billing_holds WHERE key = NEW.key);
    INSERT INTO answers SELECT NEW.key, NULL WHERE changes();
    UPDATE users SET quota = quota - NEW.amount, held = held + NEW.amount WHERE id = NEW.user_id AND changes();
    UPDATE tokens SET remain_quota = remain_quota - NEW.amount
        WHERE id = NEW.token_id AND NOT unlimited_quota AND changes();
END;

CREATE TEMP TRIGGER settle INSTEAD OF INSERT ON ending WHEN NEW.key IS NOT NULL BEGIN
    UPDATE billing_holds SET state = NEW.state, channel_id = NEW.channel_id, estimated = NEW.final < 0,
        ended_at = NEW.now_ms, final = CASE WHEN NEW.final >= 0 THEN NEW.final WHEN NEW.state = {VOID} THEN 0
            WHEN NEW.final = {AS_HELD} AND mark < 0 THEN amount ELSE max(mark, fallback) END,
        facts = CASE WHEN NEW.state = {SETTLED} THEN NULL ELSE facts END
    WHERE key = NEW.key AND state = {OPEN}
        AND (NEW.final >= 0 OR (lease_until <= {clock.SQLITE} AND (NEW.state = {SETTLED} OR mark < 0)));
    INSERT INTO logs (uuid, request_id, user_id, token_id, quota, created_at, updated_at, system_prompt_reset,
        {", ".join(FACT_COLUMNS)})
    SELECT NEW.uuid, NEW.key, user_id, token_id, final, NEW.now_ms / 1000, NEW.now_ms, 0, {_new(FACT_COLUMNS)}
    FROM billing_holds WHERE key = NEW.key AND NEW.state = {SETTLED} AND changes();
END;

CREATE TEMP TRIGGER move AFTER UPDATE OF state ON billing_holds WHEN OLD.state = {OPEN} AND NEW.state <> {OPEN} BEGIN
    UPDATE users SET quota = quota + NEW.amount - NEW.final, used_quota = used_quota + NEW.final,
        request_count = request_count + (NEW.state = {SETTLED}), held = held - NEW.amount
    WHERE id = NEW.user_id;
    UPDATE tokens SET remain_quota = remain_quota + (NEW.amount - NEW.final) * NEW.token_limited,
        used_quota = used_quota + NEW.final,
        accessed_time = CASE WHEN NEW.state = {SETTLED} THEN max(accessed_time, NEW.ended_at / 1000)
            ELSE accessed_time END
    WHERE id = NEW.token_id;
    INSERT INTO answers VALUES (NEW.key, NEW.final);
END;
{_exact("users", "quota")}
{_exact("tokens", "remain_quota")}
"""
"""Of one connection, and gone with it."""


def reminder(threshold: Quota) -> tuple[str, ...]:
    """Statements after which an event is written whenever what a user has not spent falls below `threshold`."""
    return (
        "DROP TRIGGER IF EXISTS remind",
        f"""
CREATE TEMP TRIGGER remind AFTER UPDATE OF used_quota ON users
WHEN NEW.used_quota > OLD.used_quota AND NEW.quota + NEW.held < {threshold} AND OLD.quota + OLD.held >= {threshold}
BEGIN
    INSERT INTO billing_events ({", ".join(EVENT_COLUMNS)})
    VALUES ('{REMIND}', NEW.id, NEW.quota + NEW.held, {threshold}, {clock.SQLITE});
END
""",
    )


# One row, however many answers: each further row would be a further step.
TAKE_ANSWERS = "SELECT json_group_object(key, final) FROM answers"
CLEAR_ANSWERS = "DELETE FROM answers"

# {rows} is one parenthesis of parameters per row. Rows of a read, an update or a view may be padded with NULLs, which
# match nothing; those of an INSERT into a table may not. OR FAIL spares SQLite a copy of every page a statement
# touches, which it would need to undo that statement alone; we undo the whole transaction.

RESERVE = "INSERT OR FAIL INTO reserving VALUES {rows}"
END = "INSERT OR FAIL INTO ending VALUES {rows}"
INSERT_OUTBOX = "INSERT OR FAIL INTO billing_outbox (channel_id, quota) VALUES {rows}"
INSERT_NOTES = f"INSERT OR FAIL INTO token_transactions ({', '.join(NOTE_COLUMNS)}) VALUES {{rows}}"

ENDED_HOLDS = f"SELECT key, {ENDED_COLUMNS} FROM billing_holds WHERE key IN (VALUES {{rows}})"
KNOWN_HOLDS = "SELECT key, amount FROM billing_holds WHERE key IN (VALUES {rows})"
ACCOUNTS = """
SELECT t.id, u.id, u.quota, NOT t.unlimited_quota, t.remain_quota FROM tokens t JOIN users u ON u.id = t.user_id
WHERE t.id IN (VALUES {rows}) AND u.status = 1 AND t.status = 1 AND NOT t.deleted
"""

OPEN_HOLDS = """
SELECT key, user_id, token_id, token_limited, amount FROM billing_holds WHERE state = 0 AND key IN (VALUES {rows})
"""
EXTEND_HOLDS = """
WITH v(k, a, m) AS (VALUES {rows})
UPDATE OR FAIL billing_holds SET amount = amount + v.a, mark = max(mark, v.m) FROM v WHERE key = v.k
"""
DEBIT_USERS = """
WITH v(i, a) AS (VALUES {rows}) UPDATE OR FAIL users SET quota = quota - v.a, held = held + v.a FROM v WHERE id = v.i
"""
DEBIT_TOKENS = """
WITH v(i, a) AS (VALUES {rows}) UPDATE OR FAIL tokens SET remain_quota = remain_quota - v.a FROM v WHERE id = v.i
"""


@lru_cache(maxsize=512)
def with_rows(template: str, width: int, rows: int) -> str:
    """`template` for `rows` rows of `width` parameters."""
    row = f"({', '.join('?' * width)})"
    return template.format(rows=", ".join([row] * rows))
