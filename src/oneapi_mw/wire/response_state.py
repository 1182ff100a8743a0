"""What the gateway remembers for upstreams that remember nothing: answers, conversations and their items.

Only the outer shape of Responses is read here, so that nobody has to load the codec to know of it. Our ids begin
in a way no vendor's do: what continues an answer tells by its id whether we have it or an upstream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

from oneapi_mw.canonical.phases import Started
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.framing.sse import parse_block

if TYPE_CHECKING:
    from oneapi_mw.canonical.events import Event

NAME = "openai_responses"
RESPONSE, CONVERSATION, ITEM = "resp_oa", "conv_oa", "item_oa"
"""How our ids begin; 32 hexadecimal digits follow."""
MAX_ID_CHARS = 64
ANSWERED = ("completed", "incomplete")
SELECTOR = "invalid_state_selector"
"""Error code of a request whose state cannot be told."""

_DIGITS = re.compile("[0-9a-f]{32}")
_TERMINAL = ("response.completed", "response.incomplete")
_WITH_STATUS = frozenset({"message", "function_call", "function_call_output"})
_SELECTORS = ("previous_response_id", "conversation")


def is_ours(value: str, prefix: str) -> bool:
    """Whether an id can be one that we made."""
    return value.startswith(prefix) and _DIGITS.fullmatch(value, len(prefix)) is not None


def is_usable(value: object) -> TypeGuard[str]:
    """Whether an id that others made can be stored and looked for."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isascii() and value.isprintable()


@immutable
class Asked:
    """What a request wants remembered."""

    previous: str | None = None
    conversation: str | None = None
    references: tuple[str, ...] = ()
    """Ids of items that the input only names."""
    keep: bool = False

    @property
    def remembers(self) -> bool:
        """Whether anything said before is part of the request."""
        return self.previous is not None or self.conversation is not None or bool(self.references)


def asked_of(body: Mapping[str, Any]) -> Asked:
    """Raises `InvalidRequest` for a selector that selects nothing."""
    conversation = body.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
        if not isinstance(conversation, str):
            raise InvalidRequest("conversation.id must be a string", param="conversation.id", code=SELECTOR)
    references = []
    for index, item in enumerate(own_items(body)):
        if item.get("type") == "item_reference":
            if not isinstance(item.get("id"), str):
                raise InvalidRequest(f"input[{index}].id must be a string", param=f"input[{index}].id", code=SELECTOR)
            references.append(item["id"])
    # Work in the background has no end that passes by here.
    keep = body.get("store") is not False and not body.get("background")
    return Asked(body.get("previous_response_id"), conversation, tuple(references), keep)


def own_items(body: Mapping[str, Any]) -> list[JsonObject]:
    """The items that a request brings itself."""
    value = body.get("input")
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return value if isinstance(value, list) else []


def expanded(body: JsonObject, history: Sequence[JsonObject], own: Sequence[JsonObject]) -> JsonObject:
    """`body` with all it stands for said in full, in the order of its members."""
    rest = {name: value for name, value in body.items() if name not in _SELECTORS and name != "input"}
    return {**rest, "input": [*history, *own]}


def resolved(own: Sequence[JsonObject], known: Mapping[str, JsonObject]) -> list[JsonObject]:
    """`own` with the items that it names in place of their names; unknown names stay."""
    return [known.get(item["id"], item) if item.get("type") == "item_reference" else item for item in own]


# Items as they are kept, and as they are sent again.


def normal(item: JsonObject, item_id: str) -> JsonObject:
    """An item in the form that answers and lists have; `item_id` is for one without a usable id."""
    kind, content, known = item.get("type"), item.get("content"), item.get("id")
    made: JsonObject = {"id": known if is_usable(known) else item_id, "type": kind or "message"}
    made |= {name: value for name, value in item.items() if name not in ("id", "type")}
    if made["type"] == "message" and isinstance(content, str):
        made["content"] = [_text_part(item.get("role"), content)]
    if made["type"] in _WITH_STATUS and not made.get("status"):
        made["status"] = "completed"
    return made


