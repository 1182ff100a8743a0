"""What a client wants of a model's reasoning, said beside the vendor's own fields: in the query, in headers, and in
fields of our own in the body.

One value counts: the query's, else the header's, else the body's. What the body says in a vendor's own words is
read by the codecs; a wish has precedence over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import parse_qsl

from oneapi_mw.canonical.call import Outside
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable
from oneapi_mw.models.depth import EFFORTS
from oneapi_mw.types import JsonObject

__all__ = ["FIELDS", "FORMATS", "FieldName", "ReasoningFormat", "ReasoningWish", "read_wish", "without_own"]

FieldName: TypeAlias = Literal["reasoning_content", "reasoning", "thinking"]
ReasoningFormat: TypeAlias = Literal["reasoning_content", "reasoning", "thinking", "hidden", "raw"]

FIELDS: tuple[FieldName, ...] = ("reasoning_content", "reasoning", "thinking")
"""Names a chat answer may give the field with reasoning text."""
FORMATS: tuple[ReasoningFormat, ...] = (*FIELDS, "hidden", "raw")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_GROQ: Mapping[str, ReasoningFormat | None] = {"parsed": "reasoning", "none": None}
"""Groq's words for the field in the body, beside those that are ours too."""
_HEADERS = {
    b"x-oneapi-thinking": "thinking",
    b"x-oneapi-reasoning-format": "reasoning_format",
    b"x-oneapi-reasoning-effort": "reasoning_effort",
}
_NAMES = frozenset(_HEADERS.values())


@immutable
class ReasoningWish:
    """One request's wish. `None` leaves a matter to the body and to the model."""

    thinking: bool | None = None
    format: ReasoningFormat | None = None
    """Where reasoning text goes in a chat answer; `hidden` counts for every client format."""
    effort: str | None = None
    """One of `EFFORTS`. Never beside `thinking=False`."""
    fallback: FieldName | None = None
    """The operator's own choice of a field, for requests that name none. It asks for nothing."""

    @property
    def asks(self) -> bool:
        """Whether the model is to be asked for something else than the body says."""
        return self.thinking is not None or self.effort is not None

    @property
    def off(self) -> bool:
        """Whether the model is not to reason."""
        return self.thinking is False or self.effort == "none"

    @property
    def shown_as(self) -> ReasoningFormat | None:
        """Representation in a chat answer; `None` leaves it as it came."""
        return self.format or self.fallback

    @property
    def field(self) -> FieldName | None:
        """Name of the field with reasoning text in a chat answer, where one is named."""
        shown = self.shown_as
        return shown if shown in FIELDS else None


def read_wish(outside: Outside, body: Mapping[str, Any], *, fallback: FieldName | None = None) -> ReasoningWish | None:
    """The wish of a request; `None` when it has none.

    Raises: `InvalidRequest` for a word that is none of ours.
    """
    sources = []
    query = outside.query
    if query and (b"thinking" in query or b"reasoning_" in query or b"%" in query):
        sources.append(_of_query(query))
    beside = {_HEADERS[name]: value for name, value in outside.headers if name in _HEADERS}
    if beside:
        sources.append(_checked({name: value.decode("latin-1") for name, value in beside.items()}))
    if "reasoning_format" in body or "thinking" in body or "extra_body" in body:
        sources.append(_of_body(body))
    wish = _merged([source for source in sources if source != _NOTHING])
    if fallback is not None:
        return ReasoningWish(fallback=fallback) if wish is None else replace(wish, fallback=fallback)
    return wish


_NOTHING = ReasoningWish()


def _merged(sources: list[ReasoningWish]) -> ReasoningWish | None:
    """The strongest source first. The first that says whether to reason, be it by an effort, has decided that."""
    if not sources:
        return None
    shown = next((source.format for source in sources if source.format is not None), None)
    thinking, effort = None, None
    for source in sources:
        if thinking is None and effort is None:
            if source.thinking is False:
                return ReasoningWish(False, shown)
            thinking, effort = source.thinking, source.effort
        elif effort is None and source.effort != "none":
            effort = source.effort
    return ReasoningWish(thinking, shown, effort)


def _of_query(query: bytes) -> ReasoningWish:
    # of a repeated parameter the last value counts
    return _checked({name: value for name, value in parse_qsl(query.decode("latin-1")) if name in _NAMES})


def _checked(said: Mapping[str, str]) -> ReasoningWish:
    thinking = said.get("thinking", "").strip().lower()
    shown = said.get("reasoning_format", "").strip().lower()
    effort = said.get("reasoning_effort", "").strip().lower()
    if thinking and thinking not in _YES and thinking not in _NO:
        raise _wrong("thinking", (*_YES, *_NO))
    if shown and shown not in FORMATS:
        raise _wrong("reasoning_format", FORMATS)
    if effort and effort != "default" and effort not in EFFORTS:
        raise _wrong("reasoning_effort", EFFORTS)
    return ReasoningWish(
        (thinking in _YES) if thinking else None,
        shown or None,
        effort if effort and effort != "default" else None,
    )


def _of_body(body: Mapping[str, Any]) -> ReasoningWish:
    found = ReasoningWish()
    inner = body.get("extra_body")
    for place in (body, inner if isinstance(inner, dict) else {}):
        thinking = place.get("thinking")
        if found.thinking is None and type(thinking) is bool:
            found = replace(found, thinking=thinking)
        shown = place.get("reasoning_format")
        if found.format is None and shown is not None:
            if not isinstance(shown, str) or (shown not in FORMATS and shown not in _GROQ):
                raise _wrong("reasoning_format", FORMATS)
            found = replace(found, format=_GROQ.get(shown, cast(ReasoningFormat, shown)))
    return found


def _wrong(param: str, words: tuple[str, ...]) -> InvalidRequest:
    return InvalidRequest(f"{param} must be one of {', '.join(words)}", param=param, code="invalid_value")


# What is ours alone.


def without_own(body: Mapping[str, Any]) -> JsonObject:
    """`body` without the fields that are ours and no vendor's; the same object where it has none."""
    own = [name for name in ("reasoning_format", "thinking") if name in body and _is_own(name, body[name])]
    inner = body.get("extra_body")
    edited = without_own(inner) if isinstance(inner, dict) else inner
    if not own and edited is inner:
        return cast(JsonObject, body)
    rest = {name: value for name, value in body.items() if name not in own}
    if edited is not inner:
        rest["extra_body"] = edited
        if not edited:
            del rest["extra_body"]
    return rest


def _is_own(name: str, value: object) -> bool:
    return name == "reasoning_format" or type(value) is bool
