"""Anthropic's Messages.

Source: https://platform.claude.com/docs/en/api/messages, types of the `anthropic` package
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from anthropic.types import message_create_params as params
from anthropic.types.beta import message_create_params as beta_params

from tests.vendors.anthropic_models import Model, model_named
from tests.vendors.app import Json, Refused, Reply, Request, Vendor, event
from tests.vendors.media import decoded, sniffed
from tests.vendors.schemas import anthropic_problem
from tests.vendors.scripting import Answer, Asked, Fault, Tokens, Tool, as_json, tokens
from tests.vendors.shapes import Mismatch, Place, Shape
from tests.vendors.signing import canonical

VERSIONS = ("2023-06-01", "2026-10-21")
"""The second is what the `anthropic` package 2.14 sends. Its types describe one wire, which is checked for both."""
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.\w+|\+?\d[\d ()-]{8,}\d")
MAX_MARKS = 4
STOP = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SAMPLING = {"temperature": float, "top_p": float, "top_k": int}
"""Gone from the types, still taken by older models."""
_NAMES = ("MessageCreateParamsNonStreaming", "MessageCreateParamsStreaming")
_SHAPE = Shape(
    extra=dict.fromkeys(_NAMES, _SAMPLING),
    # header fields in Python, not in the body
    forbidden={name: frozenset({"betas", "user_profile_id", "workspace_id"}) for name in _NAMES},
)
_BETA_FIELDS = {
    "context_management": "context-management-",
    "mcp_servers": "mcp-client-",
    "fallbacks": "server-side-fallback-",
    "thread": "message-threads-",
    "compaction": "compact-",
}
_BINDING_BETA = "thinking-binding-controls-"
_UNCOUNTED = ("max_tokens", "stop_sequences", "metadata", "stream", "service_tier", "temperature", "top_p", "top_k")
"""What `count_tokens` does not take."""
_ROLE_OF = {
    "assistant": ("thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result"),
    "user": ("tool_result", "image", "document", "search_result", "container_upload"),
}


class AnthropicMessages(Vendor):
    """`POST /v1/messages` and `/v1/messages/count_tokens`."""

    name = "anthropic_messages"
    request_id_header = "request-id"

    def reply(self, request: Request, request_id: str) -> Reply:
        self._authenticate(request)
        body = self.parsed(request)
        counting = request.path.endswith("count_tokens")
        _check_fields(body, request, counting=counting)
        model = self._model(body)
        _check_sampling(body, model)
        _check_thinking(body, model, request)
        _check_output(body, model)
        _check_tools(body, model)
        _check_marks(body)
        _check_turns(body, model)
        _check_calls(body["messages"])
        _check_loop(body)
        self._check_reasoning(body, model, request)
        asked = _asked(body, model)
        if counting:
            return Reply({"input_tokens": asked.read})
        answer, fault = self.say(asked, request_id)
        writer = _Writer(self, body, answer, asked)
        if not asked.stream:
            return Reply(writer.message())
        return self.streamed(list(writer.events()), fault)

    def envelope(self, refused: Refused, request: Request, request_id: str) -> Json:
        return {"type": "error", "error": _error(refused), "request_id": request_id}

    def fault(self, fault: Fault) -> Refused:
        after = [("retry-after", str(fault.retry_after))] if fault.retry_after is not None else []
        status = 529 if fault.status == 503 else fault.status
        return Refused(fault.message, status=status, kind=KINDS.get(status, "api_error"), headers=after)

    def failed(self, refused: Refused) -> bytes:
        return event({"type": "error", "error": _error(refused)}, "error")

    def not_json(self) -> Refused:
        return invalid("The request body is not valid JSON: expected value at line 1 column 1")

    def _authenticate(self, request: Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key") or bearer
        if not given:
            raise Refused("x-api-key header is required", status=401, kind="authentication_error")
        if given != self.key:
            raise Refused("invalid x-api-key", status=401, kind="authentication_error")
        if request.path not in ("/v1/messages", "/v1/messages/count_tokens") or request.method != "POST":
            raise Refused("Not Found", status=404, kind="not_found_error")
        version = request.headers.get("anthropic-version")
        if version is None:
            raise invalid("anthropic-version: header is required")
        if version not in VERSIONS:
            raise invalid(f'anthropic-version: "{version}" is not a valid version')

    def _model(self, body: Json) -> Model:
        model = model_named(body["model"])
        if model is None:
            raise Refused(f"model: {body['model']}", status=404, kind="not_found_error")
        return model

    def _check_reasoning(self, body: Json, model: Model, request: Request) -> None:
        """Thinking comes back as it was: unchanged, in order, in front of what it led to, after the same words; what
        followed other words is left out where that is asked for, and noted as `mismatch`."""
        binding = (body.get("thinking") or {}).get("block_binding") or {}
        drops = binding.get("prefix_mismatch_behavior") == "drop_block"
        for index, message in enumerate(body["messages"]):
            place = 0
            for position, block in enumerate(_blocks(message)):
                if block["type"] not in ("thinking", "redacted_thinking"):
                    continue
                prefix = prefix_of(body, index) if model.binds else None
                try:
                    self._check_signature(block, f"messages.{index}.content.{position}", place, prefix)
                except _OtherPrefix:
                    if not drops:
                        raise
                    request.notes.append("mismatch")
                place += 1

    def _check_signature(self, block: Json, where: str, place: int, prefix: str | None) -> None:
        kind = block["type"]
        word, signed = ("signature", block["thinking"]) if kind == "thinking" else ("data", "redacted")
        match self.signer.check(block[word], signed, place=place, prefix=prefix):
            case "good":
                return
            case "misplaced":
                raise invalid(
                    f"{where}: `thinking` or `redacted_thinking` blocks in an assistant message cannot be modified. "
                    "These blocks must remain as they were in the original response."
                )
            case "other_prefix":
                raise _OtherPrefix(
                    f"{where}: Invalid `{word}` in `{kind}` block. The block is bound to a different conversation: "
                    "system, tools or earlier messages have changed since it was made",
                    kind="invalid_request_error",
                )
            case "undecodable" | "altered":
                raise invalid(f"{where}: Invalid `{word}` in `{kind}` block")


class _OtherPrefix(Refused):
    """Thinking of another conversation."""


def prefix_of(body: Json, index: int) -> str:
    """What a thinking block of message `index` belongs to; cache marks may change."""
    before = [[message["role"], _blocks(message)] for message in body["messages"][:index]]
    return canonical(_unmarked([body.get("system"), body.get("tools"), before]))


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(member) for member in value]
    if isinstance(value, dict):
        return {name: _unmarked(member) for name, member in value.items() if name != "cache_control"}
    return value


def invalid(message: str) -> Refused:
    return Refused(message, kind="invalid_request_error")


def _error(refused: Refused) -> Json:
    return {"type": refused.kind or KINDS.get(refused.status, "api_error"), "message": refused.message}


def in_words(mismatch: Mismatch) -> Refused:
    """A wrong field as Anthropic complains about it."""
    where = ".".join(map(str, mismatch.place))
    match mismatch.kind:
        case "unknown":
            return invalid(f"{where}: Extra inputs are not permitted")
        case "missing":
            return invalid(f"{where}: Field required")
        case "type":
            names = {"a decimal": "number", "an integer": "integer", "an array": "array", "an object": "object"}
            wanted = " or ".join(names.get(word, word.split()[-1]) for word in mismatch.wanted)
            return invalid(f"{where}: Input should be a valid {wanted}")
        case "value":
            known = [f"'{word}'" for word in mismatch.wanted]
            listed = known[0] if len(known) == 1 else f"{', '.join(known[:-1])} or {known[-1]}"
            return invalid(f"{where}: Input should be {listed}")


def _check_fields(body: Json, request: Request, *, counting: bool) -> None:
    betas = [beta.strip() for beta in request.headers.get("anthropic-beta", "").split(",") if beta.strip()]
    for name, beta in _BETA_FIELDS.items():
        if name in body and not any(given.startswith(beta) for given in betas):
            raise invalid(f"{name}: Extra inputs are not permitted")
    thinking = body.get("thinking")
    if not isinstance(thinking, dict):
        thinking = {}
    if "block_binding" in thinking and not any(given.startswith(_BINDING_BETA) for given in betas):
        raise invalid(f"thinking.{thinking['type']}.block_binding: Extra inputs are not permitted")
    if counting:
        refused = next((name for name in _UNCOUNTED if name in body), None)
        if refused is not None:
            raise invalid(f"{refused}: Extra inputs are not permitted")
        body = {**body, "max_tokens": 1}
    source: Any = beta_params if betas else params
    streams = body.get("stream") is True
    try:
        _SHAPE.check(body, getattr(source, _NAMES[streams]))
    except Mismatch as mismatch:
        raise in_words(mismatch) from None


def _check_sampling(body: Json, model: Model) -> None:
    maximum, limit = body.get("max_tokens", 1), model.max_output
    if maximum < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    if maximum > limit:
        raise invalid(
            f"max_tokens: {maximum} > {limit}, which is the maximum allowed number of output tokens for {body['model']}"
        )
    temperature, top_p, top_k = (body.get(name) for name in _SAMPLING)
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if value is not None and not 0 <= value <= 1:
            raise invalid(f"{name}: range: 0..1")
    if model.sampling == "fixed":
        for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
            if value is not None and (name, value) != ("temperature", 1):
                raise invalid(f"`{name}` is deprecated for this model.")
    if model.sampling == "one_of" and temperature is not None and top_p is not None:
        raise invalid("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if not _thinks(body, model):
        return
    if temperature not in (None, 1):
        raise invalid(
            "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at "
            "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
        )
    if top_p is not None and top_p < 0.95:
        raise invalid("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    if top_k is not None:
        raise invalid("`top_k` must be unset when thinking is enabled.")


def _thinks(body: Json, model: Model) -> bool:
    kind = (body.get("thinking") or {}).get("type")
    return model.thinks if kind is None else kind != "disabled"


def _check_thinking(body: Json, model: Model, request: Request) -> None:
    config = body.get("thinking") or {}
    kind = config.get("type")
    if kind is not None and kind not in model.thinking:
        raise invalid(f'"thinking.type.{kind}" is not supported for this model.')
    if kind == "enabled":
        budget = config["budget_tokens"]
        interleaved = "interleaved-thinking-2025-05-14" in request.headers.get("anthropic-beta", "")
        if budget < 1024:
            raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= body.get("max_tokens", budget + 1) and not (interleaved and body.get("tools")):
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    effort = (body.get("output_config") or {}).get("effort")
    if effort is None:
        return
    if effort not in model.efforts:
        raise invalid(
            f"output_config.effort: '{effort}' is not supported for this model"
            if model.efforts
            else "This model does not support the effort parameter."
        )
    if kind in ("disabled", "between_tools") and model.calm and effort not in model.calm:
        raise invalid(f"\"thinking.type.{kind}\" is not supported at effort '{effort}'.")


def _check_output(body: Json, model: Model) -> None:
    for index, stop in enumerate(body.get("stop_sequences") or ()):
        if not stop.strip():
            raise invalid(f"stop_sequences.{index}: each stop sequence must contain non-whitespace")
    user = (body.get("metadata") or {}).get("user_id")
    if user is not None and (len(user) > 256 or _PERSONAL.fullmatch(user)):
        raise invalid("metadata.user_id: user_id appears to contain an email address or a phone number")
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is None:
        return
    if not model.structured:
        raise invalid(f"'{body['model']}' does not support output format.")
    problem = anthropic_problem(wanted["schema"])
    if problem is not None:
        raise invalid(f"output_config.format.schema: {problem}")


def _check_tools(body: Json, model: Model) -> None:
    tools = body.get("tools") or []
    names = []
    for index, tool in enumerate(tools):
        if tool.get("type") in (None, "custom"):
            _check_tool(tool, f"tools.{index}.custom", model)
        if "name" in tool:
            names.append(tool["name"])
    if len(set(names)) != len(names):
        raise invalid("tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not tools:
        raise invalid("tool_choice may only be specified while providing tools")
    if choice["type"] == "tool" and choice["name"] not in names:
        raise invalid(f"Tool '{choice['name']}' not found in provided tools")
    if choice["type"] not in ("any", "tool"):
        return
    if model.forced == "no":
        raise invalid(f'"tool_choice.type.{choice["type"]}" is not supported for this model.')
    if model.forced == "not_with_thinking" and _thinks(body, model):
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")


def _check_tool(tool: Json, where: str, model: Model) -> None:
    if not TOOL_NAME.fullmatch(tool["name"]):
        raise invalid(f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = tool["input_schema"]
    if "type" not in schema:
        raise invalid(f"{where}.input_schema.type: Field required")
    if schema["type"] != "object":
        raise invalid(f"{where}.input_schema.type: Input should be 'object'")
    if schema.keys() & {"anyOf", "oneOf", "allOf"}:
        raise invalid(f"{where}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level")
    if not tool.get("strict"):
        return
    if not model.structured:
        raise invalid(f"{where}.strict: strict tools are not supported for this model")
    problem = anthropic_problem(schema)
    if problem is not None:
        raise invalid(f"{where}.input_schema: {problem}")


def _marks(value: Any, place: Place = ()) -> Iterator[tuple[Place, Json, Json]]:
    """Every cache mark with its place and its block, in the order of the prompt: tools, system, messages."""
    if isinstance(value, list):
        for index, member in enumerate(value):
            yield from _marks(member, (*place, index))
    elif isinstance(value, dict):
        if value.get("cache_control") is not None:
            yield place, value["cache_control"], value
        for name in ("tools", "system", "messages", "content"):
            yield from _marks(value.get(name), (*place, name))


def _check_marks(body: Json) -> None:
    marks = list(_marks(body))
    if len(marks) > MAX_MARKS:
        raise invalid(f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {len(marks)}.")
    short = False
    for place, mark, block in marks:
        where = ".".join(map(str, place))
        if block.get("type") == "text" and not block["text"]:
            raise invalid(f"{where}: cache_control cannot be set for empty text blocks")
        if mark.get("ttl") == "1h" and short:
            raise invalid(
                f"{where}: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
            )
        short = short or mark.get("ttl") != "1h"


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_turns(body: Json, model: Model) -> None:
    messages = body["messages"]
    if isinstance(body.get("system"), list):
        _check_texts(body["system"], "system")
    if not messages:
        raise invalid("messages: at least one message is required")
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    for index, message in enumerate(messages):
        _check_turn(messages, index, model)
        final = index == len(messages) - 1 and message["role"] == "assistant"
        if not message["content"] and not final:
            raise invalid(
                f"messages.{index}: all messages must have non-empty content except for the optional final assistant "
                "message"
            )
        if isinstance(message["content"], str):
            if not message["content"].strip() and not final:
                raise invalid("messages: text content blocks must contain non-whitespace text")
            continue
        _check_texts(message["content"], f"messages.{index}.content")
        for place, block in enumerate(message["content"]):
            _check_block(block, message["role"], f"messages.{index}.content.{place}")
    if messages[-1]["role"] == "assistant":
        _check_prefill(body, model)


def _check_turn(messages: list[Json], index: int, model: Model) -> None:
    if messages[index]["role"] != "system":
        return
    if not model.system_turns:
        raise invalid(f"messages.{index}.role: Input should be 'user' or 'assistant'")
    after = messages[index + 1]["role"] if index + 1 < len(messages) else "assistant"
    if messages[index - 1]["role"] != "user" or after != "assistant":
        raise invalid(
            f"messages.{index}: a system message must follow a user message and be last or be followed by an assistant "
            "message"
        )


def _check_texts(blocks: Sequence[Json], where: str) -> None:
    for block in blocks:
        if block["type"] != "text":
            continue
        if not block["text"]:
            raise invalid(f"{where.split('.')[0]}: text content blocks must be non-empty")
        if not block["text"].strip():
            raise invalid(f"{where.split('.')[0]}: text content blocks must contain non-whitespace text")


def _check_block(block: Json, role: str, where: str) -> None:
    kind = block["type"]
    belongs = next((owner for owner, kinds in _ROLE_OF.items() if kind in kinds), role)
    if belongs != role:
        raise invalid(f"{where}: `{kind}` blocks can only be in `{belongs}` messages")
    if kind == "image":
        _check_image(block["source"], f"{where}.image.source")
    if kind in ("tool_use", "tool_result"):
        identity = block["id" if kind == "tool_use" else "tool_use_id"]
        if not TOOL_ID.fullmatch(identity):
            raise invalid(f"{where}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if kind == "tool_use" and not isinstance(block["input"], dict):
        raise invalid(f"{where}.tool_use.input: Input should be a valid dictionary")
    if kind == "tool_result":
        content = block.get("content")
        if block.get("is_error") and not content:
            raise invalid(f"{where}.tool_result: content cannot be empty if `is_error` is true")
        if isinstance(content, list):
            _check_texts(content, f"messages.{where}")
            for place, inner in enumerate(content):
                if inner["type"] == "image":
                    _check_image(inner["source"], f"{where}.tool_result.content.{place}.image.source")


def _check_image(source: Json, where: str) -> None:
    if source["type"] == "url" and not source["url"].startswith("https://"):
        raise invalid("Only HTTPS URLs are supported.")
    if source["type"] != "base64":
        return
    raw = decoded(source["data"])
    if raw is None:
        raise invalid(f"{where}.base64.data: Invalid base64 data")
    found = sniffed(raw)
    if not found:
        raise invalid("Could not process image")
    if found != source["media_type"]:
        raise invalid(
            f"{where}.base64: The image was specified using the {source['media_type']} media type, but the image "
            f"appears to be a {found} image"
        )


def _check_prefill(body: Json, model: Model) -> None:
    last = body["messages"][-1]
    if model.prefill == "no":
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    blocks = _blocks(last)
    if _thinks(body, model) and model.prefill == "not_with_thinking":
        raise invalid("When thinking is enabled, the conversation must end with a `user` message.")
    if any(block["type"] in ("thinking", "redacted_thinking") for block in blocks):
        raise invalid(
            "When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`."
        )
    if blocks and blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")


def _check_calls(messages: list[Json]) -> None:
    """Every call is answered first thing in the next message, and nothing else is answered."""
    seen: set[str] = set()
    called: list[str] = []
    for index, message in enumerate(messages):
        blocks = _blocks(message)
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        strange = [identity for identity in answered if identity not in called]
        if strange:
            raise invalid(
                f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {strange[0]}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        twice = [identity for place, identity in enumerate(answered) if identity in answered[:place]]
        if twice:
            raise invalid(
                f"messages.{index}.content: each tool_use must have a single result. Found multiple `tool_result` "
                f"blocks with id: {twice[0]}"
            )
        leading = [block["type"] for block in blocks][: len(called)]
        if set(called) - set(answered) or leading != ["tool_result"] * len(called):
            missing = [identity for identity in called if identity not in answered] or called
            raise _unanswered(index - 1, missing)
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        for identity in called:
            if identity in seen:
                raise invalid(f"messages.{index}.content: `tool_use` ids must be unique")
            seen.add(identity)
    if called:
        raise _unanswered(len(messages) - 1, called)


def _unanswered(index: int, ids: Sequence[str]) -> Refused:
    return invalid(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _check_loop(body: Json) -> None:
    """What only concerns histories with calls."""
    messages = body["messages"]
    has_calls = any(block["type"] in ("tool_use", "tool_result") for one in messages for block in _blocks(one))
    if has_calls and not body.get("tools"):
        raise invalid("Requests which include `tool_use` or `tool_result` blocks must define tools")
    if (body.get("thinking") or {}).get("type") != "enabled" or messages[-1]["role"] != "user":
        return
    last = _blocks(messages[-1])
    if not any(block["type"] == "tool_result" for block in last):
        return
    index = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
    first = _blocks(messages[index])[0]["type"]
    if first not in ("thinking", "redacted_thinking"):
        raise invalid(
            f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _text(blocks: Any) -> str:
    if isinstance(blocks, str):
        return blocks
    words = []
    for block in blocks or ():
        words.append(block.get("text") or block.get("thinking") or "")
        if block["type"] == "tool_result":
            words.append(_text(block.get("content")))
    return " ".join(word for word in words if word)


def _asked(body: Json, model: Model) -> Asked:
    messages = body["messages"]
    users = [message for message in messages if message["role"] == "user"]
    asking = [one for one in users if any(block["type"] in ("text", "image") for block in _blocks(one))]
    blocks = _blocks(asking[-1]) if asking else []
    results = [block for block in _blocks(users[-1]) if block["type"] == "tool_result"]
    choice = body.get("tool_choice") or {"type": "auto"}
    config = body.get("thinking") or {}
    display = config.get("display") or ("summarized" if model.shows else "omitted")
    return Asked(
        model=body["model"],
        text=" ".join(block["text"] for block in blocks if block["type"] == "text"),
        last="tool" if results and (not asking or asking[-1] is not users[-1]) else "user",
        prompt=" ".join([_text(body.get("system")), *(_text(message["content"]) for message in messages)]),
        system=_text(body.get("system")),
        tools=tuple(
            Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools") or () if "input_schema" in tool
        ),
        choice={"auto": "auto", "none": "none"}.get(choice["type"], "required"),  # type: ignore[arg-type]
        only=(choice["name"],) if choice["type"] == "tool" else (),
        results=tuple(_text(block.get("content")) for block in results),
        images=tuple(
            block["source"].get("media_type", "an image by address") for block in blocks if block["type"] == "image"
        ),
        thinks=_thinks(body, model),
        shows=display != "omitted",
        schema=((body.get("output_config") or {}).get("format") or {}).get("schema"),
        max_output=body.get("max_tokens") or None,
        stop=tuple(body.get("stop_sequences") or ()),
        stream=bool(body.get("stream")),
    )


def usage_object(tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.input - tokens.cached - tokens.written,
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "service_tier": "standard",
    }


class _Writer:
    """One answer, whole or as events."""

    def __init__(self, vendor: AnthropicMessages, body: Json, answer: Answer, asked: Asked) -> None:
        number = len(vendor.requests)
        self._answer = answer
        self._head = {
            "id": f"msg_standin{number:017d}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
        }
        self._content: list[Json] = []
        if answer.reasoning is not None:
            text = answer.reasoning if asked.shows else ""
            signature = vendor.signer.sign(text, prefix=prefix_of(body, len(body["messages"])))
            self._content.append({"type": "thinking", "thinking": text, "signature": signature})
        text = answer.text or answer.refusal or ""
        if text:
            self._content.append({"type": "text", "text": text, **_cited(answer)})
        for place, call in enumerate(answer.calls):
            given = call.arguments if isinstance(call.arguments, dict) else {"input": call.arguments}
            identity = f"toolu_standin{number:015d}{place:02d}"
            self._content.append({"type": "tool_use", "id": identity, "name": call.name, "input": given})

    @property
    def _end(self) -> Json:
        reason = STOP[self._answer.finish]
        end: Json = {"stop_reason": reason, "stop_sequence": self._answer.stop_sequence}
        if reason == "refusal":
            end["stop_details"] = {"type": "refusal", "category": None, "explanation": self._answer.refusal}
        return end

    def message(self) -> Json:
        return {**self._head, "content": self._content, **self._end, "usage": usage_object(self._answer.usage)}

    def events(self) -> Iterator[bytes]:
        usage = usage_object(self._answer.usage)
        begun = {**usage, "output_tokens": 1}
        del begun["output_tokens_details"]
        message = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}
        yield self._event("message_start", message=message)
        yield self._event("ping")
        for index, block in enumerate(self._content):
            yield self._event("content_block_start", index=index, content_block=_begun(block))
            for delta in self._deltas(block):
                yield self._event("content_block_delta", index=index, delta=delta)
            yield self._event("content_block_stop", index=index)
        told = {name: count for name, count in usage.items() if name not in ("cache_creation", "service_tier")}
        yield self._event("message_delta", delta=self._end, usage=told)
        yield self._event("message_stop")

    def _event(self, kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    def _deltas(self, block: Json) -> Iterator[Json]:
        if block["type"] == "thinking":
            for piece in tokens(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        elif block["type"] == "text":
            for piece in tokens(block["text"]):
                yield {"type": "text_delta", "text": piece}
            for citation in block.get("citations", ()):
                yield {"type": "citations_delta", "citation": citation}
        else:
            text = as_json(block["input"])
            yield {"type": "input_json_delta", "partial_json": ""}
            for start in range(0, len(text), 5):
                yield {"type": "input_json_delta", "partial_json": text[start : start + 5]}


def _begun(block: Json) -> Json:
    match block["type"]:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "text":
            return {"type": "text", "text": ""}
        case _:
            return {**block, "input": {}}


def _cited(answer: Answer) -> Json:
    citations = [
        {
            "type": "web_search_result_location",
            "url": citation.url,
            "title": citation.title,
            "cited_text": answer.text[citation.start : citation.end],
            "encrypted_index": "c3RhbmQtaW4=",
        }
        for citation in answer.citations
    ]
    return {"citations": citations} if citations else {}
