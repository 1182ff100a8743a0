"""`/v1/responses/{id}` and `/v1/conversations`, as official clients read them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.conversations import (
    Conversation,
    ConversationDeletedResource,
    ConversationItemList,
)
from openai.types.responses import Response, ResponseItemList
from starlette.middleware import Middleware

from oneapi_mw.admin.responses import build_response_api, serves
from oneapi_mw.errors import StoreUnavailable
from oneapi_mw.middleware.auth import AuthMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.middleware.history import DAY_MS, NEVER, StateOptions
from oneapi_mw.pipeline import build
from oneapi_mw.store.memory import MemoryStore
from oneapi_mw.store.state_records import Owner, ResponseLink, ResponseRecord
from oneapi_mw.wire.response_state import Kept
from tests.relay.stack import Keys, principal
from tests.support.harness import Client, Exchanged, call, http_scope

ADA = Owner(1, 1)
RESPONSE = "resp_oa" + "a" * 32
HELLO: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
WHOLE: dict[str, Any] = {
    "id": RESPONSE,
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "small",
    "output": [
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Hi \ud83d", "annotations": []}]}
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}  # fmt: skip


class Api:
    """The endpoints behind their stages, over a store in memory."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_800_000_000.0
        self.states = MemoryStore(clock=lambda: self.now).responses
        keys = {
            "ada": principal(),
            "bob": principal(user_id=2, user_uuid="u-2", token_id=2, token_uuid="t-2"),
            "ada2": principal(token_id=3, token_uuid="t-3"),
        }
        api = build_response_api(self.states, StateOptions(**options), clock=lambda: self.now)
        auth = Middleware(AuthMiddleware, principals=Keys(keys))
        self.app = build(api, [Middleware(ExchangeMiddleware), Middleware(ErrorsMiddleware), auth])

    async def __call__(
        self, method: str, path: str, body: Any = None, *, key: str = "ada", query: str = "", root_path: str = ""
    ) -> Exchanged:
        assert serves(path)
        headers = {"authorization": f"Bearer sk-{key}"}
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return await call(self.app, method, path, body=data, headers=headers, query=query.encode(), root_path=root_path)

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        exchanged = await self(method, path, body, **options)
        assert exchanged.status == 200, exchanged.body
        return exchanged.json()

    async def keep(self, *items: dict[str, Any]) -> None:
        content = Kept(list(items) or [{"id": "item_1", **HELLO}], WHOLE).written()
        now = int(self.now * 1000)
        link = ResponseLink(RESPONSE, None, None, 0, 1, 2, len(content), now, now + 30 * DAY_MS)
        await self.states.add(ADA, ResponseRecord(link, content), most=10)

    async def talk(self, *items: dict[str, Any], **members: Any) -> str:
        made = await self.ok("POST", "/v1/conversations", {"items": list(items), **members})
        return str(made["id"])


def refused(exchanged: Exchanged) -> tuple[int, str]:
    error = exchanged.json()["error"]
    assert error["message"]
    return exchanged.status, error["code"]


def say(text: str, **members: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text, **members}


def words(listed: Any) -> list[str]:
    return [item["content"][0]["text"] for item in listed["data"]]


# --- responses -----------------------------------------------------------------------------------------------------


async def test_a_response_is_told_as_it_was() -> None:
    api = Api()
    await api.keep()
    for query in ("", "stream=false", "include=x"):
        exchanged = await api("GET", f"/v1/responses/{RESPONSE}", query=query)
        assert b"Hi \\ud83d" in exchanged.body
        assert int(exchanged.headers["content-length"]) == len(exchanged.body)
        assert exchanged.headers["cache-control"] == "no-store"
    Response.model_validate_json(exchanged.body.replace(b"\\ud83d", b""))


async def test_below_a_mount() -> None:
    api = Api()
    await api.keep()
    assert (await api("GET", f"/v1/responses/{RESPONSE}", root_path="/llm")).status == 200


@pytest.mark.parametrize("value", ["true", "1", "TRUE", "maybe"])
async def test_a_response_is_not_streamed_again(value: str) -> None:
    api = Api()
    await api.keep()
    found = await api("GET", f"/v1/responses/{RESPONSE}", query=f"stream={value}")
    assert refused(found) == (400, "invalid_query_parameter")


