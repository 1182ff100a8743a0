"""Items that a model writes: messages, reasoning, calls. Answers bring them, and history sends them back.

An item of a hosted tool stays whole among the extras of its `HostedCall`; what others can read of its result is a
`HostedResult` beside it. Items that only this format knows are `Opaque`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from oneapi_mw.canonical.blocks import (
    Block,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Opaque,
    OpaqueKind,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
)
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.extras import mapped, merged, unmapped
from oneapi_mw.wire.media import sniff, standard_base64
from oneapi_mw.wire.openai_responses.content import (
    MESSAGE_EXTRAS,
    NAME,
    decode_annotations,
    decode_logprobs,
    encode_annotations,
    encode_logprobs,
    extras,
    extras_of,
)

HOSTED: Mapping[str, tuple[str, str]] = {
    "web_search_call": ("web_search", "web_search"),
    "file_search_call": ("file_search", "file_search"),
    "code_interpreter_call": ("code", "code_interpreter"),
    "mcp_call": ("mcp", ""),
}
"""Items of hosted tools -> kind and name of the tool."""
OPAQUE: Mapping[str, OpaqueKind] = {
    "compaction": "compaction",
    "compaction_trigger": "compaction",
    "mcp_approval_request": "approval",
    "mcp_approval_response": "approval",
    "additional_tools": "tool_change",
    "configuration_update": "config_change",
    "item_reference": "item_ref",
    "program": "program",
    "program_output": "program",
}
PREFIXES: Mapping[str, str] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "web_search_call": "ws_",
    "code_interpreter_call": "ci_",
    "image_generation_call": "ig_",
}
"""How ids of items begin."""
IMAGE = "image_generation_call"
CALLS = ("function_call", "custom_tool_call")

_PARTS = mapped("type", "text", "annotations", "logprobs")
_REFUSAL = mapped("type", "refusal")
_MESSAGE = mapped("type", "role", "id", "content", "phase")
_REASONING = mapped("type", "id", "summary", "content", "encrypted_content", "status")
_FUNCTION = mapped("type", "id", "call_id", "name", "arguments", "namespace", "caller")
_CUSTOM = mapped("type", "id", "call_id", "name", "input", "namespace", "caller")
_IMAGE = mapped("type", "id", "result")


# Decoding. Members of a wrong type count as absent: an answer is read as far as it can be.


def decode_item(item: Mapping[str, Any], *, vendor: str) -> tuple[Block, ...]:
    """The blocks of a whole item. `vendor`: who made its ciphertext."""
    match item.get("type"):
        case "message" | None:
            return decode_message(item)
        case "reasoning":
            return (decode_reasoning(item, vendor=vendor),)
        case "function_call" | "custom_tool_call":
            return (decode_call(item),)
        case "image_generation_call" if text(item, "result"):
            return (decode_image(item),)
        case kind if kind in HOSTED or kind == IMAGE:
            return decode_hosted(item)
        case kind:
            return (Opaque(OPAQUE.get(str(kind), "foreign"), NAME, str(kind), item),)


def text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _maybe(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) else None


def _objects(item: Mapping[str, Any], name: str) -> list[JsonObject]:
    value = item.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def decode_message(item: Mapping[str, Any]) -> tuple[Block, ...]:
    """The parts of an assistant's message; members of the message itself are kept by the first."""
    rest = unmapped(item, _MESSAGE)
    if rest.get("status") == "completed":
        del rest["status"]
    content = item.get("content")
    parts = [{"type": "output_text", "text": content}] if isinstance(content, str) else _objects(item, "content")
    blocks: list[Block] = []
    for part in parts:
        block = decode_output_part(part, _maybe(item, "id"), _maybe(item, "phase"))
        if rest and isinstance(block, (Text, Refusal)):
            block = _with_message(block, rest)
            rest = {}
        blocks.append(block)
    return tuple(blocks)


def _with_message(block: Text | Refusal, rest: JsonObject) -> Block:
    kept = {**block.extras, MESSAGE_EXTRAS: rest}
    if isinstance(block, Text):
        return Text(block.text, block.citations, block.logprobs, item_id=block.item_id, phase=block.phase, extras=kept)
    return Refusal(block.text, block.logprobs, block.item_id, extras=kept)


def decode_output_part(part: Mapping[str, Any], item_id: str | None, phase: str | None) -> Block:
    kind = part.get("type")
    if kind == "refusal":
        return Refusal(text(part, "refusal"), item_id=item_id, extras=extras(part, _REFUSAL))
    if kind not in ("output_text", "text", "input_text", None):
        return Opaque("foreign", NAME, str(kind), part)
    return Text(
        text(part, "text"),
        decode_annotations(part.get("annotations")),
        decode_logprobs(part.get("logprobs")),
        item_id=item_id,
        phase=phase,
        extras=extras(part, _PARTS),
    )


def decode_reasoning(item: Mapping[str, Any], *, vendor: str) -> Reasoning:
    texts = [ReasoningText(text(part, "text"), True) for part in _objects(item, "summary")]
    texts += (ReasoningText(text(part, "text")) for part in _objects(item, "content"))
    data, item_id = text(item, "encrypted_content"), _maybe(item, "id")
    opaque = ReasoningOpaque(data, vendor, "encrypted", item_id) if data else None
    return Reasoning(tuple(texts), opaque, item_id, _maybe(item, "status"), extras(item, _REASONING))


