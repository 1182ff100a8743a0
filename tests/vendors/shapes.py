"""Field names and types of a request at every level, read from the request types of the official SDKs.

`Shape` checks JSON against a type: TypedDicts (OpenAI, Anthropic) know required and optional fields, pydantic models
(Google) know the camel case and the snake case of each. The first thing wrong is raised as `Mismatch`, which every
vendor puts into his own words.
"""

from __future__ import annotations

import base64
import datetime
import enum
import types
from binascii import Error
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, Required, TypeAlias, Union, get_args, get_origin

import pydantic
import typing_extensions

Place: TypeAlias = tuple[str | int, ...]
Kind = Literal["unknown", "missing", "type", "value"]

_NAMES = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string"}
_DISCRIMINATORS = ("type", "role")


class Mismatch(Exception):
    """What in a request is not as the type says."""

    def __init__(self, kind: Kind, place: Place, value: Any = None, wanted: tuple[str, ...] = ()) -> None:
        super().__init__(kind, place, value, wanted)
        self.kind = kind
        self.place = place
        self.value = value
        self.wanted = wanted
        """Types in words (kind `type`), or the values there are (kind `value`)."""


@dataclass(frozen=True)
class Shape:
    """One vendor's way to read types.

    Args:
        relaxed: fields that the type calls required and the vendor does not, by name of the type.
        forbidden: fields that the type has and this host of the vendor does not.
        extra: fields that the vendor takes and the type does not have.
    """

    relaxed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    forbidden: Mapping[str, frozenset[str]] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def check(self, value: Any, hint: Any, place: Place = ()) -> None:
        """Raises `Mismatch`."""
        origin, args = get_origin(hint), get_args(hint)
        if origin in (Annotated, Required, NotRequired):
            self.check(value, args[0], place)
        elif origin in (Union, types.UnionType):
            self._union(value, args, place)
        elif origin is Literal:
            if value not in args or isinstance(value, bool) is not any(isinstance(arg, bool) for arg in args):
                raise Mismatch("value", place, value, tuple(str(arg) for arg in args))
        elif hint in (Any, object):
            return
        elif hint is type(None):
            if value is not None:
                raise Mismatch("type", place, value, ("null",))
        elif origin in (dict, Mapping) or hint is dict:
            self._mapping(value, args, place)
        elif origin is not None and _is_sequence(origin):
            self._sequence(value, args[0], place)
        elif typing_extensions.is_typeddict(hint):
            self._typed_dict(value, hint, place)
        elif isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
            self._model(value, hint, place)
        elif isinstance(hint, type) and issubclass(hint, enum.Enum):
            if value not in [member.value for member in hint]:
                raise Mismatch("value", place, value, tuple(str(member.value) for member in hint))
        else:
            _scalar(value, hint, place)

    def _union(self, value: Any, members: Sequence[Any], place: Place) -> None:
        options = _options(members)
        if value is None:
            if type(None) not in options:
                raise Mismatch("type", place, value, tuple(_words(option) for option in options))
            return
        options = [option for option in options if option is not type(None)]
        if len(options) == 1:
            self.check(value, options[0], place)
            return
        failures = []
        for option in options:
            try:
                self.check(value, option, place)
            except Mismatch as mismatch:
                failures.append((_closeness(option, value), len(mismatch.place), mismatch))
            else:
                return
        best = max(failures, key=lambda failure: failure[:2])
        if best[0] < 0 or (best[0] == 0 and len(best[2].place) == len(place)):
            raise _of_any(value, options, place)
        raise best[2]

    def _mapping(self, value: Any, args: Sequence[Any], place: Place) -> None:
        if not isinstance(value, dict):
            raise Mismatch("type", place, value, ("an object",))
        for key, member in value.items():
            if len(args) == 2:
                self.check(member, args[1], (*place, key))

    def _sequence(self, value: Any, hint: Any, place: Place) -> None:
        if not isinstance(value, list):
            raise Mismatch("type", place, value, ("an array",))
        for index, member in enumerate(value):
            self.check(member, hint, (*place, index))

    def _typed_dict(self, value: Any, hint: Any, place: Place) -> None:
        if not isinstance(value, dict):
            raise Mismatch("type", place, value, ("an object",))
        fields = {**_hints(hint), **self.extra.get(hint.__name__, {})}
        forbidden = self.forbidden.get(hint.__name__, frozenset())
        for name in _DISCRIMINATORS:
            known = _literals(_hints(hint).get(name))
            if known and name in value and value[name] not in known:
                raise Mismatch("value", (*place, name), value[name], known)
        for name in sorted(_required(hint) - self.relaxed.get(hint.__name__, frozenset())):
            if name not in value:
                raise Mismatch("missing", (*place, name))
        self._fields(value, {name: member for name, member in fields.items() if name not in forbidden}, place)

    def _model(self, value: Any, hint: type[pydantic.BaseModel], place: Place) -> None:
        if not isinstance(value, dict):
            raise Mismatch("type", place, value, ("an object",))
        forbidden = self.forbidden.get(hint.__name__, frozenset())
        fields: dict[str, Any] = dict(self.extra.get(hint.__name__, {}))
        for name, info in hint.model_fields.items():
            if name not in forbidden:
                annotation = _hints(hint)[name]
                fields[info.alias or name] = fields[name] = annotation
        self._fields(value, fields, place)

    def _fields(self, value: dict[str, Any], fields: Mapping[str, Any], place: Place) -> None:
        for name, member in value.items():
            if name not in fields:
                raise Mismatch("unknown", (*place, name), member)
            self.check(member, fields[name], (*place, name))