async def test_a_response_is_deleted_once() -> None:
    api = Api()
    await api.keep()
    deleted = await api.ok("DELETE", f"/v1/responses/{RESPONSE}")
    assert deleted == {"id": RESPONSE, "object": "response.deleted", "deleted": True}
    for method in ("DELETE", "GET"):
        assert refused(await api(method, f"/v1/responses/{RESPONSE}")) == (404, "response_not_found")


async def test_nothing_runs_that_could_be_cancelled() -> None:
    api = Api()
    await api.keep()
    assert refused(await api("POST", f"/v1/responses/{RESPONSE}/cancel")) == (400, "invalid_operation")
    assert refused(await api("POST", "/v1/responses/resp_x/cancel")) == (404, "response_not_found")
    elsewhere = await Api(passthrough=True)("POST", "/v1/responses/resp_x/cancel")
    assert refused(elsewhere) == (501, "api_not_implemented")


async def test_the_items_of_a_request_are_listed_newest_first() -> None:
    api = Api()
    await api.keep(*({"id": f"item_{number}", **HELLO} for number in range(5)))
    path = f"/v1/responses/{RESPONSE}/input_items"
    listed = await api.ok("GET", path, query="limit=2")
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("item_4", "item_3", True)
    ResponseItemList.model_validate(listed)
    listed = await api.ok("GET", path, query="order=asc&after=item_2")
    assert ([item["id"] for item in listed["data"]], listed["has_more"]) == (["item_3", "item_4"], False)
    assert await api.ok("GET", path, query="after=item_9") == {"object": "list", "data": [], "has_more": False}


RESPONSE_CALLS = [
    ("GET", "/v1/responses/{}"),
    ("DELETE", "/v1/responses/{}"),
    ("POST", "/v1/responses/{}/cancel"),
    ("GET", "/v1/responses/{}/input_items"),
]


@pytest.mark.parametrize(("method", "path"), RESPONSE_CALLS)
async def test_responses_of_others_are_not_found(method: str, path: str) -> None:
    api = Api()
    await api.keep()
    foreign = [await api(method, path.format(RESPONSE), key=key) for key in ("bob", "ada2")]
    unknown = await api(method, path.format("resp_oa" + "b" * 32))
    bodies = {
        exchanged.body.split(b"(request id")[0].replace(b"b" * 32, b"a" * 32) for exchanged in (*foreign, unknown)
    }
    assert len(bodies) == 1, "they must not be told apart"
    assert {refused(exchanged) for exchanged in (*foreign, unknown)} == {(404, "response_not_found")}
    assert refused(await api(method, path.format("resp_\0"))) == (404, "response_not_found")
    assert await api.states.read(ADA, [RESPONSE])


async def test_a_response_that_has_expired_is_not_found() -> None:
    api = Api()
    await api.keep()
    api.now += 31 * 86_400
    assert refused(await api("GET", f"/v1/responses/{RESPONSE}")) == (404, "response_not_found")


# --- conversations -------------------------------------------------------------------------------------------------


async def test_the_life_of_a_conversation() -> None:
    api = Api()
    made = await api.ok("POST", "/v1/conversations", {"metadata": {"topic": "cats"}, "items": [say("a")]})
    path = f"/v1/conversations/{made['id']}"
    assert made["id"].startswith("conv_oa")
    assert made == {
        "id": made["id"],
        "object": "conversation",
        "created_at": int(api.now),
        "metadata": {"topic": "cats"},
    }
    Conversation.model_validate(made)
    assert await api.ok("GET", path) == made
    assert await api.ok("POST", path, {"metadata": {"topic": "dogs"}}) == {**made, "metadata": {"topic": "dogs"}}
    deleted = await api.ok("DELETE", path)
    assert deleted == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    ConversationDeletedResource.model_validate(deleted)
    assert refused(await api("GET", path)) == (404, "conversation_not_found")


async def test_a_conversation_may_begin_empty() -> None:
    assert (await Api().ok("POST", "/v1/conversations"))["metadata"] == {}


