"""Request bodies: JSON whatever the content type, checked against a model, refused in plain sentences."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from oneapi_mw.admin.endpoint import Call
from oneapi_mw.admin.envelope import BadBody, Refusal
from oneapi_mw.errors import RequestTooLarge, UnsupportedContentEncoding
from oneapi_mw.middleware.body import BodyLimits, read_body

MAX_BODY_BYTES = 1024 * 1024
MAX_INTEGER = 2**53 - 1
"""Largest integer a browser shows exactly; it also fits every column."""
MAX_INT32 = 2**31 - 1

_LIMITS = BodyLimits(max_bytes=MAX_BODY_BYTES, timeout=30, allow_gzip=False)


class Body(BaseModel):
    """Base of the bodies. Unknown fields are ignored, so nothing is assigned that a model does not name.

    Types are strict: `"1"`, `1.0` and `true` are not the integer 1. An explicit null is told from an absent field
    by `model_fields_set`.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


B = TypeVar("B", bound=Body)


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""Text that every database can store: the columns of unbounded texts hold more than a whole body."""
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Balance = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Int32 = Annotated[int, Field(ge=0, le=MAX_INT32)]


def _among(*allowed: int) -> AfterValidator:
    """Like `Literal`, which also takes `true` and `1.0` for 1."""
    *most, last = map(str, allowed)
    wanted = f"must be {', '.join(most)} or {last}"

    def check(value: int) -> int:
        if value not in allowed:
            raise ValueError(wanted)
        return value

    return AfterValidator(check)


RoleNumber = Annotated[int, _among(1, 10, 100)]
UserStatusNumber = Annotated[int, _among(1, 2, 3)]
TokenStatusNumber = Annotated[int, _among(1, 2, 3, 4)]
ChannelStatusNumber = Annotated[int, _among(0, 1, 2, 3)]


async def read(call: Call, schema: type[B], *, prefix: str = "invalid parameter") -> B:
    """The body as a `schema`.

    Raises: `BadBody` beginning with `prefix`; `RequestTooLarge`, `RequestTimeout`; `ClientDisconnected`.
    """
    try:
        raw = await read_body(call.request.scope, call.request.receive, _LIMITS)
    except RequestTooLarge:
        raise RequestTooLarge(f"The request body is larger than {MAX_BODY_BYTES} bytes: send less") from None
    except UnsupportedContentEncoding:
        raise UnsupportedContentEncoding("Content-Encoding is not supported here: send the body plain") from None
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadBody(f"{prefix}: the body is not valid JSON") from None
    if not isinstance(parsed, dict):
        raise BadBody(f"{prefix}: the body must be a JSON object, not {_kind(parsed)}")
    return check(parsed, schema, prefix=prefix)


def check(parsed: dict[str, Any], schema: type[B], *, prefix: str) -> B:
    """`parsed` as a `schema`. Raises `Refusal` naming the first field that is wrong and what to write."""
    try:
        return schema.model_validate(parsed)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        raise Refusal(f"{prefix}: {sentence(error)}") from None


_NEEDED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
}


def sentence(error: ErrorDetails) -> str:
    """One validation error in words. The value itself is never quoted: it may be a password."""
    field = ".".join(str(part) for part in error["loc"]) or "the body"
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("int_type", "int_from_float") and isinstance(error["input"], float):
        return f"{field} must be a whole number of at most 64 bits, not a fraction and none with an exponent"
    if kind in _NEEDED:
        return f"{field} must be {_NEEDED[kind]}, not {_kind(error['input'])}"
    match kind:
        case "missing":
            return f"{field} is required"
        case "string_too_long" | "too_long":
            return f"{field} is too long: at most {context['max_length']}"
        case "string_too_short" | "too_short":
            return f"{field} is too short: at least {context['min_length']}"
        case "greater_than_equal":
            return f"{field} must be at least {context['ge']}"
        case "less_than_equal":
            return f"{field} must be at most {context['le']}"
        case "value_error":
            return f"{field} {context['error']}"
        case _:
            return f"{field}: {error['msg']}"


def _kind(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