@lru_cache(maxsize=4096)
def _hints(hint: Any) -> Mapping[str, Any]:
    return typing_extensions.get_type_hints(hint, include_extras=True)


@lru_cache(maxsize=4096)
def _required(hint: Any) -> frozenset[str]:
    return frozenset(name for name, member in _hints(hint).items() if get_origin(member) is Required)


def _is_sequence(origin: Any) -> bool:
    if origin in (list, tuple, Iterable, Sequence):
        return True
    return isinstance(origin, type) and (issubclass(origin, Iterable) or origin.__name__ == "SequenceNotStr")


def _options(members: Sequence[Any]) -> list[Any]:
    """Members of a union as JSON knows them: nested unions flat, without the SDK's own objects in Python."""
    found: list[Any] = []
    for member in members:
        origin = get_origin(member)
        if origin is Annotated:
            member, origin = get_args(member)[0], get_origin(get_args(member)[0])
        if origin in (Union, types.UnionType):
            found += _options(get_args(member))
        else:
            found.append(member)
    dicts = [option for option in found if typing_extensions.is_typeddict(option)]
    if dicts:  # answers handed back as objects of the SDK are sent as their fields, which the dicts describe
        found = [
            option for option in found if not (isinstance(option, type) and issubclass(option, pydantic.BaseModel))
        ]
    return [option for option in found if not _only_python(option)]


def _only_python(option: Any) -> bool:
    module = getattr(get_origin(option) or option, "__module__", "")
    return (
        module in ("os", "io", "typing", "pathlib") and option is not Any and get_origin(option) not in (Literal, None)
    )


def _closeness(option: Any, value: Any) -> int:
    """How well the discriminators of a TypedDict fit `value`: 1 for each that says so, -1 when one says no."""
    if not typing_extensions.is_typeddict(option) or not isinstance(value, dict):
        return 0 if not isinstance(value, (dict, list)) or get_origin(option) is not None else -1
    fits = 0
    for name in _DISCRIMINATORS:
        known = _literals(_hints(option).get(name))
        if not known or name not in value:
            continue
        if value[name] not in known:
            return -1
        fits += 1
    return fits


def _of_any(value: Any, options: Sequence[Any], place: Place) -> Mismatch:
    """The mismatch of a value that is like no member of a union."""
    if isinstance(value, dict):
        for name in _DISCRIMINATORS:
            known = _discriminators(options, name)
            if known:
                if name not in value:
                    return Mismatch("missing", (*place, name))
                if value[name] not in known:
                    return Mismatch("value", (*place, name), value[name], known)
    literals = [arg for option in options if get_origin(option) is Literal for arg in get_args(option)]
    if literals and isinstance(value, str) and str not in options:
        return Mismatch("value", place, value, tuple(literals))
    words = dict.fromkeys(_words(option) for option in options if option is not type(None))
    return Mismatch("type", place, value, tuple(words))


def _discriminators(options: Sequence[Any], name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for option in options:
        if typing_extensions.is_typeddict(option):
            found.update(dict.fromkeys(_literals(_hints(option).get(name))))
    return tuple(found)


def _literals(hint: Any) -> tuple[str, ...]:
    """The values a discriminator may have; nothing when any text will do."""
    while get_origin(hint) in (Required, NotRequired, Annotated):
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        members = [_literals(member) for member in get_args(hint) if member is not type(None)]
        return sum(members, ()) if all(members) else ()
    return get_args(hint) if get_origin(hint) is Literal else ()


def _words(hint: Any) -> str:
    if hint in _NAMES:
        return _NAMES[hint]
    origin = get_origin(hint)
    if origin is Literal:
        return "a string"
    if origin is not None and origin is not dict and _is_sequence(origin):
        return "an array"
    return "null" if hint is type(None) else "an object"


def _scalar(value: Any, hint: Any, place: Place) -> None:
    if hint is float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif hint is int:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif hint in (bool, str):
        good = isinstance(value, hint)
    elif hint is bytes:
        good = isinstance(value, str) and _is_base64(value)
    elif hint in (datetime.datetime, datetime.timedelta):
        good = isinstance(value, str)
    else:
        raise TypeError(f"no JSON is known for {hint!r} at {place}")
    if not good:
        raise Mismatch("type", place, value, (_NAMES.get(hint, "base64 text"),))


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value.translate(str.maketrans("-_", "+/")), validate=True)
    except (Error, ValueError):
        return False
    return True
