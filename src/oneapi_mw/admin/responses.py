"""`/v1/responses/{id}` and `/v1/conversations`: what is stored for a key, in OpenAI's shapes.

Runs behind `AuthMiddleware`; errors are raised, for the stage outside to answer. What belongs to another key is not
found, exactly as what never was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from oneapi_mw.admin.envelope import HEADERS
from oneapi_mw.admin.routing import Router, route
from oneapi_mw.errors import GatewayError, InvalidJson, InvalidRequest, NotFound, NotImplementedByGateway
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.middleware.body import BodyLimits, ClientDisconnected, read_body
from oneapi_mw.middleware.history import (
    Histories,
    StateOptions,
    conversation_not_found,
    new_ids,
    owner_of,
    response_not_found,
    state_errors,
)
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.store.base import ResponseStates
from oneapi_mw.store.state_records import ConversationRecord, ItemRange, ItemRecord, Owner
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.response_state import CONVERSATION, ITEM, RESPONSE, SELECTOR, Kept, is_ours, is_usable, normal

RESPONSES_PATH: Final = "/v1/responses/"
CONVERSATIONS_PATH: Final = "/v1/conversations"
PAGE, LONGEST_PAGE = 20, 100
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512
_TRUE, _FALSE = frozenset({"true", "1", "t"}), frozenset({"false", "0", "f", ""})


def serves(path: str) -> bool:
    """Whether a path below the mount is one of these."""
    return path.startswith((RESPONSES_PATH, CONVERSATIONS_PATH + "/")) or path == CONVERSATIONS_PATH


def build_response_api(
    states: ResponseStates, options: StateOptions | None = None, *, clock: Callable[[], float] = time.time
) -> ASGIApp:
    """The app for the paths that `serves` names. Reads `PRINCIPAL`. Args: clock: Unix seconds."""
    options = options or StateOptions()
    responses, talks = _Responses(states, options), _Conversations(states, options, clock)
    one, items = CONVERSATIONS_PATH + "/{id}", CONVERSATIONS_PATH + "/{id}/items"
    return Router(
        [
            route("GET", RESPONSES_PATH + "{id}", responses.get),
            route("DELETE", RESPONSES_PATH + "{id}", responses.delete),
            route("POST", RESPONSES_PATH + "{id}/cancel", responses.cancel),
            route("GET", RESPONSES_PATH + "{id}/input_items", responses.input_items),
            route("POST", CONVERSATIONS_PATH, talks.create),
            route("GET", one, talks.get),
            route("POST", one, talks.update),
            route("DELETE", one, talks.delete),
            route("POST", items, talks.append),
            route("GET", items, talks.items),
            route("GET", items + "/{item}", talks.item),
            route("DELETE", items + "/{item}", talks.delete_item),
        ]
    )


class _Surface:
    """What both resources share."""

    def __init__(self, states: ResponseStates, options: StateOptions) -> None:
        self._states = states
        self._options = options

    def _owner(self, request: Request, missing: GatewayError) -> Owner:
        """Whom the request is for. Raises `missing` when nothing is remembered for them."""
        principal = PRINCIPAL.get(request.scope)
        if self._options.shadow or not self._options.admits(principal):
            raise missing
        return owner_of(principal)


class _Responses(_Surface):
    def __init__(self, states: ResponseStates, options: StateOptions) -> None:
        super().__init__(states, options)
        self._histories = Histories(states, options)

    async def get(self, request: Request) -> Response:
        stream = request.query_params.get("stream", "").lower()
        if stream not in _TRUE | _FALSE:
            raise InvalidRequest("stream must be true or false", param="stream", code="invalid_query_parameter")
        if stream in _TRUE:
            raise InvalidRequest(
                "A stored response is whole and is not streamed again: leave stream out",
                param="stream",
                code="invalid_query_parameter",
            )
        return _reply((await self._kept(request)).response)

    async def delete(self, request: Request) -> Response:
        owner, response_id = self._asked(request)
        with state_errors():
            if not await self._states.delete(owner, response_id):
                raise response_not_found(response_id)
        return _reply({"id": response_id, "object": "response.deleted", "deleted": True})

    async def cancel(self, request: Request) -> Response:
        response_id = request.path_params["id"]
        if self._options.passthrough and not response_id.startswith(RESPONSE):
            raise NotImplementedByGateway("Work in the background cannot be cancelled through this gateway")
        await self._kept(request)
        raise InvalidRequest(
            "The response is complete: only work in the background can be cancelled", code="invalid_operation"
        )

    async def input_items(self, request: Request) -> Response:
        """The items the request brought itself, newest first unless asked otherwise."""
        which = _range(request, descending=True)
        items = (await self._kept(request)).input
        if which.descending:
            items = items[::-1]
        if which.after is not None:
            edges = [place for place, item in enumerate(items) if item["id"] == which.after]
            items = items[edges[0] + 1 :] if edges else []
        return _listed(items, which)

    def _asked(self, request: Request) -> tuple[Owner, str]:
        response_id = request.path_params["id"]
        owner = self._owner(request, response_not_found(response_id))
        if not is_ours(response_id, RESPONSE):
            raise response_not_found(response_id)
        return owner, response_id

    async def _kept(self, request: Request) -> Kept:
        owner, response_id = self._asked(request)
        with state_errors():
            links = await self._states.links(owner, response_id, most=1)
            kept = await self._histories.kept(owner, links)
        if not kept:
            raise response_not_found(response_id)
        return kept[0]


class _Conversations(_Surface):
    def __init__(self, states: ResponseStates, options: StateOptions, clock: Callable[[], float]) -> None:
        super().__init__(states, options)
        self._clock = clock

    async def create(self, request: Request) -> Response:
        owner = self._owner(request, NotFound("Conversations are not kept here"))
        body = await self._body(request)
        metadata = _metadata(body)
        with state_errors():
            record = await self._states.create_conversation(
                owner,
                new_ids(CONVERSATION, 1)[0],
                metadata=dumps(metadata).decode(),
                items=_records(_items(body.get("items"))),
                expires_at=self._expiry(),
                limits=self._options.conversation_limits,
            )
        return _conversation(record)

    async def get(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        with state_errors():
            record = await self._states.conversation(owner, conversation_id)
        return _conversation(_found(record, conversation_id))

    async def update(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        metadata = dumps(_metadata(await self._body(request))).decode()
        with state_errors():
            record = await self._states.set_metadata(owner, conversation_id, metadata)
        return _conversation(_found(record, conversation_id))

    async def delete(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        with state_errors():
            if not await self._states.delete_conversation(owner, conversation_id):
                raise conversation_not_found(conversation_id)
        return _reply({"id": conversation_id, "object": "conversation.deleted", "deleted": True})

    async def append(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        body = await self._body(request)
        if not isinstance(body.get("items"), list):
            raise InvalidRequest("items is required: a list of items", param="items", code=SELECTOR)
        items = _items(body["items"])
        with state_errors():
            there = await self._states.append(
                owner,
                conversation_id,
                _records(items),
                expires_at=self._expiry(),
                limits=self._options.conversation_limits,
            )
        if not there:
            raise conversation_not_found(conversation_id)
        return _listed(items, ItemRange())

    async def items(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        which = _range(request, descending=False)
        assert which.limit is not None
        one_more = ItemRange(which.after, which.limit + 1, which.descending)
        with state_errors():
            found = await self._states.items(owner, conversation_id, one_more)
        if found is None:
            raise conversation_not_found(conversation_id)
        return _listed([loads(item.content) for item in found], which)

    async def item(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        with state_errors():
            found = await self._states.item(owner, conversation_id, _item_id(request))
        if found is None:
            raise _item_not_found(request)
        return _reply(loads(found.content))

    async def delete_item(self, request: Request) -> Response:
        owner, conversation_id = self._asked(request)
        item_id = _item_id(request)
        with state_errors():
            if not await self._states.delete_item(owner, conversation_id, item_id):
                raise _item_not_found(request)
        return _reply({"id": item_id, "object": "conversation.item.deleted", "deleted": True})

    def _asked(self, request: Request) -> tuple[Owner, str]:
        conversation_id = request.path_params["id"]
        owner = self._owner(request, conversation_not_found(conversation_id))
        if not is_ours(conversation_id, CONVERSATION):
            raise conversation_not_found(conversation_id)
        return owner, conversation_id

    def _expiry(self) -> int:
        return self._options.conversation_expiry(int(self._clock() * 1000))

    async def _body(self, request: Request) -> JsonObject:
        limits = BodyLimits(max_bytes=self._options.max_record_bytes)
        try:
            raw = await read_body(request.scope, request.receive, limits)
            body = loads(raw or b"{}")
        except ClientDisconnected:
            raise InvalidRequest("The request ended in the middle of its body") from None
        except ValueError:
            raise InvalidJson("The request body is not valid JSON") from None
        if not isinstance(body, dict):
            raise InvalidRequest("The request body must be a JSON object")
        return body


def _reply(body: Any) -> Response:
    """`body` as JSON, with whatever a client or a model has put into it."""
    return Response(dumps(body), 200, HEADERS, "application/json")


# What comes in.


def _metadata(body: JsonObject) -> dict[str, str]:
    metadata = body.get("metadata")
    if metadata is None:
        return {}
    fits = (
        isinstance(metadata, dict)
        and len(metadata) <= MAX_METADATA
        and all(
            len(key) <= MAX_METADATA_KEY and isinstance(value, str) and len(value) <= MAX_METADATA_VALUE
            for key, value in metadata.items()
        )
    )
    if not fits:
        raise InvalidRequest(
            f"metadata must be an object of at most {MAX_METADATA} strings, with keys of at most {MAX_METADATA_KEY} "
            f"and values of at most {MAX_METADATA_VALUE} characters",
            param="metadata",
        )
    return dict(metadata)


def _items(value: object) -> list[JsonObject]:
    """Items in the form they are kept in. Raises `InvalidRequest` for what cannot be one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest("items must be a list", param="items", code=SELECTOR)
    for index, item in enumerate(value):
        typed = isinstance(item, dict) and isinstance(item.get("type"), str)
        message = isinstance(item, dict) and item.get("type") in (None, "message")
        if message and not (isinstance(item.get("role"), str) and isinstance(item.get("content"), (str, list))):
            raise InvalidRequest(f"items[{index}] must have a role and content", param=f"items[{index}]", code=SELECTOR)
        if not (typed or message) or item.get("type") == "item_reference":
            raise InvalidRequest(
                f"items[{index}] must be an item with a type, like message or function_call_output",
                param=f"items[{index}]",
                code=SELECTOR,
            )
    return [normal(item, item_id) for item, item_id in zip(value, new_ids(ITEM, len(value)), strict=True)]


