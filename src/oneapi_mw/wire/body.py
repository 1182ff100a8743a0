"""JSON bodies of clients: parsed once, within limits that keep every later step linear and shallow."""

from __future__ import annotations

import re
from collections.abc import Iterable

import orjson

from oneapi_mw.errors import InvalidJson, InvalidRequest, RequestTooLarge
from oneapi_mw.jsontext import deeper_than, loads
from oneapi_mw.types import JsonObject

MAX_DEPTH = 64
MAX_ELEMENTS = 200_000
"""Objects, lists and members of a body. Each costs some hundred bytes once parsed."""
MAX_MODEL_BYTES = 256

# Possessive, and matching an unterminated string too: one pass over any input.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_ESCAPED_LETTERS = (b"\\u005", b"\\u006", b"\\u007")
"""How a key of lower-case letters and underscores can be spelled differently. No client needs to."""


def parse_object(raw: bytes) -> JsonObject:
    """The body as an object.

    Raises: `InvalidJson` naming the place, `InvalidRequest` when it is no object, `RequestTooLarge` when it has
    too many elements.
    """
    if len(raw) > MAX_ELEMENTS and _marks(raw) > MAX_ELEMENTS and _marks(_STRING.sub(b"", raw)) > MAX_ELEMENTS:
        raise RequestTooLarge(f"The request body has more than {MAX_ELEMENTS} elements: send less structure")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        try:
            body = loads(raw)  # clients cut emoji in two as well
        except ValueError:
            raise InvalidJson(
                f"The request body is not valid JSON at line {exc.lineno} column {exc.colno}: "
                f"{exc.msg.partition(':')[0]}. Send one JSON object in UTF-8"
            ) from None
    if not isinstance(body, dict):
        raise InvalidRequest('The request body must be a JSON object, like {"model": ...}')
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and deeper_than(body, MAX_DEPTH):
        raise InvalidJson(f"The request body is nested deeper than {MAX_DEPTH} levels: flatten it")
    return body


def _marks(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"{") + raw.count(b"[")


def may_repeat(raw: bytes, keys: Iterable[bytes]) -> bool:
    """Whether one of `keys` (quoted, lower-case letters and underscores) may be in `raw` twice.

    Parsers disagree which of two equal keys counts, so that an upstream could see another model than the one
    that was authorised and priced. Errs on the side of yes: then the body is written anew from what was parsed.
    """
    for key in keys:
        if raw.count(key) > 1:
            return True
    return b"\\u00" in raw and any(escape in raw for escape in _ESCAPED_LETTERS)


def unrepeated(raw: bytes | None, written: bytes, keys: Iterable[bytes]) -> bytes:
    """`raw`, unless one of `keys` may be in it twice (see `may_repeat`): then `written`.

    Args:
        written: what was parsed of `raw`, written anew.
    """
    if raw is None or written == raw:
        return written
    # A member that parsing has dropped took its quotes with it, and only quotes spelled as numbers could make up for
    # these. Counting them costs a third of looking for the keys, one by one.
    if raw.count(b'"') == written.count(b'"') and b"\\u00" not in raw:
        return raw
    return written if may_repeat(raw, keys) else raw


def check_model(model: object, *, code: str) -> str:
    """The model's name, safe to log, to store and to compare byte for byte. Raises `InvalidRequest`."""
    if model is None or model == "":
        raise InvalidRequest("model is required: name the model to use", param="model", code=code)
    if not isinstance(model, str):
        raise InvalidRequest("model must be a string: the name of the model to use", param="model", code=code)
    if not model.isprintable() or model != model.strip() or len(model.encode()) > MAX_MODEL_BYTES:
        raise InvalidRequest(
            f"model must be at most {MAX_MODEL_BYTES} bytes of printable text without spaces around it",
            param="model",
        )
    return model
