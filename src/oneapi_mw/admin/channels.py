"""Channels: configured accounts at providers. Their keys go in; only an update by root shows one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from oneapi_mw.admin.body import MAX_INTEGER, Body, ChannelStatusNumber, Int32, Text, read
from oneapi_mw.admin.channel_config import (
    destination,
    hide_secrets,
    is_address,
    keep_secrets,
    set_tooling,
    tooling_of,
)
from oneapi_mw.admin.channel_text import check_json
from oneapi_mw.admin.endpoint import Access, Call, Endpoint
from oneapi_mw.admin.envelope import Missing, Refusal, Taken, ok
from oneapi_mw.admin.query import Sorting, body_reference, keyword, page, path_reference, unpaged
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.principal import Role
from oneapi_mw.routing.channel import ChannelStatus
from oneapi_mw.store.records import ChannelRecord

SORTING = Sorting(
    columns=frozenset(
        [
            "id",
            "name",
            "type",
            "status",
            "response_time",
            "test_time",
            "priority",
            "weight",
            "used_quota",
            "created_at",
            "updated_at",
        ]
    )
)
MAX_KEYS = 100
"""Lines of `key` in one request, each becoming a channel."""
_READ_ONLY = [
    "id",
    "uuid",
    "created_time",
    "test_time",
    "response_time",
    "balance",
    "balance_updated_time",
    "used_quota",
    "created_at",
    "updated_at",
]


def channel_view(channel: ChannelRecord, *, key: str = "") -> dict[str, Any]:
    """The channel object: twenty-nine keys, JSON fields still text, credentials masked."""
    balance = Decimal(channel.balance or 0)
    return {
        "uuid": channel.uuid,
        "type": channel.type,
        "key": key,
        "status": channel.status,
        "name": channel.name,
        "weight": channel.weight,
        "created_time": channel.created_time,
        "test_time": channel.test_time,
        "response_time": channel.response_time,
        "base_url": channel.base_url,
        "other": channel.other,
        "balance": int(balance) if balance == balance.to_integral_value() else float(balance),
        "balance_updated_time": channel.balance_updated_time,
        "models": channel.models,
        "hidden_models": channel.hidden_models,
        "model_configs": channel.model_configs,
        "group": channel.group,
        "used_quota": channel.used_quota,
        "model_mapping": channel.model_mapping,
        "priority": channel.priority,
        "config": hide_secrets(channel.config),
        "ratelimit": channel.ratelimit,
        "system_prompt": channel.system_prompt,
        "testing_model": channel.testing_model,
        "model_ratio": channel.model_ratio,
        "completion_ratio": channel.completion_ratio,
        "inference_profile_arn_map": channel.inference_profile_arn_map,
        "created_at": channel.created_at,
        "updated_at": channel.updated_at,
    }


def _row_view(channel: ChannelRecord) -> dict[str, Any]:
    return {**channel_view(channel), "test_models": [name for name in channel.models.split(",") if name]}


def _whole_view(channel: ChannelRecord, *, key: str = "") -> dict[str, Any]:
    view = channel_view(channel, key=key)
    tooling = tooling_of(channel.config)
    return {**view, "tooling": tooling} if tooling else view


async def _find(call: Call, uuid: str) -> ChannelRecord:
    channel = await call.store.channels.get(uuid)
    if channel is None:
        raise Missing
    return channel


async def list_channels(call: Call) -> Response:
    rows, total = await call.store.channels.list(page(call, SORTING))
    return ok([_row_view(row) for row in rows], total=total)


async def search_channels(call: Call) -> Response:
    rows, _ = await call.store.channels.list(unpaged(call, SORTING), keyword=keyword(call))
    return ok([_row_view(row) for row in rows])


async def show_channel(call: Call) -> Response:
    return ok(_whole_view(await _find(call, path_reference(call))))


async def delete_channel(call: Call) -> Response:
    if not await call.store.channels.delete(path_reference(call)):
        raise Missing
    return ok()


_Name = Annotated[Text, Field(max_length=255)]
MAX_MODEL_BYTES = 256
_Priority = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]


class ChannelFields(Body):
    """What an administrator may set. Everything else of a channel is the gateway's to write."""

    name: _Name | None = None
    type: Int32 | None = None
    key: Text | None = None
    status: ChannelStatusNumber | None = None
    weight: Int32 | None = None
    base_url: Text | None = None
    other: Text | None = None
    models: Text | None = None
    hidden_models: Text | None = None
    model_configs: Text | None = None
    group: Text | None = None
    model_mapping: Text | None = None
    priority: _Priority | None = None
    config: Text | None = None
    ratelimit: Int32 | None = None
    system_prompt: Text | None = None
    testing_model: _Name | None = None
    model_ratio: Text | None = None
    completion_ratio: Text | None = None
    inference_profile_arn_map: Text | None = None
    tooling: Text | None = None


NUMBERS = frozenset({"weight", "priority", "ratelimit"})
"""Zero is a value here; in other fields zero and empty mean "not given"."""
NULLABLE = frozenset({"model_mapping", "model_configs", "system_prompt", "inference_profile_arn_map", "hidden_models"})
"""Fields that an explicit null or "" clears."""
DESTINATION = frozenset({"type", "base_url", "other"})
"""Fields that decide where the key is sent; of `config` a part does."""


async def create_channel(call: Call) -> Response:
    """One channel, or one per line of `key`, all with the same settings."""
    body = await read(call, ChannelFields, prefix="unmarshal channel payload")
    if not body.name or not body.name.strip():
        raise Refusal("Channel name is required")
    given = {key: value for key, value in _checked(body).items() if value is not None}
    values = {key: value for key, value in given.items() if key not in ("key", "tooling")}
    values["type"] = body.type or 0
    values["status"] = body.status or int(ChannelStatus.ENABLED)
    values["group"] = values.get("group") or "default"
    values["base_url"] = values.get("base_url") or call.services.default_base_url(values["type"]) or ""
    values["config"] = set_tooling(keep_secrets(values.get("config", ""), ""), body.tooling)
    _drop_foreign_test_model(values, values.get("models") or "")
    for key in _keys(body.key or ""):
        await call.store.channels.create({**values, "key": key})
    return ok()


