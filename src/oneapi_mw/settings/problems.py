"""What is wrong with settings, in words that name the setting and say what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from oneapi_mw.immutable import immutable
from oneapi_mw.settings.kinds import Masked, Rule
from oneapi_mw.settings.names import env_name

LONGEST_QUOTE = 60


@immutable
class Problem:
    """One setting that cannot be used. `text` continues the sentence that begins with `name`."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name} {self.text}"


class SettingsError(ValueError):
    """Settings that cannot be used: every problem, one line each. Secrets are never quoted."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def problems_of(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """One problem per setting that was refused."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        field = str(detail["loc"][0])
        # the default depends on another setting, whose own problem is in the list
        if detail["type"] != "default_factory_not_called" and field not in found:
            found[field] = _problem(model, field, detail)
    return list(found.values())


def what_to_write(info: FieldInfo) -> str:
    """The values a setting takes, as they follow the word "write"."""
    for item in info.metadata:
        if isinstance(item, Rule):
            return item.text
    kinds = (info.annotation, *get_args(info.annotation))
    if bool in kinds:
        return "true or false"
    if get_origin(info.annotation) is Literal:
        return "one of " + ", ".join(word for word in get_args(info.annotation) if word)
    return "text"


def _problem(model: type[BaseModel], field: str, detail: ErrorDetails) -> Problem:
    info = model.model_fields.get(field)
    if info is None:
        near = get_close_matches(field, model.model_fields, n=1)
        return Problem(field, "is not a setting" + (f": did you mean {near[0]}?" if near else ""))
    advice = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else what_to_write(info)
    return Problem(env_name(field), f"{_fault(info, detail['input'])}: write {advice}")


def _fault(info: FieldInfo, value: Any) -> str:
    if value == "":
        return "is empty"
    if any(isinstance(item, Masked) for item in info.metadata):
        return "cannot be used"
    quoted = repr(value)
    return f"is {quoted if len(quoted) <= LONGEST_QUOTE else quoted[:LONGEST_QUOTE] + '…'}"
