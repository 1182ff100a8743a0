"""Log rows: what was used, by whom, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, Refusal, ok
from oneapi_mw.admin.query import Sorting, first, integer, keyword, page, reference, text
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.store.records import LogFilter, LogRecord

SORTING = Sorting(
    columns=frozenset(["id", "created_at", "prompt_tokens", "completion_tokens", "quota", "elapsed_time"]),
    aliases={"created_time": "created_at"},
)
LAST_TYPE, NO_TYPE = 7, -1
LONGEST_SORTED_SPAN = 30 * 24 * 3600
"""Seconds: sorting reads every row of the span."""


def log_view(row: LogRecord) -> dict[str, Any]:
    """The log object; `channel_name` and `metadata` are absent when empty."""
    view: dict[str, Any] = {
        "uuid": row.uuid,
        "user_uuid": row.user_uuid,
        "created_at": row.created_at,
        "type": row.type,
        "content": row.content,
        "username": row.username,
        "token_name": row.token_name,
        "token_uuid": row.token_uuid,
        "model_name": row.model_name,
        "origin_model_name": row.origin_model_name,
        "quota": row.quota,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "channel_uuid": row.channel_uuid,
        "request_id": row.request_id,
        "trace_id": row.trace_id,
        "updated_at": row.updated_at,
        "elapsed_time": row.elapsed_time,
        "is_stream": row.is_stream,
        "system_prompt_reset": row.system_prompt_reset,
        "cached_prompt_tokens": row.cached_prompt_tokens,
    }
    if row.channel_name:
        view["channel_name"] = row.channel_name
    if row.metadata:
        view["metadata"] = row.metadata
    return view


async def _answer(call: Call, where: LogFilter) -> Response:
    query = call.request.query_params
    sorted_by = first(query, "sort", "sort_by")
    if sorted_by and where.start and where.end and where.end - where.start > LONGEST_SORTED_SPAN:
        raise Refusal("Date range for sorting cannot exceed 30 days")
    rows, total = await call.store.logs.list(where, page(call, SORTING))
    return ok([log_view(row) for row in rows], total=total)


def _common(call: Call) -> dict[str, Any]:
    """Filters that every list has."""
    query = call.request.query_params
    kind = integer(query.get("type"))
    return {
        "type": kind if 0 <= kind <= LAST_TYPE else NO_TYPE,
        "start": integer(query.get("start_timestamp")),
        "end": integer(query.get("end_timestamp")),
        "model_name": text(query, "model_name"),
    }


async def list_logs(call: Call) -> Response:
    query = call.request.query_params
    channel = query.get("channel") or ""
    if channel:
        channel = reference(channel)
        if await call.store.channels.get(channel) is None:
            raise Missing
    where = LogFilter(
        **_common(call),
        token_name=text(query, "token_name"),
        username=text(query, "username"),
        channel_uuid=channel,
    )
    return await _answer(call, where)


async def list_own(call: Call) -> Response:
    where = LogFilter(**_common(call), token_name=text(call.request.query_params, "token_name"), user_id=call.user.id)
    return await _answer(call, where)


async def search_logs(call: Call) -> Response:
    return await _answer(call, LogFilter(keyword=keyword(call)))


async def search_own(call: Call) -> Response:
    return await _answer(call, LogFilter(keyword=keyword(call), user_id=call.user.id))


async def list_of_key(call: Call) -> Response:
    """Rows of the calling API key: by its id, so that renaming it hides nothing."""
    key = call.principal
    return await _answer(call, LogFilter(**_common(call), user_id=key.user_id, token_id=key.token_id))


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("GET", "/api/log/", Access.ADMIN, list_logs),
        Endpoint("GET", "/api/log/search", Access.ADMIN, search_logs),
        Endpoint("GET", "/api/log/self", Access.USER, list_own),
        Endpoint("GET", "/api/log/self/search", Access.USER, search_own),
        Endpoint("GET", "/api/token/logs", Access.KEY, list_of_key),
    )
