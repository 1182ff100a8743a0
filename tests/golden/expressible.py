"""What a request can hold in the canonical model, and which wires can say it.

A row sets one thing; `said` names the wires (C, R, A, G) whose own form it survives, `why` tells what becomes of it in
the others. Rows whose value depends on the wire have one for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CacheMark,
    Citation,
    CloudUri,
    ContainerFile,
    Document,
    FileRef,
    Image,
    Inline,
    Nested,
    PlainText,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from oneapi_mw.canonical.request import (
    AudioOut,
    CustomTool,
    FunctionTool,
    Grammar,
    ImageOut,
    McpServer,
    OutputFormat,
    ReasoningAsk,
    Request,
    ToolChoice,
    ToolSearch,
    Turn,
)
from oneapi_mw.types import JsonObject

CLAUDE, OPENAI, GEMINI = "anthropic-claude-v1", "openai-responses-v1", "google-gemini-v1"
SUM: JsonObject = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
HI, OK = Turn("user", (Text("Hi"),)), Turn("assistant", (Text("ok"),))
DECLARED = FunctionTool("declared", parameters=SUM)
"""Always there: Messages takes no history of calls without tools."""


@dataclass(frozen=True)
class Row:
    name: str
    sets: Mapping[str, Any]
    """Dotted path in the request -> value; `turns`, `tools`, `system` and `betas` are added to what is there."""
    said: str
    why: str = ""
    by_wire: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def values(self, wire: str) -> Mapping[str, Any]:
        return self.by_wire.get(wire, self.sets)


NO_FIELD = "no field for it"


def setting(path: str, value: Any, said: str, why: str = NO_FIELD) -> Row:
    return Row(path, {path: value}, said, why)


SETTINGS = [
    setting("max_output", 77, "CRAG"),
    setting("max_hosted_calls", 3, "R"),
    setting("sampling.temperature", 0.5, "CRAG"),
    setting("sampling.top_p", 0.5, "CRAG"),
    setting("sampling.top_k", 5, "CAG"),
    setting("sampling.min_p", 0.1, "C"),
    setting("sampling.frequency_penalty", 0.5, "CG"),
    setting("sampling.presence_penalty", 0.5, "CG"),
    setting("sampling.repetition_penalty", 1.1, "C"),
    setting("sampling.seed", 7, "CG"),
    setting("sampling.logit_bias", {"1": 2}, "C"),
    setting("stop", ("END",), "CAG", "no field; cut by the gateway"),
    setting("candidates", 2, "CG", "no field; refused"),
    setting("logprobs", 3, "CRG"),
    Row("output schema", {"output": OutputFormat("schema", schema=SUM)}, "AG", "needs a name, which is made"),
    Row("output schema, named", {"output": OutputFormat("schema", "sum", SUM, True, "d")}, "CR",
        "has no name, description or strictness"),
    Row("output json", {"output": OutputFormat("json")}, "CRG", "no field; asked for in words"),
    Row("output text", {"output": OutputFormat("text")}, "CRG", "the default is not said"),
    Row("output enum", {"output": OutputFormat("enum", schema={"type": "string", "enum": ["a", "b"]})}, "G",
        "a schema like any other; wrapped in an object at Responses"),
    setting("verbosity", "low", "CR"),
    Row("reasoning effort", {"reasoning": ReasoningAsk(True, "high")}, "CRAG",
        by_wire={"gemini": {"reasoning": ReasoningAsk(True, "high", display="omitted")}}),
    Row("reasoning off", {"reasoning": ReasoningAsk(False)}, "A", "off is an effort or a budget"),
    Row("reasoning off, as an effort", {"reasoning": ReasoningAsk(False, "none")}, "CRA", "off is a budget"),
    Row("reasoning budget", {"reasoning": ReasoningAsk(True, budget=2048)}, "AG", "only efforts",
        by_wire={"gemini": {"reasoning": ReasoningAsk(True, budget=2048, display="omitted")},
                 "anthropic_messages": {"reasoning": ReasoningAsk(True, budget=2048),
                                        "betas": ("interleaved-thinking-2025-05-14",)}}),
    Row("reasoning summaries", {"reasoning": ReasoningAsk(display="detailed")}, "R", "shown or not, or no field"),
    Row("reasoning context", {"reasoning": ReasoningAsk(context="all_turns")}, "R", NO_FIELD),
    Row("reasoning mode", {"reasoning": ReasoningAsk(mode="pro")}, "R", NO_FIELD),
    Row("modalities", {"modalities": ("text", "audio")}, "CG", "no field; refused, or left out"),
    Row("audio voice", {"audio": AudioOut("v")}, "CG", "no field; refused, or left out"),
    Row("audio format", {"audio": AudioOut("v", "wav")}, "C", "one format only, or no sound at all"),
    Row("audio speakers and language", {"audio": AudioOut(None, None, ({"speaker": "a"},), "en")}, "G", NO_FIELD),
    Row("image size and aspect", {"image": ImageOut("1K", "1:1")}, "G", "no field; refused, or left out"),
    Row("image quality", {"image": ImageOut(quality="high")}, "", "a tool has it, not the request"),
    Row("cache mode explicit", {"cache.mode": "explicit"}, "CR", "marks say it, or nothing does"),
    Row("cache mode implicit", {"cache.mode": "implicit"}, "CR", "said as a mark on the last block, or not"),
    Row("cache of the last block", {"cache.mode": "auto_last"}, "A", "the default there"),
    setting("cache.default_ttl", "30m", "CR"),
    setting("cache.key", "k", "CR"),
    setting("cache.retention", "24h", "CR"),
    setting("cache.resource", "cachedContents/x", "G", "another vendor's; refused"),
    setting("state.store", True, "CR"),
    setting("state.previous_id", "resp_1", "R", "expanded or refused"),
    Row("state.conversation", {"state.conversation": "conv_1", "state.previous_id": None}, "R",
        "expanded or refused; a thread is Messages' own"),
    setting("state.background", True, "R", "no field; refused"),
    setting("state.truncation", "auto", "R"),
    Row("compaction", {"state.context_edits": [{"type": "compaction"}]}, "R", "other edits, or none"),
    setting("state.include", ("reasoning.encrypted_content",), "R"),
    setting("identity.end_user", "u", "CR", "written as the safety id, or not"),
    Row("identity.safety_id", {"identity.safety_id": "s"}, "CRA", NO_FIELD,
        by_wire={"anthropic_messages": {"identity.safety_id": "s", "cache.key": "043a718774c572bd8a25adbeb1bfcd5c"}}),
    setting("identity.metadata", {"a": "b"}, "CR"),
    setting("identity.labels", {"a": "b"}, "G"),
    setting("service.tier", "flex", "CRAG"),
    Row("service.speed", {"service.speed": "fast", "betas": ("fast-mode-2026-02-01",)}, "A", NO_FIELD),
    setting("service.geo", "us", "A"),
    setting("safety.settings", [{"category": "X", "threshold": "OFF"}], "G"),
    setting("safety.moderation", {"model": "m"}, "CR"),
    setting("stream.on", True, "CRAG"),
    Row("stream usage", {"stream.on": True, "stream.include_usage": True}, "C", "always told"),
    Row("stream obfuscation", {"stream.on": True, "stream.obfuscation": True}, "CR", NO_FIELD),
    setting("prediction", {"type": "content", "content": "x"}, "C"),
    setting("prompt_template", {"id": "p"}, "R", "no field; refused"),
    setting("container", "c1", "A"),
    setting("betas", ("x-1",), "A"),
    Row("extras", {"extras": {}}, "CRAG",
        by_wire={name: {"extras": {name: {"xNew": 1}}}
                 for name in ("openai_chat", "openai_responses", "anthropic_messages", "gemini")}),
    Row("system", {"system": (Text("S", origin="system"),)}, "CRAG"),
    Row("system, developer", {"system": (Text("S", origin="developer"),)}, "CR", "one word for instructions"),
    Row("system, instructions", {"system": (Text("S", origin="instructions"),)}, "R", "one word for instructions"),
    Row("system, cached", {"system": (Text("S", origin="system", cache=CacheMark("1h")),)}, "A",
        "no mark, or of another term"),
    Row("tool choice auto", {"tool_choice": ToolChoice("auto")}, "CRAG"),
    Row("tool choice none", {"tool_choice": ToolChoice("none")}, "CRAG"),
    Row("tool choice required", {"tool_choice": ToolChoice("required")}, "CRAG"),
    Row("tool choice named", {"tool_choice": ToolChoice("required", (("function", "declared"),))}, "CRAG"),
    Row("tool choice allowed", {"tool_choice": ToolChoice("auto", (("function", "declared"),))}, "CR",
        "a subset is sent, or calls are validated"),
    Row("tool choice parallel", {"tool_choice": ToolChoice("auto", parallel=False)}, "CRA", NO_FIELD),
    Row("parallel alone", {"tool_choice": ToolChoice(None, parallel=False)}, "CR", "part of a choice, or no field"),
    Row("tool choice validated", {"tool_choice": ToolChoice("auto", validated=True)}, "G", NO_FIELD),
]  # fmt: skip


def tool(name: str, made: Any, said: str, why: str = NO_FIELD, **more: Any) -> Row:
    return Row(name, {"tools": (made,), **more}, said, why)


TOOL_BETA = {"betas": ("advanced-tool-use-2025-11-20",)}
TOOLS = [
    tool("function", FunctionTool("f1", "d", SUM), "CRAG"),
    tool("function without parameters", FunctionTool("f2"), "CRG", "an empty object"),
    tool("function, strict", FunctionTool("f3", parameters=SUM, strict=True), "CRA", "a mode of the choice"),
    tool("function, not strict", FunctionTool("f4", parameters=SUM, strict=False), "CRA", "the default is not said"),
    tool("function, schema of results", FunctionTool("f5", parameters=SUM, output_schema=SUM), "RG"),
    tool("function, examples", FunctionTool("f6", parameters=SUM, examples=({"n": 1},)), "A",
         "said in the description, or lost", **TOOL_BETA),
    tool("function, deferred", FunctionTool("f7", parameters=SUM, defer=True), "RA", "declared at once"),
    Row("function, callers", {"tools": (FunctionTool("f8", parameters=SUM, callers=("direct",)),)}, "RA", NO_FIELD,
        by_wire={"anthropic_messages": {
            "tools": (FunctionTool("f8", parameters=SUM, callers=("direct",)),), **TOOL_BETA}}),
    tool("function, eager", FunctionTool("f9", parameters=SUM, eager=True), "A", NO_FIELD,
         betas=("fine-grained-tool-streaming-2025-05-14",)),
    tool("function, cached", FunctionTool("f10", parameters=SUM, cache=CacheMark("5m")), "A"),
    Row("function, in a namespace", {"tools": (FunctionTool("f11", parameters=SUM, namespace="crm"),)}, "R",
        "part of the name", by_wire={"openai_responses": {"tools": (FunctionTool(
            "f11", parameters=SUM, namespace="crm",
            extras={"openai_responses.namespace": {"name": "crm", "description": "crm"}}),)}}),
    tool("custom tool", CustomTool("f12", "d"), "CR", "a function with one text"),
    tool("custom tool, grammar", CustomTool("f13", None, Grammar("lark", "start: A")), "CR",
         "a function with one text"),
    tool("custom tool, deferred", CustomTool("f14", defer=True), "R", "declared at once"),
    tool("MCP server", McpServer("l", "https://e.org"), "R", "refused; never asks at Messages"),
    tool("tool search", ToolSearch("server"), "R", "all tools are declared at once; has a kind at Messages"),
    tool("tool search, of a kind", ToolSearch("server", "regex"), "A", "no kinds, or no search", **TOOL_BETA),
    tool("tool search by the client", ToolSearch("client"), "R"),
]  # fmt: skip


# Turns. Each row is an exchange: it begins with the user and ends with the assistant.


def user(name: str, said: str, why: str, *blocks: Block, wires: Mapping[str, Block] | None = None, **more: Any) -> Row:
    by_wire = {wire: {"turns": (Turn("user", (block,)), OK), **more} for wire, block in (wires or {}).items()}
    return Row(f"user: {name}", {"turns": (Turn("user", blocks), OK), **more}, said, why, by_wire)


def assistant(name: str, said: str, why: str, *blocks: Block) -> Row:
    return Row(f"assistant: {name}", {"turns": (HI, Turn("assistant", blocks))}, said, why)


def called(number: int, **more: Any) -> ToolCall:
    return replace(ToolCall(f"call_{number}", "declared", '{"a":1}'), **more)


def exchange(call: ToolCall, result: ToolResult) -> Mapping[str, Any]:
    return {"turns": (HI, Turn("assistant", (call,)), Turn("user", (result,)), OK)}


def answered(name: str, said: str, why: str, call: ToolCall, *blocks: Block, **more: Any) -> Row:
    """A call and its result. Messages does not name the tool in results."""
    result = ToolResult(call.id, blocks or (Text("7 C"),), "declared", **more)
    nameless = exchange(call, replace(result, name=None))
    return Row(name, exchange(call, result), said, why, {"anthropic_messages": nameless})


PNG, PDF = Inline("image/png", "iVBORw0KGgo="), Inline("application/pdf", "JVBERi0=")
SHOWN = Image(PNG, "auto")
FILE = "files-api-2025-04-14"
CITED = Citation("url", url="https://e.org", title="E", start=0, end=1)
TOKEN = {"token": "4", "logprob": -1.0, "bytes": None, "top_logprobs": []}
THOUGHT = (ReasoningText("Add."),)
TURNS = [
    user("texts", "CRAG", "", Text("a"), Text("b")),
    user("cached for 5 minutes", "A", "another term, or no mark", Text("a", cache=CacheMark("5m"))),
    user("cached for 30 minutes", "R", "another term; Chat keeps it unread", Text("a", cache=CacheMark("30m"))),
    Row("user: name", {"turns": (Turn("user", (Text("a"),), name="bob"), OK)}, "C", NO_FIELD),
    user("image", "CAG", "has a detail", Image(PNG)),
    user("image with a detail", "CRG", NO_FIELD, Image(PNG, "low"),
         wires={"gemini": Image(PNG, "low", "MEDIA_RESOLUTION_LOW")}),
    user("image by URL", "CRA", "has a type", Image(Url("https://e.org/a.png")),
         wires={"openai_responses": Image(Url("https://e.org/a.png"), "auto")}),
    user("image in a store", "G", "a URL without a type, or refused", Image(CloudUri("gs://b/a.png", "image/png"))),
    user("image by id", "R", "another vendor's; refused", Image(FileRef("openai", "file_1"), "auto")),
    user("image by id at Anthropic", "A", "another vendor's; refused", Image(FileRef("anthropic", "file_1")),
         betas=(FILE,)),
    user("sound", "CRG", "refused", Audio(Inline("audio/wav", "UklGRg=="))),
    user("video", "CG", "refused", Video(Inline("video/mp4", "AAAA"))),
    user("part of a video", "G", "the whole, or refused", Video(Inline("video/mp4", "AAAA"), "1s", "2s", 1.5)),
    user("PDF", "CAG", "has a name", Document(PDF)),
    user("PDF with a name", "CR", "a title, or none", Document(PDF, "a.pdf")),
    user("PDF by URL", "CRA", "has a type", Document(Url("https://e.org/a.pdf"))),
    user("plain text", "A", "a text, or base64", Document(PlainText("x"))),
    user("document of blocks", "A", "its blocks", Document(Nested((Text("x"),)))),
    user("document with a title", "A", "a name, and a text before it", Document(PDF, None, "T", "c", True)),
    user("document with a detail", "R", NO_FIELD, Document(PDF, "a.pdf", detail="low")),
    user("search result", "A", "a text", SearchResult("https://e.org", "T", (Text("x"),))),
    user("file in a container", "A", "refused", ContainerFile("file_1"), betas=(FILE,)),
    assistant("text", "CRAG", "", Text("4")),
    assistant("texts", "RA", "one text", Text("4"), Text("5")),
    assistant("refusal", "C", "a text; has an id at Responses", Refusal("no")),
    assistant("text of a message", "R", NO_FIELD, Text("4", item_id="msg_1", phase="final_answer")),
    assistant("citations", "", "not sent back; Responses keeps those of messages with an id", Text("4", (CITED,))),
    assistant("log probabilities", "", "not sent back", Text("4", logprobs=(TOKEN,))),
    assistant("reasoning", "CRG", "unsigned is not taken", Reasoning(THOUGHT), Text("4")),
    assistant("reasoning in summary", "CR", "no summaries", Reasoning((ReasoningText("Add.", True),)), Text("4")),
    assistant("reasoning signed by Claude", "CA", "another vendor's",
              Reasoning(THOUGHT, ReasoningOpaque("EqQB", CLAUDE)), Text("4")),
    assistant("reasoning redacted by Claude", "CA", "another vendor's",
              Reasoning((), ReasoningOpaque("AAAA", CLAUDE, "encrypted")), Text("4")),
    assistant("reasoning signed by Gemini", "CG", "another vendor's",
              Reasoning(THOUGHT, ReasoningOpaque("Ci4B", GEMINI)), Text("4")),
    assistant("text signed by Gemini", "G", "another vendor's", Text("4", opaque=ReasoningOpaque("Ci4B", GEMINI))),
    assistant("image", "CAG", "an item with an id", Image(PNG)),
    assistant("sound by id", "C", "another vendor's", Audio(audio_id="audio_1")),
    answered("call", "CRAG", "", called(1)),
    answered("call, as it was spelled", "CR", "an object", called(2, arguments='{"a": 1}')),
    answered("call, malformed", "CR", "an object around it", called(3, arguments='{"a":')),
    answered("call of a custom tool", "C", "a function with one text; results have a type of their own at Responses",
             called(4, kind="custom", arguments="x y")),
    answered("call in a namespace", "R", "part of the name", called(5, namespace="crm")),
    answered("call with a caller", "RA", NO_FIELD, called(6, caller={"type": "direct"})),
    answered("call signed by Gemini", "CG", "another vendor's", called(7, opaque=ReasoningOpaque("Ci4B", GEMINI))),
    answered("call, cached", "A", NO_FIELD, called(8, cache=CacheMark("5m"))),
    answered("call with an item id", "R", NO_FIELD, called(9, item_id="fc_9")),
    answered("result, failed", "AG", "said in the text", called(10), is_error=True),
    Row("result with an image", exchange(called(11), ToolResult("call_11", (Text("x"), SHOWN), "declared")), "RAG",
        "in a message behind it",
        {"anthropic_messages": exchange(called(11), ToolResult("call_11", (Text("x"), Image(PNG)))),
         "gemini": exchange(called(11), ToolResult("call_11", (Text("x"), Image(PNG)), "declared"))}),
    answered("result of several texts", "RA", "one text", called(12), Text("x"), Text("y")),
    answered("result as an object", "G", "its text", called(13), Text('{"t":7}'), structured={"t": 7}),
    answered("result, cached", "A", NO_FIELD, called(14), cache=CacheMark("5m")),
    Row("text before a call", {"turns": (HI, Turn("assistant", (Text("Look."), called(15))), Turn("user", (
        ToolResult("call_15", (Text("1"),)),)), OK)}, "RA", "results name their tool"),
    Row("text behind a call", {"turns": (HI, Turn("assistant", (called(16), Text("Look."))), Turn("user", (
        ToolResult("call_16", (Text("1"),)),)), OK)}, "RA", "text comes first, or results name their tool"),
    Row("text behind a result", {"turns": (HI, Turn("assistant", (called(17),)), Turn("user", (
        ToolResult("call_17", (Text("1"),)), Text("and"))), OK)}, "RA", "a turn of its own"),
    Row("instructions between", {"turns": (HI, Turn("system", (Text("S"),)), OK)}, "A",
        "have a word for who gave them, or are the user's"),
    Row("two turns of the user", {"turns": (HI, Turn("user", (Text("b"),)), OK)}, "CR", "one turn"),
]  # fmt: skip
ROWS = [*SETTINGS, *TOOLS, *TURNS]


def made(wire: str, rows: list[Row]) -> Request:
    """A request that says all of `rows`."""
    limit = 32_000 if wire == "anthropic_messages" else None
    request = Request(wire, "m", (), tools=(DECLARED,), max_output=limit)
    for row in rows:
        for path, value in row.values(wire).items():
            request = _with(request, path, value)
    return replace(request, turns=(*request.turns, HI))


def _with(request: Request, path: str, value: Any) -> Request:
    name, _, inner = path.partition(".")
    if inner:
        value = replace(getattr(request, name), **{inner: value})
    elif name in ("turns", "tools", "system", "betas"):
        value = (*getattr(request, name), *value)
    return replace(request, **{name: value})


def apart(rows: list[Row], wire: str) -> list[Row]:
    """`rows` as far as no two set the same thing."""
    kept: list[Row] = []
    taken: set[str] = set()
    for row in rows:
        sets = row.values(wire).keys() - {"turns", "tools", "betas"}
        if taken.isdisjoint(sets):
            kept.append(row)
            taken |= sets
    return kept
