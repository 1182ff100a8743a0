"""OpenAI's Chat Completions.

Source: https://platform.openai.com/docs/api-reference/chat, types of the `openai` package
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from openai.types.chat import completion_create_params as params

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
    error_object,
    image_type,
    in_words,
    invalid,
    unsupported,
    without_tools,
)
from tests.vendors.openai_models import Model
from tests.vendors.scripting import Answer, Asked, Script, Tokens, Tool, arguments_text, tokens
from tests.vendors.shapes import Mismatch, Shape

CREATED = 1_790_000_000
FINISH = {
    "stop": "stop",
    "stop_sequence": "stop",
    "refusal": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}
_SAMPLING = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)
_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
    "n": (1, 128),
    "max_tokens": (1, 2**31),
    "max_completion_tokens": (1, 2**31),
}


class OpenAIChat(OpenAI):
    """`POST /v1/chat/completions`.

    Args:
        reasoning_field: where a vendor that is only like OpenAI puts the text of reasoning (`reasoning_content`,
            `reasoning`), in answers and in the assistant's messages; OpenAI itself never tells it.
        wants_reasoning: whether messages that called tools must come back with that text (DeepSeek, Kimi).
    """

    name = "openai_chat"
    path = "/v1/chat/completions"

    def __init__(
        self, *, script: Script = None, key: str = KEY, reasoning_field: str = "", wants_reasoning: bool = False
    ) -> None:
        super().__init__(script=script, key=key)
        self.reasoning_field = reasoning_field
        self.wants_reasoning = wants_reasoning
        # messages are handed back as they came, annotations included, though the type has none
        own: dict[str, Any] = {"annotations": list[Any], **({reasoning_field: str} if reasoning_field else {})}
        self._shape = Shape(extra={"ChatCompletionAssistantMessageParam": own})

    def reply(self, request: Request, request_id: str) -> Reply:
        self.authenticate(request)
        body = self.parsed(request)
        self._check_fields(body)
        model = self.model(body)
        effort = _check_parameters(body, model)
        _check_tools(body, model, effort)
        _check_messages(body["messages"], model)
        self._check_reasoning(body["messages"])
        asked = _asked(body, model, effort)
        answer, fault = self.say(asked, request_id)
        writer = _Writer(self, body, answer, shows=bool(self.reasoning_field))
        if not asked.stream:
            return Reply(writer.completion())
        return self.streamed(list(writer.chunks()), fault)

    def _check_fields(self, body: Json) -> None:
        streams = body.get("stream") is True
        hint = params.CompletionCreateParamsStreaming if streams else params.CompletionCreateParamsNonStreaming
        try:
            self._shape.check(body, hint)
        except Mismatch as mismatch:
            raise in_words(mismatch) from None

    def _check_reasoning(self, messages: list[Json]) -> None:
        if self.wants_reasoning and any(
            message.get("tool_calls") and not message.get(self.reasoning_field) for message in messages
        ):
            raise invalid(f"The `{self.reasoning_field}` in the thinking mode must be passed back to the API.")

    def failed(self, refused: Refused) -> bytes:
        return event(error_object(refused))


def _check_parameters(body: Json, model: Model) -> str:
    """Everything beside messages and tools. Gives the effort in force."""
    if not model.chat:
        raise invalid("This model is only supported in v1/responses and not in v1/chat/completions.", param="model")
    for name, (low, high) in _RANGES.items():
        check_range(body, name, low, high)
    if body.get("max_tokens") is not None:
        if model.reasons:
            raise unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
        if body.get("max_completion_tokens") is not None:
            raise invalid(
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
                param="max_tokens",
            )
    effort = check_effort(body.get("reasoning_effort"), model, "reasoning_effort")
    check_sampling(body, model, effort, _SAMPLING)
    stop = body.get("stop")
    if stop is not None and not model.stop:
        raise unsupported("stop")
    if isinstance(stop, list) and not 1 <= len(stop) <= 4:
        raise invalid(
            f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length "
            f"{len(stop)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise invalid("'top_logprobs' is only allowed when 'logprobs' is enabled.", param="top_logprobs")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if body.get("verbosity") is not None and not model.verbosity and body["verbosity"] != "medium":
        raise bad_value(body["verbosity"], "verbosity", ("medium",))
    if body.get("metadata") and not body.get("store"):
        raise invalid("The 'metadata' parameter is only allowed when 'store' is enabled.", param="metadata")
    if body.get("prompt_cache_options") is not None and not model.marks:
        raise unsupported("prompt_cache_options")
    if body.get("audio") is not None and not model.audio:
        raise unsupported("audio")
    if any(not -100 <= bias <= 100 for bias in (body.get("logit_bias") or {}).values()):
        raise invalid("Invalid value in 'logit_bias'. Expected a value between -100 and 100.", param="logit_bias")
    check_metadata(body)
    _check_response_format(body)
    return effort


def _check_response_format(body: Json) -> None:
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_object" and "json" not in orjson.dumps(body["messages"]).decode().lower():
        raise invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )
    if wanted["type"] == "json_schema":
        named = wanted["json_schema"]
        if "schema" not in named:
            raise invalid(
                "Missing required parameter: 'response_format.json_schema.schema'.",
                param="response_format.json_schema.schema",
                code="missing_required_parameter",
            )
        check_format(named["name"], named["schema"], named.get("strict"), "response_format")


def _check_tools(body: Json, model: Model, effort: str) -> None:
    without_tools(body, ("tool_choice", "parallel_tool_calls"))
    tools = body.get("tools") or []
    for index, tool in enumerate(tools):
        if tool["type"] == "function":
            check_function(tool["function"], f"tools[{index}].function", strict=bool(tool["function"].get("strict")))
        else:
            check_name(tool["custom"]["name"], f"tools[{index}].custom.name")
    names = [_tool_name(tool) for tool in tools]
    check_unique(names, "tools")
    if any(tool["type"] == "function" for tool in tools) and (
        model.tools == "responses" or (model.tools == "at_none" and effort != "none")
    ):
        raise invalid(
            f"Function tools with reasoning_effort are not supported for {body['model']} in /v1/chat/completions. "
            "Please use /v1/responses instead.",
            param="reasoning_effort",
        )
    for name in _chosen(body.get("tool_choice")):
        if name not in names:
            raise invalid(
                f"Invalid value for 'tool_choice': '{name}' is not a tool of this request.", param="tool_choice"
            )


def _tool_name(tool: Json) -> str:
    name: str = tool[tool["type"]]["name"]
    return name


def _chosen(choice: Any) -> list[str]:
    if not isinstance(choice, dict):
        return []
    if choice["type"] == "allowed_tools":
        return [_tool_name(tool) for tool in choice["allowed_tools"]["tools"]]
    return [_tool_name(choice)]


def _check_messages(messages: list[Json], model: Model) -> None:
    if not messages:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message["role"] == "tool":
            _check_result(message, where, open_calls)
            continue
        if open_calls:
            raise _unanswered(open_calls)
        if message["role"] == "assistant":
            open_calls = _check_assistant(message, where)
        if message["role"] == "user":
            _check_user(message, where, model)
    if open_calls:
        raise _unanswered(open_calls)


def _check_assistant(message: Json, where: str) -> list[str]:
    """Ids of the calls that are to be answered next."""
    calls = message.get("tool_calls")
    if calls is not None and not calls:
        raise invalid(
            f"Invalid '{where}.tool_calls': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            param=f"{where}.tool_calls",
            code="empty_array",
        )
    if message.get("content") is None and not calls and not message.get("refusal") and not message.get("audio"):
        raise invalid("Invalid value for 'content': expected a string, got null.", param=f"{where}.content")
    if message.get("content") == []:
        raise invalid(f"Invalid '{where}.content': empty array.", param=f"{where}.content", code="empty_array")
    ids = []
    for place, call in enumerate(calls or ()):
        check_id(call["id"], f"{where}.tool_calls[{place}].id")
        check_name(_tool_name(call), f"{where}.tool_calls[{place}].{call['type']}.name")
        if call["id"] in ids:
            raise invalid(f"Duplicate value for 'tool_call_id' of '{call['id']}'.", param=f"{where}.tool_calls")
        ids.append(call["id"])
    return ids


def _check_result(message: Json, where: str, open_calls: list[str]) -> None:
    if message["tool_call_id"] not in open_calls:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
            "'tool_calls'.",
            param=f"{where}.role",
        )
    open_calls.remove(message["tool_call_id"])


def _unanswered(ids: list[str]) -> Refused:
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(ids)}",
        param="messages",
    )


def _check_user(message: Json, where: str, model: Model) -> None:
    if message["content"] == []:
        raise invalid(f"Invalid '{where}.content': empty array.", param=f"{where}.content", code="empty_array")
    if isinstance(message["content"], str):
        return
    for place, part in enumerate(message["content"]):
        here = f"{where}.content[{place}]"
        if part["type"] == "image_url":
            check_image(part["image_url"]["url"], f"{here}.image_url.url")
        if part["type"] == "input_audio" and not model.audio:
            raise invalid("This model does not support audio input.", param=here)
        if part.get("prompt_cache_breakpoint") is not None and not model.marks:
            raise unsupported(f"{here}.prompt_cache_breakpoint")


def _text(content: Any) -> str:
    if not isinstance(content, list):
        return content or ""
    words = [part.get("text") or part.get("refusal") or "" for part in content]
    return " ".join(word for word in words if word)


def _asked(body: Json, model: Model, effort: str) -> Asked:
    messages = body["messages"]
    users = [message for message in messages if message["role"] == "user"]
    content = users[-1]["content"] if users else ""
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, _text(message["content"]))
    choice: Any = body.get("tool_choice") or "auto"
    mode = choice
    if isinstance(choice, dict):
        mode = choice["allowed_tools"]["mode"] if choice["type"] == "allowed_tools" else "required"
    wanted = body.get("response_format") or {"type": "text"}
    stop = body.get("stop") or ()
    return Asked(
        model=body["model"],
        text=_text(content),
        last="tool" if messages[-1]["role"] == "tool" else "user",
        prompt=" ".join(_text(message.get("content")) for message in messages),
        system=" ".join(_text(m["content"]) for m in messages if m["role"] in ("system", "developer")),
        tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
        choice=mode,
        only=tuple(_chosen(choice)),
        results=tuple(results),
        images=tuple(
            image_type(part["image_url"]["url"])
            for part in content
            if isinstance(part, dict) and part["type"] == "image_url"
        ),
        thinks=model.reasons and effort != "none",
        schema={"json_object": {}, "json_schema": wanted.get("json_schema", {}).get("schema")}.get(wanted["type"]),
        max_output=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        stream=bool(body.get("stream")),
    )


def _tool(tool: Json) -> Tool:
    own = tool[tool["type"]]
    return Tool(own["name"], own.get("parameters") or {"type": "object"}, custom=tool["type"] == "custom")


def usage_object(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "audio_tokens": 0,
            **({"cache_write_tokens": tokens.written} if tokens.written else {}),
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class _Writer:
    """One answer, whole or in chunks."""

    def __init__(self, vendor: OpenAIChat, body: Json, answer: Answer, *, shows: bool) -> None:
        number = len(vendor.requests)
        self._body = body
        self._answer = answer
        self._field = vendor.reasoning_field if shows and answer.reasoning else ""
        self._head = {"id": f"chatcmpl-standin{number:021d}", "created": CREATED, "model": body["model"]}
        self._tail = {"service_tier": "default", "system_fingerprint": "fp_standin"}
        self._calls = [self._call(place) for place in range(len(answer.calls))]
        self._asks_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._obscures = (body.get("stream_options") or {}).get("include_obfuscation") is not False

    def _call(self, place: int) -> Json:
        call = self._answer.calls[place]
        identity = f"call_{self._head['id'][-12:]}{place:012d}"
        if isinstance(call.arguments, str):
            return {"id": identity, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        return {
            "id": identity,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments_text(call)},
        }

    def completion(self) -> Json:
        answer = self._answer
        silent = not answer.text and (self._calls or answer.refusal is not None)
        message: Json = {
            "role": "assistant",
            "content": None if silent else answer.text,
            "refusal": answer.refusal,
            "annotations": [_annotation(citation) for citation in answer.citations],
        }
        if self._field:
            message[self._field] = answer.reasoning
        if self._calls:
            message["tool_calls"] = self._calls
        choices = [
            {"index": index, "message": message, "logprobs": self._logprobs(answer.text), "finish_reason": self._finish}
            for index in range(self._body.get("n") or 1)
        ]
        usage = usage_object(answer.usage)
        return {"object": "chat.completion", **self._head, "choices": choices, "usage": usage, **self._tail}

    @property
    def _finish(self) -> str:
        return FINISH[self._answer.finish]

    def _logprobs(self, text: str) -> Json | None:
        if not self._body.get("logprobs"):
            return None
        listed = [
            {"token": piece, "logprob": -0.25, "bytes": list(piece.encode()), "top_logprobs": []}
            for piece in tokens(text)
        ]
        return {"content": listed, "refusal": None}

    def chunks(self) -> Iterator[bytes]:
        for index in range(self._body.get("n") or 1):
            yield self._chunk({"role": "assistant", "content": "", "refusal": None}, index)
            for delta, logprobs in self._deltas():
                yield self._chunk(delta, index, logprobs=logprobs)
            yield self._chunk({}, index, finish=self._finish)
        if self._asks_usage:
            yield self._event({"choices": [], "usage": usage_object(self._answer.usage)})
        yield b"data: [DONE]\n\n"

    def _deltas(self) -> Iterator[tuple[Json, Json | None]]:
        answer = self._answer
        if self._field:
            for piece in tokens(answer.reasoning or ""):
                yield {self._field: piece}, None
        for piece in tokens(answer.text):
            yield {"content": piece}, self._logprobs(piece)
        for piece in tokens(answer.refusal or ""):
            yield {"refusal": piece}, None
        for index, call in enumerate(self._calls):
            kind = call["type"]
            word = "arguments" if kind == "function" else "input"
            begun = {**call, kind: {**call[kind], word: ""}}
            yield {"tool_calls": [{"index": index, **begun}]}, None
            text = call[kind][word]
            for start in range(0, len(text), 5):
                yield {"tool_calls": [{"index": index, kind: {word: text[start : start + 5]}}]}, None
        if answer.citations:
            yield {"annotations": [_annotation(citation) for citation in answer.citations]}, None

    def _chunk(self, delta: Json, index: int, *, finish: str | None = None, logprobs: Json | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._event({"choices": [choice], **({"usage": None} if self._asks_usage else {})})

    def _event(self, own: Json) -> bytes:
        hidden = {"obfuscation": "x7Kp"} if self._obscures else {}
        return event({"object": "chat.completion.chunk", **self._head, **self._tail, **own, **hidden})


def _annotation(citation: Any) -> Json:
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": citation.start,
            "end_index": citation.end,
            "title": citation.title,
            "url": citation.url,
        },
    }
