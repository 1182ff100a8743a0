"""Arguments of calls between JSON text, which some wires carry, and objects, which others demand.

The canonical model keeps the text as it came. Bad arguments never become `{}`: a tool whose parameters are all
optional would run.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from oneapi_mw.jsontext import deeper_than, dumps, loads
from oneapi_mw.types import JsonObject

MAX_DEPTH = 200
"""Levels of arguments that are taken apart; deeper ones count as malformed."""

_LONG_NUMBER = re.compile(r"\d{16}")
"""What may not fit into 64 bits or a double: read by the slower parser that keeps every digit of an integer."""
_BLANK = " \t\r\n"
_STRUCTURE = re.compile(r'["{}\[\],:]')
_STRING_REST = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NESTING = re.compile(r'["{}\[\]]')
_STRING_MARK = re.compile(r'["\\]')


def parsed(text: str) -> Any:
    """`text` as a JSON value, integers of any length kept. Raises `ValueError`."""
    if not _LONG_NUMBER.search(text):
        return loads(text.encode("utf-8", "surrogatepass"))
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if deeper_than(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def arguments_text(value: object) -> str:
    """Arguments of a wire with objects as text: compact, in their order, every letter as itself."""
    if isinstance(value, str):
        return value
    return "{}" if value is None else dumps(value).decode()


def text_for_clients(text: str) -> str:
    """Arguments for a wire with text. Nothing becomes the empty object, and the empty object that some proxies send
    ahead of the real one is cut."""
    stripped = text.strip()
    if not stripped or stripped == "null":
        return "{}"
    if stripped.startswith("{}") and stripped[2:].lstrip().startswith("{"):
        return stripped[2:].lstrip()
    return text


def history_object(text: str) -> JsonObject:
    """The object for a call of an earlier turn. What is no JSON object is wrapped, so that the model sees it."""
    if not text.strip():
        return {}
    try:
        value = parsed(text)
    except ValueError:
        return {"_raw": text}
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"value": value}


def answer_object(text: str, *, cut: bool = False) -> JsonObject:
    """The object for a call in an answer.

    Args:
        cut: the answer ended before the call was complete: as much as can be read is given.
    """
    stripped = text.strip()
    if not stripped:
        return {}
    try:
        value = parsed(stripped)
    except ValueError:
        found = _last_object(stripped)
        if found is not None:
            return found
        return partial_object(stripped) if cut else {"_malformed_arguments": text}
    if isinstance(value, dict):
        return value
    if isinstance(value, str):  # encoded twice
        try:
            inner = parsed(value)
        except ValueError:
            return {"input": value}
        if isinstance(inner, dict):
            return inner
    return {} if value is None else {"input": value}


def _last_object(text: str) -> JsonObject | None:
    """The last complete object of those `text` begins with, in front of whatever is no object."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    found, place = None, 0
    while place < len(text) and text[place] == "{":
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        if deeper_than(value, MAX_DEPTH):
            break
        found = value
        while place < len(text) and text[place] in _BLANK:
            place += 1
    return found


def partial_object(text: str) -> JsonObject:
    """What is certain of an object that was cut off: every member, or part of one, that is complete."""
    closers: list[str] = []
    safe, safe_closers = 0, ""  # up to where everything is complete, and what closes it there
    last = ""  # the mark before, strings counting as one
    inside_key = False
    place = 0
    while (mark := _STRUCTURE.search(text, place)) is not None:
        char, place = mark[0], mark.end()
        if char == '"':
            inside_key = closers[-1:] == ["}"] and last in ("{", ",")
            rest = _STRING_REST.match(text, place)
            if rest is None:
                break
            place = rest.end()
            if inside_key:
                last = char
                continue
        elif char in "{[":
            closers.append("}" if char == "{" else "]")
        elif char in "}]":
            if not closers or closers.pop() != char:
                break
        elif char == ":":
            last = char
            continue
        last = char
        safe = mark.start() if char == "," else place
        safe_closers = "".join(reversed(closers))
        if not closers:
            break
    try:
        value = parsed(text[:safe] + safe_closers)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class ArgumentsFilter:
    """Argument text on its way to a client that parses what it has been given so far.

    Moves:

        nothing yet    -> white space is held; `{` begins the object; anything else is held to the end
        `{}`           -> held: an object that follows replaces it
        in the object  -> passed on as it comes
        object closed  -> dropped
    """

    __slots__ = ("_depth", "_escaped", "_held", "_quoted", "_state")

    def __init__(self) -> None:
        self._state: Literal["before", "inside", "after", "held"] = "before"
        self._held = ""
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def feed(self, text: str) -> str:
        """What of `text`, and of what was held, can go out now."""
        if self._state == "inside":
            return self._inside(text)
        if self._state == "after":
            return ""
        self._held += text
        return self._begin() if self._state == "before" else ""

    def close(self, *, cut: bool = False) -> str:
        """What is still owed once no more text comes."""
        held, self._held = self._held, ""
        if self._state == "inside" or self._state == "after":
            return ""
        self._state = "after"
        return arguments_text(answer_object(held, cut=cut))

    def _begin(self) -> str:
        ahead = self._held.lstrip(_BLANK)
        if not ahead:
            return ""
        if ahead[0] != "{":
            self._state = "held"
            return ""
        inside = ahead[1:].lstrip(_BLANK)
        if not inside:
            return ""
        if inside[0] == "}":  # empty, unless the real object follows
            rest = inside[1:].lstrip(_BLANK)
            if not rest:
                return ""
            if rest[0] != "{":
                self._state, self._held = "after", ""
                return "{}"
            self._held = rest
            return self._begin()
        self._state, self._held = "inside", ""
        return self._inside(ahead)

    def _inside(self, text: str) -> str:
        place = 0
        while True:
            if self._escaped:  # what follows a backslash means itself
                if place >= len(text):
                    return text
                self._escaped = False
                place += 1
            mark = (_STRING_MARK if self._quoted else _NESTING).search(text, place)
            if mark is None:
                return text
            char, place = mark[0], mark.end()
            if char == "\\":
                self._escaped = True
            elif char == '"':
                self._quoted = not self._quoted
            elif char in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    self._state = "after"
                    return text[:place]


