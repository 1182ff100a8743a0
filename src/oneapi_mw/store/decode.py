"""Stored rows to what authentication and routing work with."""

from __future__ import annotations

from typing import Any, TypeVar

from oneapi_mw import jsontext
from oneapi_mw.routing.channel import Channel, Secret
from oneapi_mw.store.records import ChannelRecord

K = TypeVar("K", list[Any], dict[str, Any])
_WORDS: dict[type, str] = {list: "list", dict: "object"}


def split_list(text: str | None) -> tuple[str, ...]:
    """The members of a comma-separated column, without blanks and repetitions."""
    return tuple(dict.fromkeys(part for raw in (text or "").split(",") if (part := raw.strip())))


def allowed_models(models: str | None) -> frozenset[str] | None:
    """What a token may ask for; `None` is everything."""
    return frozenset(split_list(models)) or None


def decode_channel(record: ChannelRecord) -> Channel:
    """The channel as routing needs it. Raises `ValueError` naming the column that cannot be read."""
    mapping = _json("model_mapping", record.model_mapping, dict)
    hidden = _json("hidden_models", record.hidden_models, list)
    for column, names in (("model_mapping", mapping.values()), ("hidden_models", hidden)):
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"{column} must hold names only")
    return Channel(
        id=record.id,
        uuid=record.uuid,
        name=record.name,
        type=record.type,
        base_url=record.base_url,
        key=Secret(record.key),
        models=split_list(record.models),
        groups=split_list(record.group) or ("default",),
        status=record.status,
        priority=record.priority,
        weight=record.weight,
        ratelimit=record.ratelimit,
        model_mapping=mapping,
        hidden_models=frozenset(name.lower() for name in hidden),
        system_prompt=record.system_prompt or None,
        config=_json("config", record.config, dict),
        model_configs={**_older_prices(record), **_json("model_configs", record.model_configs, dict)},
    )


def _older_prices(record: ChannelRecord) -> dict[str, Any]:
    """The two columns that One API kept prices in before `model_configs`, in its form."""
    ratios = _json("model_ratio", record.model_ratio, dict)
    completions = _json("completion_ratio", record.completion_ratio, dict)
    return {model: {"ratio": ratio, "completion_ratio": completions.get(model, 1)} for model, ratio in ratios.items()}


def _json(column: str, text: str | None, kind: type[K]) -> K:
    if text is None or not text.strip():
        return kind()
    try:
        value = jsontext.loads(text.encode())
    except ValueError:
        raise ValueError(f"{column} is not valid JSON") from None
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ValueError(f"{column} must hold a JSON {_WORDS[kind]}")
    return value