def _text_part(role: object, text: str) -> JsonObject:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": []}
    return {"type": "input_text", "text": text}


def replayed(items: Iterable[JsonObject]) -> list[JsonObject]:
    """Items to send upstream again. No vendor would take our ids for its own."""
    return [_without_our_id(item) for item in items]


def _without_our_id(item: JsonObject) -> JsonObject:
    item_id = item.get("id")
    if not isinstance(item_id, str) or not item_id.startswith(ITEM):
        return item
    return {name: value for name, value in item.items() if name != "id"}


def without_bound(items: Sequence[JsonObject]) -> list[JsonObject]:
    """Items without reasoning that only the account it was made in can look up."""
    return [item for item in items if item.get("type") != "reasoning" or item.get("encrypted_content")]


# What is kept of an answer.


@immutable
class Kept:
    """One turn: what was asked, and the whole answer."""

    input: list[JsonObject]
    response: JsonObject

    @staticmethod
    def read(content: bytes) -> Kept:
        found = loads(content)
        return Kept(found["input"], found["response"])

    def written(self) -> bytes:
        return dumps({"input": self.input, "response": self.response})

    @property
    def output(self) -> list[JsonObject]:
        return output_items(self.response)

    def history(self) -> list[JsonObject]:
        """What a request that continues the turn has to repeat."""
        return replayed([*self.input, *said(self.response)])


def output_items(response: Mapping[str, Any]) -> list[JsonObject]:
    output = response.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def said(response: Mapping[str, Any]) -> list[JsonObject]:
    """The output as it can be sent back: vendors refuse reasoning that an end of tokens has parted from what it
    was for."""
    output = output_items(response)
    while output and output[-1].get("type") == "reasoning":
        output.pop()
    return output


def item_ids(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Those that can be kept."""
    for item in items:
        if is_usable(item.get("id")):
            yield item["id"]


# The answer on its way out.


@immutable
class Signature:
    """What an answer goes by at the client, which is not what its upstream calls it. Without an id it keeps its own."""

    id: str | None
    asked: Asked

    def on_response(self, response: JsonObject) -> JsonObject:
        signed = dict(response)
        if self.id is not None:
            signed["id"] = self.id
        if self.asked.previous is not None:
            signed["previous_response_id"] = self.asked.previous
        if self.asked.conversation is not None:
            signed["conversation"] = {"id": self.asked.conversation}
        return signed

    def on_events(self, events: Sequence[Event]) -> Sequence[Event]:
        if self.id is None:
            return events
        return [replace(event, id=self.id) if isinstance(event, Started) else event for event in events]

    def on_bytes(self, raw: bytes, upstream_id: object) -> bytes:
        """The same in the bytes of an answer or of events, every other byte as it came. Quotes within a string are
        escaped, so nothing that was said is taken for an id."""
        if self.id is not None and upstream_id:
            raw = raw.replace(dumps(upstream_id), dumps(self.id))
        if self.asked.previous is not None:
            raw = _filled(raw, b"previous_response_id", dumps(self.asked.previous))
        if self.asked.conversation is not None:
            raw = _filled(raw, b"conversation", dumps({"id": self.asked.conversation}))
        return raw


def _filled(raw: bytes, name: bytes, value: bytes) -> bytes:
    for colon in (b":", b": "):
        raw = raw.replace(b'"%s"%snull' % (name, colon), b'"%s"%s%s' % (name, colon, value))
    return raw


def terminal_response(raw: bytes) -> JsonObject | None:
    """The whole response in the event that ends a successful stream; `None` when it is not in `raw`."""
    for event in reversed(parse_block(raw)):
        try:
            found = loads(event.data)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("type") in _TERMINAL and isinstance(found.get("response"), dict):
            response: JsonObject = found["response"]
            return response
    return None
