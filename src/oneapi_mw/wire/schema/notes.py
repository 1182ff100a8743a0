"""What cleaning a schema loses: for the caller, and in the schema's own words for the model."""

from __future__ import annotations

from typing import Any

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps, well_formed
from oneapi_mw.types import JsonObject

CODE = "unsupported_parameter"


class Findings:
    """Of a whole schema.

    Args:
        where: the client's own path of the schema, for errors.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._dropped: dict[str, None] = {}
        self.strict = True
        """Whether a grammar can still hold an answer to the schema."""

    def drop(self, path: str, keyword: str) -> None:
        self._dropped[f"{path}.{keyword}".lstrip(".")] = None

    def dropped(self) -> tuple[str, ...]:
        return tuple(self._dropped)

    def wrong(self, path: str, what: str) -> InvalidRequest:
        return InvalidRequest(f"{self._where}{path} {what}", param=self._where, code=CODE)


class Notes:
    """Of one node: what is lost is found out for the whole schema, and said in the node's description."""

    def __init__(self, findings: Findings, path: str) -> None:
        self._findings = findings
        self._told: JsonObject = {}
        self.path = path

    def drop(self, keyword: str) -> None:
        """Without a word in the description."""
        self._findings.drop(self.path, keyword)

    def tell(self, keyword: str, value: Any) -> None:
        self._told[keyword] = value
        self.drop(keyword)

    def loosen(self) -> None:
        """No grammar can hold an answer to this."""
        self._findings.strict = False

    def wrong(self, what: str, below: str = "") -> InvalidRequest:
        """The error for what stands `below` this node."""
        return self._findings.wrong(self.path + below, what)

    def a_list(self, value: Any, keyword: str) -> list[Any]:
        """The value of a keyword. Raises `InvalidRequest` when it is no list."""
        if not isinstance(value, list):
            raise self.wrong("must be a list", f".{keyword}")
        return value

    def described(self, schema: JsonObject) -> JsonObject:
        """`schema` with all that was told in its description."""
        if not self._told:
            return schema
        known, said = schema.get("description"), well_formed(dumps(self._told).decode())
        return {**schema, "description": f"{known}\n\n{said}" if isinstance(known, str) and known else said}