def arguments_text(value: object) -> str:
    """Arguments as text; some servers send the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value).decode()


def decode_call(item: Mapping[str, Any]) -> ToolCall:
    custom = item.get("type") == "custom_tool_call"
    kind: Literal["function", "custom"] = "custom" if custom else "function"
    caller = item.get("caller")
    known = _CUSTOM if custom else _FUNCTION
    rest = unmapped(item, known)
    if rest.get("status") == "completed":
        del rest["status"]
    return ToolCall(
        text(item, "call_id") or text(item, "id"),
        text(item, "name"),
        arguments_text(item.get("input" if custom else "arguments")),
        kind,
        _maybe(item, "id"),
        _maybe(item, "namespace"),
        caller if isinstance(caller, dict) else None,
        extras={NAME: rest} if rest else {},
    )


def decode_image(item: Mapping[str, Any]) -> Image:
    data = standard_base64(text(item, "result"))
    form = text(item, "output_format")
    media_type = f"image/{form}" if form else sniff(data)
    return Image(Inline(media_type, data), item_id=_maybe(item, "id"), extras=extras(item, _IMAGE))


def decode_hosted(item: Mapping[str, Any]) -> tuple[Block, ...]:
    """The call, and its result where others can read it."""
    kind, name = HOSTED.get(text(item, "type"), ("image_generation", "image_generation"))
    call_id = text(item, "id")
    asked: Any = None
    found: list[Block] = []
    match kind:
        case "web_search":
            action = item.get("action")
            if isinstance(action, dict):
                asked = {key: value for key, value in action.items() if key != "sources"}
                found = [_source(entry) for entry in _objects(action, "sources")]
        case "code":
            asked = {"code": text(item, "code")}
            found = [Text(text(entry, "logs")) for entry in _objects(item, "outputs") if entry.get("type") == "logs"]
        case "file_search":
            asked = {"queries": item.get("queries")}
            found = [
                SearchResult(text(entry, "file_id"), text(entry, "filename"), (Text(text(entry, "text")),))
                for entry in _objects(item, "results")
            ]
        case "mcp":
            name, asked = text(item, "name"), text(item, "arguments")
            found = [Text(text(item, "output"))] if text(item, "output") else []
    call = HostedCall(
        kind, call_id, name, asked, _maybe(item, "status"), _maybe(item, "server_label"), extras={NAME: dict(item)}
    )
    failed = bool(item.get("error")) or item.get("status") == "failed"
    if not found and not failed:
        return (call,)
    return (call, HostedResult(call_id, kind, failed, NAME, blocks=tuple(found)))


def _source(entry: Mapping[str, Any]) -> SearchResult:
    url = text(entry, "url")
    return SearchResult(url, text(entry, "title") or url, ())


# Encoding.


def message_item(blocks: Sequence[Text | Refusal], item_id: str, *, status: str = "completed") -> JsonObject:
    """A message in the form of answers, of texts and refusals."""
    item: JsonObject = {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [output_part(block) for block in blocks],
    }
    phase = next((block.phase for block in blocks if isinstance(block, Text) and block.phase), None)
    if phase is not None:
        item["phase"] = phase
    for block in blocks:
        kept = block.extras.get(MESSAGE_EXTRAS, {})
        if kept:
            item["status"] = kept.get("status", status)
            item = merged(item, kept)
    return item


def output_part(block: Text | Refusal) -> JsonObject:
    if isinstance(block, Refusal):
        return merged({"type": "refusal", "refusal": block.text}, extras_of(block.extras))
    part: JsonObject = {
        "type": "output_text",
        "text": block.text,
        "annotations": encode_annotations(block.citations, len(block.text)),
        "logprobs": encode_logprobs(block.logprobs),
    }
    return merged(part, extras_of(block.extras))


def call_item(call: ToolCall, *, item_id: str | None = None, status: str | None = None) -> JsonObject:
    """The item of a call; `item_id` and `status` are left out when they are not given."""
    custom = call.kind == "custom"
    item: JsonObject = {"type": "custom_tool_call" if custom else "function_call"}
    if item_id is not None:
        item = {"id": item_id, **item}
    if status is not None:
        item["status"] = status
    item |= {"call_id": call.id, "name": call.name}
    if custom:
        item["input"] = call.arguments
    else:
        item["arguments"] = call.arguments if call.arguments.strip() else "{}"
    if call.namespace is not None:
        item["namespace"] = call.namespace
    if call.caller is not None:
        item["caller"] = call.caller
    return merged(item, extras_of(call.extras))


def hosted_item(call: HostedCall, result: HostedResult | None) -> JsonObject | None:
    """The item of a hosted call; `None` for those that only their vendor can tell."""
    own = extras_of(call.extras)
    if own:
        return dict(own)
    status = "failed" if result is not None and result.is_error else "completed"
    asked = call.input if isinstance(call.input, dict) else {}
    if call.kind == "web_search":
        query = asked.get("query")
        action: JsonObject = {"type": "search", "query": query if isinstance(query, str) else ""}
        return {"id": None, "type": "web_search_call", "status": status, "action": action}
    if call.kind == "code":
        code = asked.get("code")
        logs = [block.text for block in result.blocks if isinstance(block, Text)] if result is not None else []
        return {
            "id": None,
            "type": "code_interpreter_call",
            "status": status,
            "code": code if isinstance(code, str) else "",
            "container_id": "",
            "outputs": [{"type": "logs", "logs": log} for log in logs],
        }
    return None
