"""What hosted tools did, told by every format alike: whole, streamed, and as far as a stream had come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import pytest

from oneapi_mw.usage import NO_TOOLS, Meter, ToolUsage, Usage, with_tools
from oneapi_mw.wire.registry import get_format

Json = dict[str, Any]
RESPONSES, MESSAGES, GEMINI, CHAT = "openai_responses", "anthropic_messages", "gemini", "openai_chat"


def hosted(**calls: int) -> ToolUsage:
    return ToolUsage(tuple(calls.items()))


# Responses.


def ws(status: str | None = "completed", **action: Any) -> Json:
    item = {"type": "web_search_call", "id": "ws"}
    return {**item, **({"status": status} if status else {}), **({"action": action} if action else {})}


def item(kind: str, status: str = "completed", **fields: Any) -> Json:
    return {"type": f"{kind}_call", "id": kind, "status": status, **fields}


def image(status: str = "completed", **fields: Any) -> Json:
    return item("image_generation", status, **{"result": "iVBO", **fields})


def shell(**environment: str) -> Json:
    return item("shell", environment=environment or None)


SEARCHED = ws(type="search", query="q")
ITEMS: list[tuple[str, list[Json], ToolUsage]] = [
    ("none", [], NO_TOOLS),
    ("functions", [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}], NO_TOOLS),
    ("searches", [SEARCHED, ws(), ws(None), ws(type="open_page"), ws(type="find_in_page")], hosted(web_search=3)),
    ("failed search", [ws("failed", type="search"), ws("in_progress"), ws("searching")], NO_TOOLS),
    ("files", [item("file_search"), item("file_search"), item("file_search", "failed")], hosted(file_search=2)),
    ("one container", [item("code_interpreter", container_id="a")] * 3, hosted(code=1)),
    ("containers", [item("code_interpreter", container_id=name) for name in "aba"], hosted(code=2)),
    ("nameless containers", [item("code_interpreter"), item("code_interpreter", container_id=7)], hosted(code=2)),
    ("code that was cut", [item("code_interpreter", "incomplete", container_id="a")], hosted(code=1)),
    ("code that failed", [item("code_interpreter", "failed", container_id="a")], NO_TOOLS),
    ("code after code that failed",
     [item("code_interpreter", "failed", container_id="a"), item("code_interpreter", container_id="a")],
     hosted(code=1)),
    ("shells", [shell(type="container_reference", container_id="a"), shell(type="local"), shell()], hosted(shell=1)),
    ("a shell where code ran",
     [item("code_interpreter", container_id="a"), shell(type="container_reference", container_id="a")],
     hosted(code=1)),
    ("images",
     [image(size="1024x1024", quality="high"), image(size="auto"), image("generating"), image("failed"),
      image(result=None)],
     ToolUsage((("image_generation", 3),), (Meter("images", 1, "1024x1024", "high"), Meter("images", 2)))),
    ("servers", [item("mcp"), item("mcp", error="no"), item("mcp", "failed")], hosted(mcp=1)),
    ("computers", [item("computer"), item("local_shell")], hosted(computer=1)),
]  # fmt: skip


def response(output: list[Json], **fields: Any) -> Json:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    return {"id": "r", "object": "response", "status": "completed", "output": output, "usage": usage, **fields}


def response_events(output: list[Json], final: Json, *, kind: str = "completed") -> list[Json]:
    return [
        {"type": "response.created", "response": response([], status="in_progress", usage=None)},
        *(
            {"type": f"response.output_item.{phase}", "output_index": index, "item": told}
            for index, done in enumerate(output)
            for phase, told in (("added", {**done, "status": "in_progress", "result": None}), ("done", done))
        ),
        {"type": f"response.{kind}", "response": final},
    ]


# Messages.


def asked(call_id: str, name: str, kind: str = "server_tool_use") -> Json:
    return {"type": kind, "id": call_id, "name": name, "input": {}}


def got(call_id: str, kind: str, **content: Any) -> Json:
    return {"type": f"{kind}_tool_result", "tool_use_id": call_id, "content": content or []}


def ran(call_id: str, name: str) -> list[Json]:
    return [asked(call_id, name), got(call_id, name, type=f"{name}_result", stdout="1")]


RUNS: list[tuple[str, list[Json], Json | None, ToolUsage]] = [
    ("none", [], None, NO_TOOLS),
    ("the client's", [asked("a", "bash", "tool_use")], None, NO_TOOLS),
    ("counters", [], {"web_search_requests": 2, "web_fetch_requests": 1}, hosted(web_search=2, web_fetch=1)),
    ("zeros", [], {"web_search_requests": 0}, NO_TOOLS),
    ("a counter nobody knew", [], {"code_execution_requests": 2, "new_tool_requests": 1, "other": 5},
     hosted(code=2, new_tool=1)),
    ("searches nobody counted", [*ran("a", "web_search"), *ran("b", "web_search")], None, hosted(web_search=2)),
    ("searches that were counted", ran("a", "web_search"), {"web_search_requests": 1}, hosted(web_search=1)),
    ("searches that are free", ran("a", "web_search"), {"web_search_requests": 0}, NO_TOOLS),
    ("code",
     [*ran("a", "code_execution"), *ran("b", "bash_code_execution"), *ran("c", "text_editor_code_execution")],
     {"web_search_requests": 0}, hosted(code=3)),
    ("code that failed",
     [asked("a", "code_execution"),
      got("a", "code_execution", type="code_execution_tool_result_error", error_code="unavailable")], None, NO_TOOLS),
    ("code that goes on", [asked("a", "code_execution")], None, NO_TOOLS),
    ("a result nobody asked for", [got("a", "code_execution", type="x")], None, NO_TOOLS),
    ("a search among tools", [asked("a", "tool_search_tool_regex"), got("a", "tool_search", type="x")], None,
     hosted(tool_search=1)),
    ("servers",
     [asked("a", "f", "mcp_tool_use"), {**got("a", "mcp"), "is_error": False},
      asked("b", "f", "mcp_tool_use"), {**got("b", "mcp"), "is_error": True}], None, hosted(mcp=1)),
]  # fmt: skip


def message(content: list[Json], counters: Json | None, **usage: Any) -> Json:
    usage = {"input_tokens": 3, "output_tokens": 4, **usage, **({"server_tool_use": counters} if counters else {})}
    return {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": content,
            "stop_reason": "end_turn", "usage": usage}  # fmt: skip


def message_events(content: list[Json], counters: Json | None) -> list[Json]:
    zeros = dict.fromkeys(counters, 0) if counters else None
    begun: Json = {**message([], None, output_tokens=1, **({"server_tool_use": zeros} if zeros else {}))}
    told: Json = {"output_tokens": 4, **({"server_tool_use": counters} if counters else {})}
    return [
        {"type": "message_start", "message": {**begun, "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        *(
            event
            for index, block in enumerate(content, 1)
            for event in (
                {"type": "content_block_start", "index": index, "content_block": block},
                {"type": "content_block_stop", "index": index},
            )
        ),
        {"type": "message_delta", "delta": {}, "usage": {**told, "output_tokens": 2}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": told},
        {"type": "message_stop"},
    ]


# Gemini.

PAGE: Json = {"web": {"uri": "https://e.org"}}
PLACE: Json = {"maps": {"uri": "https://e.org", "placeId": "p"}}
FETCHED: Json = {"retrievedUrl": "u", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}
LOST: Json = {"retrievedUrl": "v", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR"}
CODE: list[Json] = [
    {"executableCode": {"language": "PYTHON", "code": "1"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
]
GROUNDED: list[tuple[str, str, Json, ToolUsage]] = [
    ("none", "gemini-2.5-flash", {}, NO_TOOLS),
    ("one grounded request", "gemini-2.5-flash", {"groundingMetadata": {"webSearchQueries": ["a", "b"]}},
     hosted(web_search=1)),
    ("each query", "gemini-3-pro-preview", {"groundingMetadata": {"webSearchQueries": ["a", "b", ""]}},
     hosted(web_search=2)),
    ("pages without queries", "gemini-2.5-flash", {"groundingMetadata": {"groundingChunks": [PAGE]}},
     hosted(web_search=1)),
    ("pages without queries, 3", "gemini-3-pro-preview", {"groundingMetadata": {"groundingChunks": [PAGE, PAGE]}},
     hosted(web_search=1)),
    ("nothing found", "gemini-2.5-flash", {"groundingMetadata": {"webSearchQueries": []}}, NO_TOOLS),
    ("maps", "gemini-2.5-flash", {"groundingMetadata": {"groundingChunks": [PLACE, PLACE]}}, hosted(maps=1)),
    ("pages", "gemini-2.5-flash", {"urlContextMetadata": {"urlMetadata": [FETCHED, LOST, FETCHED]}},
     hosted(web_fetch=2)),
    ("code", "gemini-2.5-flash", {"content": {"role": "model", "parts": [*CODE, {"text": "1"}, *CODE]}},
     hosted(code=2)),
    ("code that failed", "gemini-2.5-flash",
     {"content": {"parts": [CODE[0], {"codeExecutionResult": {"outcome": "OUTCOME_FAILED"}}]}}, NO_TOOLS),
    ("underscores", "gemini-2.5-flash",
     {"grounding_metadata": {"web_search_queries": ["a"]}, "content": {"parts": [
         {"code_execution_result": {"outcome": "OUTCOME_OK"}}]}}, hosted(web_search=1, code=1)),
]  # fmt: skip


def gemini(model: str, candidate: Json, **usage: int) -> Json:
    told = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
    content = {"role": "model", "parts": [{"text": "hi"}]}
    return {"candidates": [{"index": 0, "content": content, "finishReason": "STOP", **candidate}],
            "usageMetadata": told, "modelVersion": model}  # fmt: skip


def gemini_events(model: str, candidate: Json) -> list[Json]:
    """Grounding repeats and grows: the last one counts."""
    said, last = gemini(model, {}), gemini(model, candidate)
    del said["candidates"][0]["finishReason"]
    metadata = {key: value for key, value in candidate.items() if not key.startswith("content")}
    early = gemini(model, metadata)
    del early["candidates"][0]["finishReason"]
    return [said, early, last] if metadata else [said, last]


# Chat.

CITED: Json = {"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}
ANSWERS: list[tuple[str, Json, Json, Json, ToolUsage]] = [
    ("none", {}, {}, {}, NO_TOOLS),
    ("no citations", {"annotations": []}, {}, {}, NO_TOOLS),
    ("citations", CITED, {}, {}, hosted(web_search=1)),
    ("files that are cited", {"annotations": [{"type": "file_citation"}]}, {}, {}, NO_TOOLS),
    ("a model that always searches", {}, {}, {"model": "gpt-4o-mini-search-preview-2025-03-11"}, hosted(web_search=1)),
    ("it says where", CITED, {}, {"model": "gpt-5-search-api"}, hosted(web_search=1)),
    ("OpenRouter", CITED, {"server_tool_use": {"web_search_requests": 3}}, {}, hosted(web_search=3)),
    ("xAI", {}, {"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 1, "mcp_calls": 0}}, {},
     hosted(web_search=2, x_search=1)),
    ("xAI's enumeration", {},
     {"server_side_tool_usage": {"SERVER_SIDE_TOOL_CODE_EXECUTION": 1, "SERVER_SIDE_TOOL_WEB_SEARCH": 1}}, {},
     hosted(code=1, web_search=1)),
    ("xAI's live search", {}, {"num_sources_used": 4}, {}, hosted(live_search=4)),
    ("xAI's live search that found nothing", {}, {"num_sources_used": 0}, {}, NO_TOOLS),
    ("Perplexity", CITED, {"num_search_queries": 5}, {}, hosted(web_search=5)),
    ("Groq", {"executed_tools": [{"index": 0, "type": "search"}, {"index": 1, "type": "search"},
                                 {"index": 2, "type": "python"}]}, {}, {}, hosted(web_search=2, code=1)),
    ("Moonshot", {"tool_calls": [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "$web_search", "arguments": "{}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "web_search", "arguments": "{}"}}]}, {}, {},
     hosted(web_search=1)),
    ("a count is believed", CITED, {"num_sources_used": 2}, {"model": "gpt-5-search-api"}, hosted(live_search=2)),
    ("no more counters than anybody has", {}, {"server_tool_use": {f"t{n}_requests": 1 for n in range(99)}}, {},
     hosted(**{f"t{n}": 1 for n in range(64)})),
    ("Zhipu", {}, {}, {"web_search": [{"title": "t", "link": "u"}]}, hosted(web_search=1)),
]  # fmt: skip


def completion(message: Json, usage: Json, fields: Json) -> Json:
    told = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, **usage}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi", **message}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": told, **fields}


def chunks(message: Json, usage: Json, fields: Json) -> list[Json]:
    named = {key: value for key, value in fields.items() if key == "model"}
    rest = {key: value for key, value in fields.items() if key != "model"}
    head = {"id": "c", "object": "chat.completion.chunk", "model": "m", **named}

    def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    told = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, **usage}
    words = [chunk({"content": word}) for word in ("h", "i", '"quoted"')]
    return [
        chunk({"role": "assistant", "content": ""}),
        *words,
        chunk({"content": "", **message}, **rest),
        chunk({"content": "", **message}, **rest),  # some hosts repeat themselves
        *words,
        chunk({}, "stop"),
        {**head, "choices": [], "usage": told},
    ]


class Case(NamedTuple):
    format: str
    body: Json
    events: list[Json]
    tools: ToolUsage


CASES = {
    **{
        f"{RESPONSES}: {name}": Case(RESPONSES, body := response(items), response_events(items, body), tools)
        for name, items, tools in ITEMS
    },
    **{
        f"{MESSAGES}: {name}": Case(MESSAGES, message(blocks, counters), message_events(blocks, counters), tools)
        for name, blocks, counters, tools in RUNS
    },
    **{
        f"{GEMINI}: {name}": Case(GEMINI, gemini(model, candidate), gemini_events(model, candidate), tools)
        for name, model, candidate, tools in GROUNDED
    },
    **{
        f"{CHAT}: {name}": Case(CHAT, completion(said, usage, fields), chunks(said, usage, fields), tools)
        for name, said, usage, fields, tools in ANSWERS
    },
}
CASES |= {
    f"{RESPONSES}: {name}": Case(RESPONSES, body := response(items, **fields), response_events(items, body), tools)
    for name, items, fields, tools in (
        ("told", [SEARCHED, item("file_search")], {"tool_usage": {"web_search": {"num_requests": 4}}},
         hosted(web_search=4, file_search=1)),
        ("told to be free", [SEARCHED], {"tool_usage": {"web_search": {"num_requests": 0}}}, NO_TOOLS),
        ("told by xAI", [SEARCHED],
         {"usage": {"input_tokens": 1, "output_tokens": 1, "server_side_tool_usage_details": {
             "web_search_calls": 2, "x_search_calls": 3, "code_interpreter_calls": 0}}},
         hosted(web_search=2, x_search=3)),
    )
}  # fmt: skip
by_name = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def sse(events: Sequence[Json]) -> list[bytes]:
    return [
        (f"event: {event['type']}\n".encode() if "type" in event else b"") + b"data: " + orjson.dumps(event) + b"\n\n"
        for event in events
    ]


@by_name
def test_a_whole_answer(case: Case) -> None:
    assert tools_of(get_format(case.format).read_tools(case.body)) == tools_of(case.tools)


@pytest.mark.parametrize("at_once", [1, 3, 100])
@pytest.mark.parametrize("full", [False, True])
@by_name
def test_a_stream(case: Case, full: bool, at_once: int) -> None:
    decoder = get_format(case.format).stream_decoder(full=full, model=None, hide_usage=False)
    events = sse(case.events)
    for start in range(0, len(events), at_once):
        decoder.feed(b"".join(events[start : start + at_once]))
    decoder.close()
    assert tools_of(decoder.tools()) == tools_of(case.tools)
    assert tools_of(decoder.tools()) == tools_of(case.tools), "to ask again changes nothing"


@by_name
def test_a_whole_answer_in_place_of_a_stream(case: Case) -> None:
    decoder = get_format(case.format).stream_decoder(full=True, model=None, hide_usage=False)
    decoder.feed(orjson.dumps(case.body))
    decoder.close()
    assert tools_of(decoder.tools()) == tools_of(case.tools)


@by_name
def test_the_report_tells_no_more_than_the_answer_shows(case: Case) -> None:
    usage = get_format(case.format).read_usage(case.body)
    assert usage is not None
    assert dict(usage.hosted).items() <= dict(case.tools.hosted).items()


def tools_of(tools: ToolUsage) -> tuple[dict[str, int], set[Meter]]:
    """Without the order, which says nothing."""
    return dict(tools.hosted), set(tools.meters)


CUT: list[tuple[str, list[Json], ToolUsage]] = [
    (RESPONSES, response_events([SEARCHED, item("file_search"), item("code_interpreter")], {})[:5],
     hosted(web_search=1, file_search=1)),
    (MESSAGES, message_events([*ran("a", "web_search"), *ran("b", "code_execution"), asked("c", "web_search")],
                              {"web_search_requests": 2})[:-3], hosted(web_search=1, code=1)),
    (GEMINI, gemini_events("gemini-2.5-flash", {"groundingMetadata": {"webSearchQueries": ["a"]}})[:2],
     hosted(web_search=1)),
    (CHAT, chunks({"executed_tools": [{"index": 0, "type": "search"}]}, {}, {})[:-2], hosted(web_search=1)),
    (CHAT, chunks({}, {}, {"model": "gpt-5-search-api"})[:2], hosted(web_search=1)),
]  # fmt: skip


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("name", "events", "tools"), CUT)
def test_a_stream_that_is_cut(name: str, events: list[Json], tools: ToolUsage, full: bool) -> None:
    decoder = get_format(name).stream_decoder(full=full, model=None, hide_usage=False)
    for event in sse(events):
        decoder.feed(event)
    assert tools_of(decoder.tools()) == tools_of(tools)


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("full", [False, True])
def test_a_last_event_that_leaves_out_the_items(kind: str, full: bool) -> None:
    decoder = get_format(RESPONSES).stream_decoder(full=full, model=None, hide_usage=False)
    items = [SEARCHED, item("code_interpreter", container_id="a")]
    for event in sse(response_events(items, response([], status=kind), kind=kind)):
        decoder.feed(event)
    assert decoder.tools() == hosted(web_search=1, code=1)


def test_one_grounded_request_however_many_answers() -> None:
    grounded: Json = {"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["a"]}}
    body = gemini("gemini-2.5-flash", {})
    body["candidates"] = [{"index": index, **grounded} for index in range(3)]
    assert get_format(GEMINI).read_tools(body) == hosted(web_search=1)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (RESPONSES, {"output": 7, "tool_usage": 7, "usage": {"server_side_tool_usage": [1]}}),
        (RESPONSES, {"output": [7, {"type": ["web_search_call"]}]}),
        (RESPONSES, {"tool_usage": {"web_search": {"num_requests": "2"}}}),
        (GEMINI, {"candidates": [{"content": {"parts": [{"codeExecutionResult": {"outcome": ["x"]}}, 7]}}, 7]}),
        (MESSAGES, {"content": [7, {"type": 7}, {"type": "server_tool_use", "id": 1, "name": 2}], "usage": 7}),
        (MESSAGES, {"content": 7, "usage": {"server_tool_use": {"web_search_requests": "x"}}}),
        (GEMINI, {"candidates": [{"groundingMetadata": {"webSearchQueries": 7, "groundingChunks": [7]},
                                  "urlContextMetadata": {"urlMetadata": 7}, "content": {"parts": 7}}]}),
        (GEMINI, {"candidates": 7}),
        (CHAT, {"choices": [7, {"message": 7}, {"index": "x", "message": {"annotations": 7, "executed_tools": [7]}}]}),
        (CHAT, {"usage": {"num_search_queries": -1, "server_tool_use": 7}, "model": 7}),
    ],
)  # fmt: skip
def test_nonsense_is_no_call(name: str, body: Json) -> None:
    assert get_format(name).read_tools(body) == NO_TOOLS


@pytest.mark.parametrize(
    ("usage", "tools", "both"),
    [
        (Usage(1, 2), NO_TOOLS, Usage(1, 2)),
        (Usage(1, 2, hosted=(("code", 1),)), NO_TOOLS, Usage(1, 2, hosted=(("code", 1),))),
        (Usage(1, 2), hosted(code=2), Usage(1, 2, hosted=(("code", 2),))),
        (Usage(hosted=(("code", 1), ("mcp", 1))), hosted(code=2), Usage(hosted=(("code", 2), ("mcp", 1)))),
        (Usage(meters=(Meter("pages", 1),)), ToolUsage((), (Meter("images", 1),)), Usage(meters=(Meter("images", 1),))),
    ],
)
def test_calls_beside_what_was_reported(usage: Usage, tools: ToolUsage, both: Usage) -> None:
    assert with_tools(usage, tools) == both