def _keys(text: str) -> list[str]:
    """The keys in `text`, one a line."""
    keys = [key for line in text.replace("\r", "\n").split("\n") if (key := line.strip())]
    if len(keys) > MAX_KEYS:
        raise Refusal(f"key has too many lines: at most {MAX_KEYS}")
    return [_key(key) for key in keys] or [""]


def _key(key: str) -> str:
    """A key as it can stand in a header: pasted ones come with line breaks and invisible characters."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise Refusal("key must consist of printable ASCII characters, on one line")
    return key


class ChannelChanges(ChannelFields):
    uuid: Text | None = None


async def update_channel(call: Call) -> Response:
    """Change what the body names and is not empty; `?status_only=1` changes nothing but the status."""
    body = await read(call, ChannelChanges, prefix="unmarshal channel payload")
    channel = await _find(call, body_reference(body.uuid))
    if call.request.query_params.get("status_only"):
        if not body.status:
            raise Refusal("status is required: 1 enables, 2 disables")
        await call.store.channels.update(channel.uuid, {"status": body.status})
        return ok()
    changes = _changes(body, channel)
    if not (body.key or "").strip():
        _keep_key_home(call, channel, changes)
    changed = await call.store.channels.update(channel.uuid, changes) if changes else channel
    if changed is None:
        raise Missing
    shown = changed.key if call.user.role >= Role.ROOT else changes.get("key", "")
    return ok(_whole_view(changed, key=shown))


def _changes(body: ChannelChanges, channel: ChannelRecord) -> dict[str, Any]:
    if "name" in body.model_fields_set and not (body.name or "").strip():
        raise Refusal("Channel name cannot be empty")
    changes = {
        field: value
        for field, value in _checked(body).items()
        if field != "uuid" and (value or field in NULLABLE or (field in NUMBERS and value is not None))
    }
    if key := _key(changes.pop("key", "")):
        changes["key"] = key
    if "config" in changes:
        changes["config"] = keep_secrets(changes["config"], channel.config)
    tooling = changes.pop("tooling", None)
    if tooling is not None:
        changes["config"] = set_tooling(changes.get("config", channel.config), tooling)
    _drop_foreign_test_model(changes, changes.get("models", channel.models))
    return {field: value for field, value in changes.items() if value != getattr(channel, field)}


def _keep_key_home(call: Call, channel: ChannelRecord, changes: Mapping[str, Any]) -> None:
    """Only root may send a stored key somewhere else: an administrator could collect it at a host of his own."""
    moved = sorted(DESTINATION & changes.keys())
    if destination(changes.get("config", channel.config)) != destination(channel.config):
        moved.append("config")
    if moved and channel.key and call.user.role < Role.ROOT:
        raise Taken(f"Changing {', '.join(moved)} of a channel needs its key: send `key` in the same request")


def _checked(body: ChannelFields) -> dict[str, Any]:
    """The fields the body gives, normalised. Raises `Refusal`."""
    values = {field: getattr(body, field) for field in body.model_fields_set}
    for field, value in values.items():
        if isinstance(value, str):
            check_json(field, value)
    for field in ("models", "group"):
        if values.get(field):
            values[field] = ",".join(_names(field, values[field]))
    if values.get("base_url"):
        values["base_url"] = _base_url(values["base_url"])
    if values.get("name"):
        values["name"] = values["name"].strip()
    return values


def _names(field: str, text: str) -> list[str]:
    """The names in a comma-separated list, each once."""
    names = list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in names:
        if len(name.encode()) > MAX_MODEL_BYTES or not name.isprintable():
            raise Refusal(
                f"{field}: {name[:64]!r} is not a name: at most {MAX_MODEL_BYTES} bytes, no control or invisible "
                "characters"
            )
    return names


def _base_url(url: str) -> str:
    url = url.strip()
    if url and not (is_address(url) and "?" not in url):
        raise Refusal(
            "base_url must be an address such as https://api.example.com, without user name, query and fragment"
        )
    return url


def _drop_foreign_test_model(values: dict[str, Any], models: str) -> None:
    """A test model that the channel does not serve would fail each test."""
    if values.get("testing_model") and values["testing_model"] not in models.split(","):
        del values["testing_model"]


async def duplicate_channel(call: Call) -> Response:
    """A copy with key and settings, counters at zero."""
    channel = await _find(call, path_reference(call))
    values = {field: value for field, value in asdict(channel).items() if field not in _READ_ONLY}
    copy = await call.store.channels.create({**values, "name": f"{channel.name[:250]} Copy"})
    return ok({"uuid": copy.uuid, "name": copy.name})


def endpoints(services: AdminServices) -> Sequence[Endpoint]:
    del services
    return (
        Endpoint("GET", "/api/channel/", Access.ADMIN, list_channels),
        Endpoint("POST", "/api/channel/", Access.ADMIN, create_channel),
        Endpoint("PUT", "/api/channel/", Access.ADMIN, update_channel),
        Endpoint("GET", "/api/channel/search", Access.ADMIN, search_channels),
        Endpoint("GET", "/api/channel/{uuid}", Access.ADMIN, show_channel),
        Endpoint("DELETE", "/api/channel/{uuid}", Access.ADMIN, delete_channel),
        Endpoint("POST", "/api/channel/{uuid}/duplicate", Access.ADMIN, duplicate_channel),
    )