async def test_items_are_added_listed_and_deleted() -> None:
    api = Api()
    talk = await api.talk(say("a"), {"role": "assistant", "content": "b"})
    path = f"/v1/conversations/{talk}/items"
    result = {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": "12:00",
        "id": "fco_1",
        "status": "completed",
    }
    added = await api.ok("POST", path, {"items": [say("c"), result]})
    assert [item["id"][:7] for item in added["data"]] == ["item_oa", "fco_1"]
    assert added["data"][1] == result

    listed = await api.ok("GET", path, query="limit=3")
    ConversationItemList.model_validate(listed)
    assert (words(listed), listed["has_more"]) == (["a", "b", "c"], True)
    assert listed["data"][1]["content"] == [{"type": "output_text", "text": "b", "annotations": []}]
    listed = await api.ok("GET", path, query=f"after={listed['last_id']}")
    assert (listed["data"], listed["has_more"]) == ([result], False)
    newest = await api.ok("GET", path, query="order=desc&limit=1")
    assert newest["first_id"] == newest["last_id"] == "fco_1"
    assert await api.ok("GET", path, query="after=fco_1") == {"object": "list", "data": [], "has_more": False}

    assert await api.ok("GET", path + "/fco_1") == result
    deleted = await api.ok("DELETE", path + "/fco_1")
    assert deleted == {"id": "fco_1", "object": "conversation.item.deleted", "deleted": True}
    for method in ("GET", "DELETE"):
        for item in ("fco_1", "x" * 65):
            assert refused(await api(method, f"{path}/{item}")) == (404, "conversation_not_found")


CONVERSATION_CALLS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("POST", "", {"metadata": {}}),
    ("DELETE", "", None),
    ("POST", "/items", {"items": [say("x")]}),
    ("GET", "/items", None),
    ("GET", "/items/item_1", None),
    ("DELETE", "/items/item_1", None),
]


@pytest.mark.parametrize(("method", "rest", "body"), CONVERSATION_CALLS)
async def test_conversations_of_others_are_not_found(method: str, rest: str, body: Any) -> None:
    api = Api()
    talk = await api.talk(say("a", id="item_1"), metadata={"topic": "cats"})
    for path, key in ((talk, "bob"), (talk, "ada2"), ("conv_oa" + "b" * 32, "ada"), ("conv_\0", "ada")):
        exchanged = await api(method, f"/v1/conversations/{path}{rest}", body, key=key)
        assert refused(exchanged) == (404, "conversation_not_found")
    record = await api.states.conversation(ADA, talk)
    assert record is not None
    assert (record.item_count, record.metadata) == (1, '{"topic":"cats"}')


@pytest.mark.parametrize(
    "body",
    [
        {"items": [{"role": "user"}]},
        {"items": [{"type": "message", "role": "user", "content": 1}]},
        {"items": [{"type": 1}]},
        {"items": ["a"]},
        {"items": "a"},
        {"items": [{"type": "item_reference", "id": "msg_1"}]},
    ],
    ids=str,
)
async def test_what_is_no_item_is_refused(body: Any) -> None:
    api = Api()
    path = f"/v1/conversations/{await api.talk()}/items"
    assert refused(await api("POST", path, body)) == (400, "invalid_state_selector")
    assert refused(await api("POST", "/v1/conversations", body)) == (400, "invalid_state_selector")
    assert refused(await api("POST", path, {})) == (400, "invalid_state_selector")


@pytest.mark.parametrize(
    "metadata",
    [[], {"a": 1}, {"a" * 65: "b"}, {"a": "b" * 513}, {str(number): "" for number in range(17)}],
    ids=["list", "number", "key", "value", "many"],
)
async def test_metadata_has_limits(metadata: Any) -> None:
    api = Api()
    assert refused(await api("POST", "/v1/conversations", {"metadata": metadata})) == (400, "invalid_request")
    path = f"/v1/conversations/{await api.talk(metadata={'a' * 64: 'b' * 512})}"
    assert refused(await api("POST", path, {"metadata": metadata})) == (400, "invalid_request")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "order=up", "after=%00", "after="])
async def test_pages_that_are_none(query: str) -> None:
    api = Api()
    await api.keep()
    for path in (f"/v1/conversations/{await api.talk()}/items", f"/v1/responses/{RESPONSE}/input_items"):
        assert refused(await api("GET", path, query=query)) == (400, "invalid_query_parameter")


@pytest.mark.parametrize(("body", "code"), [(b"{", "invalid_json"), (b"[]", "invalid_request")])
async def test_bodies_that_are_none(body: bytes, code: str) -> None:
    assert refused(await Api()("POST", "/v1/conversations", body)) == (400, code)


