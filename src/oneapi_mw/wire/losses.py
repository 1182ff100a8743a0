"""What a request says that the format of an upstream cannot: dropped and named, said by other means and named, or
refused. Each format has a list of its own."""

from __future__ import annotations

from oneapi_mw.errors import InvalidRequest

EMULATED = "=emulated"
"""Behind the path of what is said by other means."""


class Losses:
    """Canonical paths of what is lost, each once, in the order they were found."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def drop(self, *paths: str) -> None:
        self._found.update(dict.fromkeys(paths))

    def emulate(self, path: str) -> None:
        self._found[path + EMULATED] = None

    def found(self) -> tuple[str, ...]:
        return tuple(self._found)


def unsupported(what: str, model: str, param: str | None = None) -> InvalidRequest:
    """The error for `what`, which `model` ("a Gemini model") cannot be told; `param` is the client's name for it."""
    return InvalidRequest(
        f"{what} cannot be sent to {model}: leave it out, or ask another model",
        param=param,
        code="unsupported_parameter",
    )


def is_blocking(moderation: object) -> bool:
    """Whether any policy of an OpenAI `moderation` blocks."""
    if isinstance(moderation, dict):
        return moderation.get("mode") == "block" or any(is_blocking(value) for value in moderation.values())
    return False