# Free text inside an object: how tools that take text reach a wire that knows only objects.

INPUT = "input"
WRAPPER_OPENS = '{"input":"'
WRAPPER_CLOSES = '"}'


def wrapped_text(text: str) -> JsonObject:
    """The arguments that carry the free text of a custom tool."""
    return {INPUT: text}


def escaped(text: str) -> str:
    """`text` as it stands inside a JSON string."""
    return dumps(text).decode()[1:-1]


def unwrapped_text(arguments: str) -> str:
    """The free text in the arguments of a custom tool; arguments of another shape are the text themselves."""
    try:
        value = parsed(arguments)
    except ValueError:
        return arguments
    if isinstance(value, dict) and isinstance(value.get(INPUT), str):
        return str(value[INPUT])
    return arguments


class TextUnwrapper:
    """`{"input": "..."}`, however it was cut, to the text inside, as it comes.

    Anything that does not begin so is given out at the end, as it is or as `unwrapped_text` reads it.
    """

    _OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
    _SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}  # noqa: RUF012
    _MAX_OPENING = 256

    def __init__(self) -> None:
        self._held = ""
        self._state: Literal["before", "inside", "after", "held"] = "before"

    def feed(self, text: str) -> str:
        if self._state == "after":
            return ""
        self._held += text
        if self._state == "before":
            opening = self._OPENING.match(self._held)
            if opening is None:
                if len(self._held) > self._MAX_OPENING:
                    self._state = "held"
                return ""
            self._held = self._held[opening.end() :]
            self._state = "inside"
        return self._unescape() if self._state == "inside" else ""

    def close(self) -> str:
        held, self._held = self._held, ""
        if self._state in ("inside", "after"):
            return ""
        self._state = "after"
        return unwrapped_text(held)

    def _unescape(self) -> str:
        """The text in front of the closing quote or of an escape that is not all there yet."""
        text, pieces, place = self._held, [], 0
        while True:
            stop = _next_mark(text, place)
            pieces.append(text[place:stop])
            if stop == len(text):
                place = stop
                break
            if text[stop] == '"':
                self._state = "after"
                place = len(text)
                break
            length, piece = self._escape(text, stop)
            if not length:
                place = stop
                break
            pieces.append(piece)
            place = stop + length
        self._held = text[place:]
        return "".join(pieces)

    def _escape(self, text: str, start: int) -> tuple[int, str]:
        """Length and meaning of the escape at `start`; length 0 while it is not all there."""
        kind = text[start + 1 : start + 2]
        if not kind:
            return 0, ""
        if kind != "u":
            return 2, self._SIMPLE.get(kind, kind)
        code = text[start + 2 : start + 6]
        if len(code) < 4:
            return 0, ""
        try:
            unit = int(code, 16)
        except ValueError:
            return 2, kind
        if not 0xD800 <= unit < 0xDC00:
            return 6, chr(unit)
        low = text[start + 6 : start + 12]  # the other half of the character
        if len(low) < 6 and "\\u".startswith(low[:2]):
            return 0, ""
        try:
            second = int(low[2:], 16) if low.startswith("\\u") else 0
        except ValueError:
            second = 0
        if 0xDC00 <= second < 0xE000:
            return 12, chr(0x10000 + (unit - 0xD800 << 10) + second - 0xDC00)
        return 6, "\ufffd"


def _next_mark(text: str, start: int) -> int:
    quote, slash = text.find('"', start), text.find("\\", start)
    places = [place for place in (quote, slash) if place >= 0]
    return min(places) if places else len(text)