async def test_a_client_that_leaves_within_its_body() -> None:
    api = Api()
    client = Client()
    client.leave()
    await client.receive()  # of its body nothing but the disconnect is left
    scope = http_scope("POST", "/v1/conversations", headers={"authorization": "Bearer sk-ada"})
    await api.app(scope, client.receive, client.send)
    assert client.exchanged.sent == []


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"max_item_count": 2}, {"items": [say("a")] * 3}),
        ({"max_hydrated_bytes": 100}, {"items": [say("a" * 100)]}),
        ({"max_conversations": 0}, {}),
    ],
    ids=["items", "bytes", "conversations"],
)
async def test_limits(options: dict[str, int], body: Any) -> None:
    assert refused(await Api(**options)("POST", "/v1/conversations", body)) == (413, "state_limit_exceeded")


async def test_a_body_may_be_as_long_as_a_record() -> None:
    exchanged = await Api(max_record_bytes=100)("POST", "/v1/conversations", {"items": [say("a" * 100)]})
    assert refused(exchanged) == (413, "request_too_large")


async def test_a_conversation_that_is_being_answered_is_not_written_to() -> None:
    api = Api()
    talk = await api.talk(say("a", id="item_1"))
    await api.states.claim(ADA, talk, holder="request", seconds=60)
    path = f"/v1/conversations/{talk}/items"
    assert refused(await api("POST", path, {"items": [say("b")]})) == (409, "conversation_conflict")
    assert refused(await api("DELETE", path + "/item_1")) == (409, "conversation_conflict")
    assert words(await api.ok("GET", path)) == ["a"]


@pytest.mark.parametrize(("days", "lives"), [(0, True), (2, False)])
async def test_idle_conversations_end_when_the_operator_says_so(days: int, lives: bool) -> None:
    api = Api(conversation_idle_days=days)
    talk = await api.talk(say("a"))
    record = await api.states.conversation(ADA, talk)
    assert record is not None
    assert (record.expires_at == NEVER) is lives
    api.now += 86_400
    await api.ok("POST", f"/v1/conversations/{talk}/items", {"items": [say("b")]})
    api.now += 1.5 * 86_400
    assert (await api("GET", f"/v1/conversations/{talk}")).status == 200
    api.now += 1.5 * 86_400
    assert ((await api("GET", f"/v1/conversations/{talk}")).status == 200) is lives


@pytest.mark.parametrize("options", [{"shadow": True}, {"allowed": frozenset({"user:9"})}], ids=str)
async def test_who_has_no_state_finds_nothing(options: dict[str, Any]) -> None:
    api = Api(**options)
    await api.keep()
    assert refused(await api("GET", f"/v1/responses/{RESPONSE}")) == (404, "response_not_found")
    assert refused(await api("POST", "/v1/conversations", {})) == (404, "not_found")
    assert refused(await api("GET", "/v1/conversations/conv_x")) == (404, "conversation_not_found")


async def test_a_store_that_is_away() -> None:
    api = Api()

    async def away(*args: Any, **options: Any) -> Any:
        raise StoreUnavailable("The database does not answer")

    api.states.links = api.states.conversation = away  # type: ignore[method-assign]
    for path in (f"/v1/responses/{RESPONSE}", "/v1/conversations/conv_oa" + "a" * 32):
        assert refused(await api("GET", path)) == (503, "state_store_unavailable")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", f"/v1/responses/{RESPONSE}"), ("GET", "/v1/conversations"), ("GET", "/v1/responses/a/b"),
     ("GET", f"/v1/responses/{RESPONSE}/cancel")],
)  # fmt: skip
async def test_other_methods_and_paths_are_not_there(method: str, path: str) -> None:
    assert (await Api()(method, path)).status == 404


async def test_a_key_is_needed() -> None:
    assert (await Api()("GET", f"/v1/responses/{RESPONSE}", key="nobody")).status == 401


def test_the_paths_that_are_served() -> None:
    there = ("/v1/responses/x", "/v1/responses/x/cancel", "/v1/conversations", "/v1/conversations/x/items")
    elsewhere = ("/v1/responses", "/v1/conversationsx", "/v1/response", "/api/v1/conversations")
    assert all(map(serves, there))
    assert not any(map(serves, elsewhere))
