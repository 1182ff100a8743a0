"""Log rows in an SQL database. Settlements and credits write them; here they are only read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, or_

from oneapi_mw.store.dsn import Dialect
from oneapi_mw.store.engine import Database
from oneapi_mw.store.records import LogFilter, LogRecord, Page
from oneapi_mw.store.repositories.rows import LOGS, contains, read_page, stored_json
from oneapi_mw.store.search import LOG_SORTS, as_uuid, check_sort


class SqlLogs:
    """Implements `store.base.LogRepository`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, where: LogFilter, page: Page) -> tuple[list[LogRecord], int]:
        check_sort(page, LOG_SORTS)
        async with self._database.reading() as connection:
            rows, total = await read_page(connection, LOGS, _conditions(where, self._database.dialect), page)
        return [_record(row) for row in rows], total


def _conditions(where: LogFilter, dialect: Dialect) -> list[ColumnElement[bool]]:
    equal = {
        "type": where.type or None,
        "user_id": where.user_id,
        "token_id": where.token_id,
        "username": where.username or None,
        "token_name": where.token_name or None,
        "model_name": where.model_name or None,
        "channel_uuid": where.channel_uuid or None,
    }
    conditions = [LOGS.c[name] == value for name, value in equal.items() if value is not None]
    if where.start:
        conditions.append(LOGS.c.created_at >= where.start)
    if where.end:
        conditions.append(LOGS.c.created_at <= where.end)
    uuid = as_uuid(where.keyword)
    if uuid is not None:
        columns = (LOGS.c.uuid, LOGS.c.user_uuid, LOGS.c.token_uuid, LOGS.c.channel_uuid)
        conditions.append(or_(*(column == uuid for column in columns)))
    elif where.keyword:
        conditions.append(contains(dialect, LOGS.c.content, where.keyword))
    return conditions


def _record(row: Row[Any]) -> LogRecord:
    known = row._mapping
    metadata = stored_json(known["metadata"])
    return LogRecord(
        uuid=known["uuid"],
        user_id=known["user_id"],
        user_uuid=known["user_uuid"],
        token_id=known["token_id"],
        token_uuid=known["token_uuid"],
        channel_uuid=known["channel_uuid"],
        channel_name=known["channel_name"],
        created_at=known["created_at"],
        type=known["type"],
        content=known["content"],
        username=known["username"],
        token_name=known["token_name"],
        model_name=known["model_name"],
        origin_model_name=known["origin_model_name"],
        quota=known["quota"],
        prompt_tokens=known["prompt_tokens"],
        completion_tokens=known["completion_tokens"],
        cached_prompt_tokens=known["cached_prompt_tokens"],
        request_id=known["request_id"],
        trace_id=known["trace_id"],
        elapsed_time=known["elapsed_time"],
        is_stream=known["is_stream"],
        system_prompt_reset=known["system_prompt_reset"],
        metadata=metadata if isinstance(metadata, dict) else None,
        updated_at=known["updated_at"],
    )
