"""Identifiers of calls, items and answers, made legal for a wire that is stricter than the one they came from.

Everything is a pure function of the id it replaces: a call and its result agree without a table, and a history that
grows keeps the ids it had, so that prompt caches stay warm.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

OPENAI_LIMIT = 64
"""Of `tool_calls[].id`, `call_id` and item ids."""
BEDROCK_LIMIT = 64

_KEPT_CHARS = 23
_DIGEST_CHARS = 16
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_MISTRAL = re.compile(r"[A-Za-z0-9]{9}")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_THOUGHT = "__thought__"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def anthropic_id(call_id: str, *, limit: int | None = None) -> str:
    """`call_id` as Anthropic takes it: letters, digits, `_` and `-`. Bedrock also has a limit of characters."""
    if call_id and not _ILLEGAL.search(call_id) and (limit is None or len(call_id) <= limit):
        return call_id
    return _replaced(call_id)


def openai_id(call_id: str, *, limit: int = OPENAI_LIMIT) -> str:
    """`call_id` as OpenAI takes it: any text that is short enough. Older deployments and Copilot take 40 characters."""
    return call_id if 0 < len(call_id) <= limit else _replaced(call_id)


def mistral_id(call_id: str) -> str:
    """`call_id` as Mistral takes it: exactly nine letters and digits."""
    if _MISTRAL.fullmatch(call_id):
        return call_id
    number, letters = int(_digest(call_id), 16), ""
    for _ in range(9):
        number, place = divmod(number, len(_BASE62))
        letters += _BASE62[place]
    return letters


def _replaced(call_id: str) -> str:
    """40 characters: what could be kept of the id for people to recognise, and a digest of all of it."""
    return f"{_ILLEGAL.sub('', call_id)[:_KEPT_CHARS]}_{_digest(call_id)[:_DIGEST_CHARS]}"


def unique_id(call_id: str, taken: Collection[str]) -> str:
    """`call_id`, or with the first suffix `_2`, `_3`, ... that is not taken."""
    unique, number = call_id, 2
    while unique in taken:
        unique = f"{call_id}_{number}"
        number += 1
    return unique


def synthetic_id(*place: object) -> str:
    """The id of a call whose wire has none: the same for the same place (turn, call, name), whatever follows."""
    return "call_" + _digest("\0".join(map(str, place)))[:24]


def without_composite(call_id: str) -> str:
    """The call's own part of an id into which another gateway packed an item id (`x|fc_y`) or a signature
    (`x__thought__y`)."""
    call_id = call_id.partition(_THOUGHT)[0] or call_id
    return call_id.partition("|")[0] or call_id


def packed_signature(call_id: str) -> str | None:
    """The signature another gateway packed into a call's id, if there is one."""
    return call_id.partition(_THOUGHT)[2] or None


def made_id(prefix: str, seed: str, length: int, *, hexadecimal: bool = False) -> str:
    """`prefix` and `length` characters made from `seed`: an id for an answer whose upstream told none of this kind.

    The characters are letters and digits, or hexadecimal digits. At most 48 characters.
    """
    digest = hashlib.sha512(seed.encode("utf-8", "surrogatepass")).hexdigest()
    if hexadecimal:
        return prefix + digest[:length]
    number, letters = int(digest, 16), ""
    for _ in range(length):
        number, place = divmod(number, len(_BASE62))
        letters += _BASE62[place]
    return prefix + letters
