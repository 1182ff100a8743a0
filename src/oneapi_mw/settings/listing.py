"""The configuration in effect, for people."""

from __future__ import annotations

from typing import Any

from oneapi_mw.settings.kinds import Masked
from oneapi_mw.settings.model import Settings
from oneapi_mw.settings.names import env_name


def describe(settings: Settings) -> list[tuple[str, str, bool]]:
    """Every setting: its name in the environment, its value with secrets masked, and whether that is the default."""
    rows = []
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        default = info.get_default(call_default_factory=True, validated_data=dict(settings))
        masks = [item.show for item in info.metadata if isinstance(item, Masked)]
        rows.append((env_name(field), masks[0](value) if masks else _text(value), value == default))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