def _records(items: Sequence[JsonObject]) -> list[ItemRecord]:
    return [ItemRecord(item["id"], dumps(item)) for item in items]


def _range(request: Request, *, descending: bool) -> ItemRange:
    query = request.query_params
    limit, order = query.get("limit", str(PAGE)), query.get("order", "desc" if descending else "asc")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 0 < int(limit) <= LONGEST_PAGE):
        raise InvalidRequest(
            f"limit must be a number from 1 to {LONGEST_PAGE}", param="limit", code="invalid_query_parameter"
        )
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be asc or desc", param="order", code="invalid_query_parameter")
    after = query.get("after")
    if after is not None and not is_usable(after):
        raise InvalidRequest("after must be the id of an item", param="after", code="invalid_query_parameter")
    return ItemRange(after, int(limit), order == "desc")


# What goes out.


def _found(record: ConversationRecord | None, conversation_id: str) -> ConversationRecord:
    if record is None:
        raise conversation_not_found(conversation_id)
    return record


def _item_id(request: Request) -> str:
    item_id: str = request.path_params["item"]
    if not is_usable(item_id):
        raise _item_not_found(request)
    return item_id


def _item_not_found(request: Request) -> NotFound:
    conversation_id, item_id = request.path_params["id"], request.path_params["item"]
    return NotFound(
        f"Item with id {item_id!r} not found in conversation {conversation_id!r}", code="conversation_not_found"
    )


def _conversation(record: ConversationRecord) -> Response:
    return _reply(
        {
            "id": record.id,
            "object": "conversation",
            "created_at": record.created_at // 1000,
            "metadata": loads(record.metadata.encode()),
        }
    )


def _listed(items: Sequence[JsonObject], which: ItemRange) -> Response:
    """A page of `items`, which begin where it does."""
    page = list(items[: which.limit])
    body: JsonObject = {"object": "list", "data": page, "has_more": len(items) > len(page)}
    if page:
        body |= {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
    return _reply(body)
