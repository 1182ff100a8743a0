"""Typed slots in the ASGI scope, the only way stages hand values to the stages inside them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from starlette.types import Scope

from oneapi_mw.immutable import immutable

T = TypeVar("T")


class MissingStage(RuntimeError):
    """A stage read a scope key that no stage before it has written."""

    def __init__(self, key: str) -> None:
        super().__init__(f"scope key {key!r} is not set: put the middleware that provides it outside this one")


@immutable
class ScopeKey(Generic[T]):
    """A typed slot in the ASGI scope, declared beside the type it holds and written by one stage."""

    name: str
    """`oneapi_mw.<noun>`; the key in the scope."""

    def put(self, scope: Scope, value: T) -> Scope:
        """A copy of `scope` that also holds `value`: the host's scope never sees our keys."""
        return {**scope, self.name: value}

    def get(self, scope: Scope) -> T:
        """The value an outer stage has put there. Raises `MissingStage`."""
        try:
            value: T = scope[self.name]
        except KeyError:
            raise MissingStage(self.name) from None
        return value

    def find(self, scope: Scope) -> T | None:
        """The value, or `None` when the stage that provides it is not part of this pipeline."""
        value: T | None = scope.get(self.name)
        return value


def route_path(scope: Scope) -> str:
    """The path below the mount: `path` less `root_path`, always starting with a slash.

    A path equal to the mount itself is `/`. A path outside `root_path` (a proxy prefix the server
    did not add) is returned whole, as ASGI servers of both habits exist.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if not root or not path.startswith(root):
        return path
    rest = path[len(root) :]
    if not rest:
        return "/"
    return rest if rest[0] == "/" else path


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of header `name` (lower case), or `None`."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def put_extension(scope: Scope, name: str, value: Any) -> Scope:
    """A copy of `scope` whose `extensions` also offer `name`."""
    return {**scope, "extensions": {**(scope.get("extensions") or {}), name: value}}
