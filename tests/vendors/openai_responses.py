"""OpenAI's Responses.

Source: https://platform.openai.com/docs/api-reference/responses, types of the `openai` package
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from openai.types.responses import response_create_params as params

from tests.vendors.app import KEY, Json, Refused, Reply, Request, event
from tests.vendors.openai_common import (
    OpenAI,
    bad_value,
    check_effort,
    check_format,
    check_function,
    check_id,
    check_image,
    check_metadata,
    check_name,
    check_range,
    check_sampling,
    check_unique,
    image_type,
    in_words,
    invalid,
    unsupported,
    without_tools,
)
from tests.vendors.openai_models import Model
from tests.vendors.schemas import openai_problem
from tests.vendors.scripting import Answer, Asked, Script, Tokens, Tool, arguments_text, tokens
from tests.vendors.shapes import Mismatch, Shape
from tests.vendors.signing import canonical

CREATED = 1_790_000_000
PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "web_search_call": "ws",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "file_search_call": "fs",
}
CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_OUTPUTS = tuple(CALLS.values())
_ENCRYPTED = "reasoning.encrypted_content"
# An omitted `strict` means: strict when the schema allows it. The type calls both required.
# A reasoning item with its ciphertext says all by itself.
_SHAPE = Shape(
    relaxed={
        "FunctionToolParam": frozenset({"strict", "parameters"}),
        "ResponseReasoningItemParam": frozenset({"id"}),
    }
)


class OpenAIResponses(OpenAI):
    """`POST /v1/responses`. Answers to requests without `store: false` can be built upon by id."""

    name = "openai_responses"
    path = "/v1/responses"

    def __init__(self, *, script: Script = None, key: str = KEY) -> None:
        super().__init__(script=script, key=key)
        self._stored: dict[str, list[Json]] = {}
        """Input and output items by response id."""
        self._kept: set[str] = set()
        """Ids of reasoning items that are stored."""
        self._reasons: dict[str, str] = {}
        """Item id -> id of the reasoning item that has to be before it."""
        self._sealed: dict[str, str] = {}
        """Ciphertext -> id of its item."""

    def reply(self, request: Request, request_id: str) -> Reply:
        self.authenticate(request)
        body = self.parsed(request)
        _check_fields(body)
        model = self.model(body)
        effort = _check_parameters(body, model)
        _check_tools(body)
        items = self._items(body)
        self._check_items(items)
        asked = _asked(body, items, model, effort)
        answer, fault = self.say(asked, request_id)
        response = _Writer(self, body, answer, encrypted=model.reasons and _ENCRYPTED in (body.get("include") or ()))
        self._remember(body, items, response)
        if not asked.stream:
            return Reply(response.snapshot())
        return self.streamed(list(response.events()), fault)

    def failed(self, refused: Refused) -> bytes:
        error = {"code": refused.code or "server_error", "message": refused.message}
        response = {
            "id": "resp_failed",
            "object": "response",
            "created_at": CREATED,
            "status": "failed",
            "error": error,
            "output": [],
            "model": "",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        return event({"type": "response.failed", "sequence_number": 999, "response": response}, "response.failed")

    def _items(self, body: Json) -> list[Json]:
        """The whole conversation: what is stored, then what came."""
        given = body.get("input")
        if given is None and body.get("previous_response_id") is None and body.get("conversation") is None:
            raise invalid("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
        if given in ("", []):
            raise invalid("Invalid 'input': expected a non-empty value.", param="input", code="empty_string")
        items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given or []
        previous = body.get("previous_response_id")
        if previous is None:
            return items
        if previous not in self._stored:
            raise invalid(
                f"Previous response with id '{previous}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return [*self._stored[previous], *items]

    def _check_items(self, items: list[Json]) -> None:
        ids = [item["id"] for item in items if item.get("id")]
        twice = next((one for place, one in enumerate(ids) if one in ids[:place]), None)
        if twice is not None:
            raise invalid(
                f"Duplicate item found with id {twice}. Remove duplicate items from your input and try again.",
                param="input",
            )
        for index, item in enumerate(items):
            _check_item(item, f"input[{index}]")
            self._check_pair(items, index)
        _check_calls(items)

    def _check_pair(self, items: list[Json], index: int) -> None:
        item = items[index]
        kind = item.get("type") or "message"
        if kind == "item_reference":
            raise _not_found(item["id"])
        if kind == "reasoning":
            self._check_reasoning(items, index)
        needed = self._reasons.get(item.get("id") or "")
        if needed is not None and (index == 0 or items[index - 1].get("id") != needed):
            raise invalid(
                f"Item '{item['id']}' of type '{kind}' was provided without its required 'reasoning' item: '{needed}'.",
                param="input",
            )

    def _check_reasoning(self, items: list[Json], index: int) -> None:
        item = items[index]
        follower = items[index + 1] if index + 1 < len(items) else {"type": "message", "role": "user"}
        if _is_input(follower):
            raise invalid(
                f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.",
                param="input",
            )
        ciphertext = item.get("encrypted_content")
        if ciphertext is None:
            if item.get("id") in self._kept:
                return
            raise _not_found(str(item.get("id")))
        item = {"id": self._sealed.get(ciphertext, ""), **item}
        if self.signer.check(ciphertext, sealed(item, follower)) != "good":
            raise invalid(
                f"The encrypted content {ciphertext[:4]}...{ciphertext[-4:]} could not be verified. Reason: Encrypted "
                "content could not be decrypted or parsed.",
                param="input",
                code="invalid_encrypted_content",
            )

    def _remember(self, body: Json, items: list[Json], response: _Writer) -> None:
        reasoning = None
        for item in response.output:
            if item["type"] == "reasoning":
                reasoning = item["id"]
                self._sealed[item.get("encrypted_content", "")] = reasoning
            elif reasoning is not None:
                self._reasons[item["id"]] = reasoning
                reasoning = None
        if body.get("store") is not False:
            self._stored[response.id] = [*items, *response.output]
            self._kept |= {item["id"] for item in response.output if item["type"] == "reasoning"}


def sealed(reasoning: Json, follower: Json) -> str:
    """What the ciphertext of an item vouches for: its id, its summary, and the call or message it led to."""
    kind = follower.get("type") or "message"
    return canonical([reasoning["id"], reasoning["summary"], kind, follower.get("call_id")])


def _not_found(identity: str) -> Refused:
    return Refused(
        f"Item with id '{identity}' not found. Items are not persisted when `store` is set to false. Try again with "
        "`store` set to true, or remove this item from your input.",
        status=404,
        kind="invalid_request_error",
        param="input",
    )


def _is_input(item: Json) -> bool:
    kind = item.get("type") or "message"
    return kind in _OUTPUTS or kind == "reasoning" or (kind == "message" and item["role"] != "assistant")


def _check_fields(body: Json) -> None:
    streams = body.get("stream") is True
    hint = params.ResponseCreateParamsStreaming if streams else params.ResponseCreateParamsNonStreaming
    try:
        _SHAPE.check(body, hint)
    except Mismatch as mismatch:
        raise in_words(mismatch) from None
    if body.get("model") is None:
        raise invalid("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")


def _check_parameters(body: Json, model: Model) -> str:
    """Everything beside input and tools. Gives the effort in force."""
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("top_logprobs", 0, 20)):
        check_range(body, name, low, high)
    check_range(body, "max_output_tokens", 16, 2**31)
    reasoning = body.get("reasoning") or {}
    if reasoning and not model.reasons:
        raise unsupported(f"reasoning.{next(iter(reasoning))}")
    effort = check_effort(reasoning.get("effort"), model, "reasoning.effort")
    check_sampling(body, model, effort, ("temperature", "top_p", "top_logprobs"))
    if _ENCRYPTED in (body.get("include") or ()) and not model.reasons:
        raise invalid("Encrypted content is not supported with this model.", param="include")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if body.get("previous_response_id") is not None and body.get("conversation") is not None:
        raise invalid("Mutually exclusive parameters: 'previous_response_id' and 'conversation'.")
    if body.get("background"):
        raise invalid("Background mode is not available.", param="background")
    if body.get("prompt_cache_options") is not None and not model.marks:
        raise unsupported("prompt_cache_options")
    check_metadata(body)
    _check_text(body, model)
    return effort


def _check_text(body: Json, model: Model) -> None:
    text = body.get("text") or {}
    if text.get("verbosity") not in (None, "medium") and not model.verbosity:
        raise bad_value(text["verbosity"], "text.verbosity", ("medium",))
    wanted = text.get("format") or {"type": "text"}
    if wanted["type"] == "json_object" and "json" not in orjson.dumps(body.get("input")).decode().lower():
        raise invalid(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
            param="input",
        )
    if wanted["type"] == "json_schema":
        check_format(wanted["name"], wanted["schema"], wanted.get("strict"), "text.format")


def _check_tools(body: Json) -> None:
    tools = body.get("tools") or []
    without_tools(body, ("tool_choice",) if body.get("tool_choice") != "auto" else ())
    names = []
    for index, tool in enumerate(tools):
        if tool["type"] == "function":
            strict = tool.get("strict")
            if strict is None and "strict" not in tool:  # strict where the schema allows it
                strict = openai_problem(tool.get("parameters"), strict=True, function=True) is None
            check_function(tool, f"tools[{index}]", strict=bool(strict))
        if tool["type"] == "custom":
            check_name(tool["name"], f"tools[{index}].name")
        names.append(tool.get("name", tool["type"]))
    check_unique([name for tool, name in zip(tools, names, strict=True) if "name" in tool], "tools")
    for name in _chosen(body.get("tool_choice")):
        if name not in names:
            raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")


def _chosen(choice: Any) -> list[str]:
    if not isinstance(choice, dict):
        return []
    if choice["type"] == "allowed_tools":
        return [tool.get("name") or tool["type"] for tool in choice["tools"]]
    return [choice.get("name") or choice["type"]]


def _check_item(item: Json, where: str) -> None:
    kind = item.get("type") or "message"
    identity = item.get("id")
    if identity is not None and kind in PREFIXES:
        check_id(identity, f"{where}.id")
        if not identity.startswith(PREFIXES[kind] + "_"):
            raise invalid(
                f"Invalid '{where}.id': '{identity}'. Expected an ID that begins with '{PREFIXES[kind]}'.",
                param=f"{where}.id",
                code="invalid_value",
            )
    if "call_id" in item and item["call_id"] is not None:
        check_id(item["call_id"], f"{where}.call_id")
    if kind == "function_call":
        check_name(item["name"], f"{where}.name")
    if kind == "message":
        _check_message(item, where)
    if kind in _OUTPUTS and isinstance(item["output"], list):
        _check_parts(item["output"], f"{where}.output")


def _check_message(item: Json, where: str) -> None:
    content = item["content"]
    if content == []:
        raise invalid(f"Invalid '{where}.content': empty array.", param=f"{where}.content", code="empty_array")
    if isinstance(content, str):
        return
    allowed = ("output_text", "refusal") if item["role"] == "assistant" else ("input_text", "input_image", "input_file")
    for place, part in enumerate(content):
        if part["type"] not in allowed:
            raise bad_value(part["type"], f"{where}.content[{place}]", allowed)
    _check_parts(content, f"{where}.content")


def _check_parts(parts: list[Json], where: str) -> None:
    for place, part in enumerate(parts):
        if part["type"] == "input_image" and part.get("image_url") is not None:
            check_image(part["image_url"], f"{where}[{place}].image_url")


def _check_calls(items: list[Json]) -> None:
    """Every call has one output behind it, and every output a call before it."""
    open_calls: dict[str, str] = {}
    done: set[str] = set()
    for item in items:
        kind = item.get("type") or "message"
        if kind in CALLS:
            if item["call_id"] in open_calls or item["call_id"] in done:
                raise invalid(f"Duplicate call_id found: {item['call_id']}.", param="input")
            open_calls[item["call_id"]] = CALLS[kind]
        elif kind in _OUTPUTS:
            if open_calls.pop(item["call_id"], None) != kind:
                word = kind.removesuffix("_output").replace("_", " ")
                raise invalid(f"No tool call found for {word} output with call_id {item['call_id']}.", param="input")
            done.add(item["call_id"])
    if open_calls:
        identity, kind = next(iter(open_calls.items()))
        word = kind.removesuffix("_output").replace("_", " ")
        raise invalid(f"No tool output found for {word} {identity}.", param="input")


def _text(content: Any) -> str:
    if not isinstance(content, list):
        return content or ""
    words = [part.get("text") or part.get("refusal") or "" for part in content]
    return " ".join(word for word in words if word)


def _asked(body: Json, items: list[Json], model: Model, effort: str) -> Asked:
    users = [item for item in items if (item.get("type") or "message") == "message" and item["role"] == "user"]
    content = users[-1]["content"] if users else ""
    results: list[str] = []
    for item in reversed(items):
        if item.get("type") not in _OUTPUTS:
            break
        results.insert(0, _text(item["output"]))
    choice: Any = body.get("tool_choice") or "auto"
    mode = choice
    if isinstance(choice, dict):
        mode = choice["mode"] if choice["type"] == "allowed_tools" else "required"
    wanted = (body.get("text") or {}).get("format") or {"type": "text"}
    reasoning = body.get("reasoning") or {}
    read: list[str] = [
        body.get("instructions") or "",
        *(_text(item.get("content") or item.get("output")) for item in items),
    ]
    return Asked(
        model=body["model"],
        text=_text(content),
        last="tool" if items[-1].get("type") in _OUTPUTS else "user",
        prompt=" ".join(read),
        system=body.get("instructions") or "",
        tools=tuple(
            Tool(tool["name"], tool.get("parameters") or {"type": "object"}, custom=tool["type"] == "custom")
            for tool in body.get("tools") or ()
            if tool["type"] in ("function", "custom")
        ),
        choice=mode,
        only=tuple(_chosen(choice)),
        results=tuple(results),
        images=tuple(
            image_type(part["image_url"])
            for part in content
            if isinstance(part, dict) and part["type"] == "input_image" and part.get("image_url")
        ),
        thinks=model.reasons and effort != "none",
        shows=bool(reasoning.get("summary") or reasoning.get("generate_summary")),
        schema={"json_object": {}, "json_schema": wanted.get("schema")}.get(wanted["type"]),
        max_output=body.get("max_output_tokens"),
        stream=bool(body.get("stream")),
    )


def usage_object(tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.written},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }


class _Writer:
    """One answer, whole or as events."""

    def __init__(self, vendor: OpenAIResponses, body: Json, answer: Answer, *, encrypted: bool) -> None:
        self._vendor = vendor
        self._body = body
        self._answer = answer
        self._encrypted = encrypted
        self._mark = f"{len(vendor.requests):045d}"
        self.id = f"resp_{self._mark}"
        self._sequence = -1
        reasoning = body.get("reasoning") or {}
        self._shows = bool(reasoning.get("summary") or reasoning.get("generate_summary"))
        self.output = self._output()

    def _identity(self, prefix: str, place: int = 0) -> str:
        return f"{prefix}_{self._mark}{place}"

    def _output(self) -> list[Json]:
        answer = self._answer
        items: list[Json] = []
        if answer.text or answer.refusal is not None:
            items.append(self._message())
        for place, call in enumerate(answer.calls):
            custom = isinstance(call.arguments, str)
            items.append(
                {
                    "id": self._identity("ctc" if custom else "fc", place),
                    "type": "custom_tool_call" if custom else "function_call",
                    **({} if custom else {"status": "completed"}),
                    "call_id": f"call_{self._mark[-20:]}{place:04d}",
                    "name": call.name,
                    "input" if custom else "arguments": arguments_text(call),
                }
            )
        if answer.reasoning is not None:
            items.insert(0, self._reasoning(items[0] if items else {"type": "message", "content": ""}))
        return items

    def _reasoning(self, follower: Json) -> Json:
        text = self._answer.reasoning or ""
        summary = [{"type": "summary_text", "text": text}] if self._shows and text else []
        item: Json = {"id": self._identity("rs"), "type": "reasoning", "summary": summary}
        if self._encrypted:
            item["encrypted_content"] = self._vendor.signer.sign(sealed(item, follower))
        return item

    def _message(self) -> Json:
        answer = self._answer
        part: Json
        if answer.refusal is not None:
            part = {"type": "refusal", "refusal": answer.refusal}
        else:
            annotations = [_annotation(citation) for citation in answer.citations]
            part = {"type": "output_text", "text": answer.text, "annotations": annotations, "logprobs": []}
        return {
            "id": self._identity("msg"),
            "type": "message",
            "status": "incomplete" if answer.finish == "length" else "completed",
            "role": "assistant",
            "content": [part],
        }

    @property
    def _status(self) -> str:
        return "incomplete" if self._answer.finish in ("length", "content_filter") else "completed"

    def snapshot(self, status: str | None = None) -> Json:
        """The response object; with a status of its own it is one of the beginning."""
        body = self._body
        begun = status is not None
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._answer.finish)
        ends = {} if begun or reason else {"completed_at": CREATED + 1}
        return {
            "id": self.id,
            "object": "response",
            "created_at": CREATED,
            "status": status or self._status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if reason and not begun else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": body["model"],
            "output": [] if begun else self.output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
            "service_tier": "default",
            "store": body.get("store", True),
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": [_told(tool) for tool in body.get("tools") or ()],
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation", "disabled"),
            "usage": None if begun else usage_object(self._answer.usage),
            "metadata": body.get("metadata") or {},
            **ends,
        }

    def events(self) -> Iterator[bytes]:
        yield self._event("created", response=self.snapshot("in_progress"))
        yield self._event("in_progress", response=self.snapshot("in_progress"))
        for index, item in enumerate(self.output):
            match item["type"]:
                case "reasoning":
                    yield from self._reasoning_events(item, index)
                case "message":
                    yield from self._message_events(item, index)
                case _:
                    yield from self._call_events(item, index)
        yield self._event(self._status, response=self.snapshot())

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        name = f"response.{kind}"
        return event({"type": name, "sequence_number": self._sequence, **fields}, name)

    def _reasoning_events(self, item: Json, index: int) -> Iterator[bytes]:
        # the ciphertext of the beginning is not the one to keep
        provisional = {"encrypted_content": "gAAAprovisional"} if "encrypted_content" in item else {}
        yield self._event("output_item.added", output_index=index, item={**item, "summary": [], **provisional})
        for place, part in enumerate(item["summary"]):
            where = {"item_id": item["id"], "output_index": index, "summary_index": place}
            yield self._event("reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
            for piece in tokens(part["text"]):
                yield self._event("reasoning_summary_text.delta", **where, delta=piece)
            yield self._event("reasoning_summary_text.done", **where, text=part["text"])
            yield self._event("reasoning_summary_part.done", **where, part=part)
        yield self._event("output_item.done", output_index=index, item=item)

    def _message_events(self, item: Json, index: int) -> Iterator[bytes]:
        begun = {**item, "status": "in_progress", "content": []}
        yield self._event("output_item.added", output_index=index, item=begun)
        where = {"item_id": item["id"], "output_index": index, "content_index": 0}
        part = item["content"][0]
        word = "text" if part["type"] == "output_text" else "refusal"
        extra: Json = {"logprobs": []} if word == "text" else {}
        empty = {**part, word: "", **({"annotations": []} if word == "text" else {})}
        yield self._event("content_part.added", **where, part=empty)
        kind = "output_text" if word == "text" else "refusal"
        for piece in tokens(part[word]):
            yield self._event(f"{kind}.delta", **where, delta=piece, **extra)
        for place, annotation in enumerate(part.get("annotations", ())):
            yield self._event("output_text.annotation.added", **where, annotation_index=place, annotation=annotation)
        yield self._event(f"{kind}.done", **where, **{word: part[word]}, **extra)
        yield self._event("content_part.done", **where, part=part)
        yield self._event("output_item.done", output_index=index, item=item)

    def _call_events(self, item: Json, index: int) -> Iterator[bytes]:
        custom = item["type"] == "custom_tool_call"
        word, kind = ("input", "custom_tool_call_input") if custom else ("arguments", "function_call_arguments")
        begun = {**item, word: "", **({} if custom else {"status": "in_progress"})}
        yield self._event("output_item.added", output_index=index, item=begun)
        where = {"item_id": item["id"], "output_index": index}
        for start in range(0, len(item[word]), 5):
            yield self._event(f"{kind}.delta", **where, delta=item[word][start : start + 5])
        named = {} if custom else {"name": item["name"]}
        yield self._event(f"{kind}.done", **where, **{word: item[word]}, **named)
        yield self._event("output_item.done", output_index=index, item=item)


def _annotation(citation: Any) -> Json:
    return {
        "type": "url_citation",
        "start_index": citation.start,
        "end_index": citation.end,
        "title": citation.title,
        "url": citation.url,
    }


def _told(tool: Json) -> Json:
    """A tool as the response repeats it."""
    if tool["type"] != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True, **tool}
