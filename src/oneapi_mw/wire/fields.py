"""Members of a JSON object by their type: what a decoder reads is checked where it is read."""

from __future__ import annotations

from typing import Any

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.types import JsonObject


class Fields:
    """One object of a request. Absent and `null` are both `None`; a value of another type is `InvalidRequest`.

    Args:
        where: path of the object in the request, empty for the request itself.
        code: error code of the format.
    """

    __slots__ = ("_code", "_where", "value")

    def __init__(self, value: JsonObject, where: str = "", *, code: str) -> None:
        self.value = value
        self._where = where
        self._code = code

    def path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def wrong(self, name: str, what: str) -> InvalidRequest:
        """The error that says what member `name` must be."""
        path = self.path(name)
        return InvalidRequest(f"{path} {what}", param=path, code=self._code)

    def text(self, name: str) -> str | None:
        value = self.value.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "must be a string")

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise self.wrong(name, "is required and must be a string")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.value.get(name)
        if value is None or type(value) is bool:
            return value
        raise self.wrong(name, "must be true or false")

    def integer(self, name: str) -> int | None:
        value = self.value.get(name)
        if value is None or type(value) is int:
            return value
        raise self.wrong(name, "must be an integer")

    def number(self, name: str) -> float | None:
        value = self.value.get(name)
        if value is None or type(value) is int or type(value) is float:
            return value
        raise self.wrong(name, "must be a number")

    def object(self, name: str) -> JsonObject | None:
        value = self.value.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise self.wrong(name, "must be an object")

    def inner(self, name: str) -> Fields:
        """The object `name`; an empty one when it is absent."""
        return Fields(self.object(name) or {}, self.path(name), code=self._code)

    def entries(self, name: str) -> list[Any]:
        """The list `name`; an empty one when it is absent."""
        value = self.value.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise self.wrong(name, "must be a list")

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.entries(name)
        if all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise self.wrong(name, "must be a list of strings")

    def objects(self, name: str) -> list[Fields]:
        """The objects in the list `name`."""
        found = []
        for index, entry in enumerate(self.entries(name)):
            if not isinstance(entry, dict):
                raise self.wrong(f"{name}[{index}]", "must be an object")
            found.append(Fields(entry, self.path(f"{name}[{index}]"), code=self._code))
        return found
