"""Google's Gemini generateContent, as the Gemini API host speaks it.

Source: https://ai.google.dev/api/generate-content, types of the `google-genai` package
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from google.genai import types

from tests.vendors.app import Json, Refused, Reply, Request, Vendor
from tests.vendors.gemini_models import Model, model_named
from tests.vendors.media import sniffed
from tests.vendors.schemas import gemini_json_problem, gemini_schema_problem
from tests.vendors.scripting import Answer, Asked, Call, Fault, Tokens, Tool, tokens
from tests.vendors.shapes import Mismatch, Place, Shape
from tests.vendors.signing import canonical

FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
PLACEHOLDERS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
FINISH = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "STOP",
}
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_PATH = re.compile(r"/v1(?:beta)?/models/(?P<model>[^:]+):(?P<action>\w+)")
_ACTIONS = ("generateContent", "streamGenerateContent", "countTokens")
_FIELDS: dict[str, Any] = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
    "safetySettings": list[types.SafetySetting],
    "generationConfig": types.GenerationConfig,
    "cachedContent": str,
    "labels": dict[str, str],
    "serviceTier": types.ServiceTier,
    "store": bool,
    "continuationToken": str,
}
# What only Vertex takes, and what is part of the Live API only.
_FORBIDDEN = {
    "GenerationConfig": ("model_selection_config", "audio_timestamp", "routing_config", "enable_affective_dialog"),
    "Tool": ("retrieval", "enterprise_web_search", "parallel_ai_search", "exa_ai_search"),
    "Blob": ("display_name",),
    "FunctionCall": ("partial_args", "will_continue"),
    "FunctionCallingConfig": ("stream_function_call_arguments",),
    "SafetySetting": ("method",),
    # declared by the SDK for its own use: the host knows no such field of a schema
    "Schema": ("additional_properties", "defs", "ref"),
}
_SHAPE = Shape(
    forbidden={name: frozenset(fields) for name, fields in _FORBIDDEN.items()},
    extra={"GenerationConfig": {"imageConfig": types.ImageConfig | None, "image_config": types.ImageConfig | None}},
)
_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
_PROTO = {"a string": "TYPE_STRING", "an integer": "TYPE_INT32", "a decimal": "TYPE_DOUBLE", "a boolean": "TYPE_BOOL"}


class Gemini(Vendor):
    """`POST /v1beta/models/{model}:generateContent`, `:streamGenerateContent` and `:countTokens`."""

    name = "gemini"

    def reply(self, request: Request, request_id: str) -> Reply:
        self._authenticate(request)
        found = _PATH.fullmatch(request.path)
        if found is None or found["action"] not in _ACTIONS or request.method != "POST":
            raise Refused("Requested entity was not found.", status=404)
        name, action = found["model"], found["action"]
        model = model_named(name)
        if model is None:
            raise Refused(
                f"models/{name} is not found for API version v1beta, or is not supported for {action}. Call "
                "ModelService.ListModels to see the list of available models and their supported methods.",
                status=404,
            )
        body = self.parsed(request)
        if action == "countTokens":
            body = body.get("generateContentRequest", body)
            body = {key: value for key, value in body.items() if key != "model"}
        _check_fields(body)
        body = in_camel_case(body)
        _check_config(body, model)
        _check_tools(body, model)
        _check_contents(body["contents"], model)
        self._check_signatures(body["contents"], model, request)
        asked = _asked(name, body, model, stream=action == "streamGenerateContent")
        if action == "countTokens":
            return Reply({"totalTokens": asked.read})
        answer, fault = self.say(asked, request_id)
        writer = _Writer(self, name, answer, model, shows=asked.shows)
        if not asked.stream:
            return Reply(writer.whole())
        chunks = list(writer.chunks())
        if request.query.get("alt") == ["sse"]:
            return self.streamed([_sse(chunk) for chunk in chunks], fault)
        parts = [(b"[" if place == 0 else b",\r\n") + orjson.dumps(chunk) for place, chunk in enumerate(chunks)]
        return self.streamed([*parts, b"]"], fault, content_type="application/json")

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("x-goog-api-key")
        if given is None:
            raise Refused(
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key "
                "or other form of API consumer identity to call this API.",
                status=403,
            )
        if given != self.key:
            reason = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
            raise Refused("API key not valid. Please pass a valid API key.", details=[reason])

    def envelope(self, refused: Refused, request: Request, request_id: str) -> Any:
        error = _error(refused)
        array = request.path.endswith(":streamGenerateContent") and request.query.get("alt") != ["sse"]
        return [error] if array else error

    def fault(self, fault: Fault) -> Refused:
        details = []
        if fault.retry_after is not None:
            details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{fault.retry_after}s"}]
        return Refused(fault.message, status=fault.status, details=details)

    def failed(self, refused: Refused) -> bytes:
        return _sse(_error(refused))

    def not_json(self) -> Refused:
        return invalid("Invalid JSON payload received. Unexpected token.")

    def _check_signatures(self, contents: list[Json], model: Model, request: Request) -> None:
        """In the current turn the first call of every step has its signature; whatever comes is to be genuine."""
        begins = max((place for place, content in enumerate(contents) if _is_asking(content)), default=0)
        position = 0
        for index, content in enumerate(contents):
            calls = 0
            for part in content["parts"]:
                position += 1
                is_call = "functionCall" in part
                signature = part.get("thoughtSignature")
                if signature is not None:
                    self._check_signature(part, calls, request)
                elif is_call and calls == 0 and model.signed and index > begins:
                    raise invalid(
                        "Function call is missing a thought_signature in functionCall parts. This is required for "
                        "tools to work correctly, and missing thought_signature may lead to degraded model "
                        f"performance. Additional data, function call `default_api:{part['functionCall']['name']}`, "
                        f"position {position}. Please refer to "
                        "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
                    )
                calls += is_call

    def _check_signature(self, part: Json, place: int, request: Request) -> None:
        raw = base64.b64decode(part["thoughtSignature"].translate(str.maketrans("-_", "+/")))
        if raw.decode("latin-1") in PLACEHOLDERS or part["thoughtSignature"] in PLACEHOLDERS:
            request.notes.append("placeholder")
            return
        if self.signer.check(base64.b64encode(raw).decode(), signed(part), place=place) != "good":
            raise invalid("Thought signature is not valid.")


def signed(part: Json) -> str:
    """What a signature vouches for: a call with its arguments; of text only that the model made it."""
    call = part.get("functionCall")
    return "text" if call is None else canonical([call["name"], call.get("args") or {}])


def invalid(message: str) -> Refused:
    return Refused(message, status=400)


def _error(refused: Refused) -> Json:
    error: Json = {
        "code": refused.status,
        "message": refused.message,
        "status": STATUS.get(refused.status, "UNKNOWN"),
    }
    if refused.details:
        error["details"] = list(refused.details)
    return {"error": error}


def _sse(chunk: Json) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\r\n\r\n"


def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


_OPAQUE = frozenset({"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels", "partMetadata"})
"""Members whose own members are the caller's."""


def in_camel_case(value: Any) -> Any:
    """`value` with every field in the first of its two spellings; names of properties are not fields."""
    if isinstance(value, list):
        return [in_camel_case(member) for member in value]
    if not isinstance(value, dict):
        return value
    found: Json = {}
    for name, member in value.items():
        if member is None:
            continue
        spelled = camel(name)
        if spelled == "properties" and isinstance(member, dict):
            found[spelled] = {key: in_camel_case(child) for key, child in member.items()}
        else:
            # a function's `response` is a schema where it is declared: of no interest here
            found[spelled] = member if spelled in _OPAQUE else in_camel_case(member)
    return found


def _spelled(place: Place) -> str:
    words = [f"[{step}]" if isinstance(step, int) else f".{_snake(step)}" for step in place]
    return "".join(words).removeprefix(".")


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def _check_fields(body: Json) -> None:
    for name, value in body.items():
        field = camel(name)
        if field not in _FIELDS:
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
        if field != name and field in body:
            raise invalid(f'Invalid JSON payload received. Field "{field}" is set twice.')
        if value is None:
            continue
        try:
            _SHAPE.check(value, _FIELDS[field], (field,))
        except Mismatch as mismatch:
            raise in_words(mismatch) from None


def in_words(mismatch: Mismatch) -> Refused:
    """A wrong field as Google complains about it."""
    *before, last = mismatch.place
    if mismatch.kind == "unknown":
        where = _spelled(tuple(before))
        return invalid(f"Invalid JSON payload received. Unknown name \"{last}\" at '{where}': Cannot find field.")
    where = _spelled(mismatch.place)
    value = orjson.dumps(mismatch.value).decode()
    if mismatch.kind == "value":
        return invalid(f"Invalid value at '{where}' (TYPE_ENUM), {value}")
    if mismatch.wanted == ("base64 text",):
        return invalid(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed for {value}")
    kind = _PROTO.get(mismatch.wanted[0], "TYPE_MESSAGE")
    return invalid(f"Invalid value at '{where}' ({kind}), {value}")


_LIMITS = {"temperature": (0, 2), "topP": (0, 1), "candidateCount": (1, 8), "maxOutputTokens": (1, 65_536)}


def _check_config(body: Json, model: Model) -> None:
    if not body.get("contents"):
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n")
    if body.get("cachedContent") and body.keys() & {"systemInstruction", "tools", "toolConfig"}:
        raise invalid(
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or "
            "tool_config."
        )
    instruction = body.get("systemInstruction")
    if instruction is not None and not any(part.get("text") for part in instruction.get("parts") or ()):
        raise invalid("* GenerateContentRequest.system_instruction.parts: contents.parts must not be empty.\n")
    config = body.get("generationConfig") or {}
    for name, (low, high) in _LIMITS.items():
        value = config.get(name)
        if value is not None and not low <= value <= high:
            raise invalid(
                f"* GenerateContentRequest.generation_config.{_snake(name)}: {_snake(name)} must be in the range "
                f"[{low}, {high}]\n"
            )
    if (config.get("presencePenalty") or config.get("frequencyPenalty")) and not model.penalties:
        raise invalid("Penalty is not enabled for this model")
    stops = config.get("stopSequences") or ()
    if len(stops) > 5 or "" in stops:
        raise invalid("* GenerateContentRequest.generation_config.stop_sequences: at most 5, none of them empty\n")
    if config.get("logprobs") is not None and not config.get("responseLogprobs"):
        raise invalid("Logprobs is set but response_logprobs is not enabled.")
    _check_answer(body, config, model)
    _check_thinking(config.get("thinkingConfig"), model)


def _check_answer(body: Json, config: Json, model: Model) -> None:
    kind = config.get("responseMimeType") or "text/plain"
    schema, json_schema = config.get("responseSchema"), config.get("responseJsonSchema")
    if kind not in ("text/plain", "application/json", "text/x.enum"):
        raise invalid(f"* GenerateContentRequest.generation_config.response_mime_type: {kind} is not supported\n")
    if schema is not None and json_schema is not None:
        raise invalid("Only one of response_schema and response_json_schema can be set.")
    if (schema is not None or json_schema is not None) and kind == "text/plain":
        raise invalid("Response schema specified for mime type text/plain is unsupported; use application/json")
    if kind != "text/plain" and body.get("tools") and not model.json_with_tools:
        raise invalid(f"Function calling with a response mime type: '{kind}' is unsupported")
    if schema is not None:
        problem = gemini_schema_problem(schema, "generation_config.response_schema")
        if problem is not None:
            raise invalid(f"* GenerateContentRequest.{problem}\n")
    if json_schema is not None:
        if not model.json_schema:
            raise invalid("response_json_schema is not supported for this model")
        problem = gemini_json_problem(json_schema)
        if problem is not None:
            raise invalid(f"* GenerateContentRequest.generation_config.response_json_schema: {problem}\n")


def _check_thinking(config: Json | None, model: Model) -> None:
    if config is None:
        return
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if not model.can_think:
        raise invalid("Thinking is not enabled for this model.")
    if budget is not None and level is not None:
        raise invalid("You can only set one of thinking budget and thinking level.")
    if level is not None and level.upper() not in model.levels:
        raise invalid(
            f"Thinking level {level} is not supported for this model."
            if model.levels
            else "Thinking level is not supported for this model."
        )
    if budget is None or budget == -1:
        return
    low, high = model.budget or (0, 32_768)
    if budget == 0 and not model.can_stop:
        raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
    if budget != 0 and not low <= budget <= high:
        raise invalid(
            f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}, or -1 for "
            "dynamic thinking."
        )


def _check_tools(body: Json, model: Model) -> None:
    tools = body.get("tools") or []
    declared: list[str] = []
    for index, tool in enumerate(tools):
        for place, function in enumerate(tool.get("functionDeclarations") or ()):
            _check_function(function, f"tools[{index}].function_declarations[{place}]", model)
            if function["name"] in declared:
                raise invalid(f"Duplicate function declaration found: {function['name']}")
            declared.append(function["name"])
    config = body.get("toolConfig") or {}
    hosted = any(name != "functionDeclarations" for tool in tools for name in tool)
    if hosted and declared:
        if not model.ids:
            raise invalid("Tool use with function calling is unsupported by the model.")
        if not config.get("includeServerSideToolInvocations"):
            raise invalid(
                "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function "
                "calling."
            )
    _check_choice(config.get("functionCallingConfig"), declared)


def _check_choice(calling: Json | None, declared: Sequence[str]) -> None:
    if calling is None:
        return
    if not declared:
        raise invalid("Function calling config is set without function_declarations.")
    allowed = calling.get("allowedFunctionNames")
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        raise invalid("Function calling config: allowed_function_names is only supported with mode ANY or VALIDATED.")
    for name in allowed or ():
        if name not in declared:
            raise invalid(f"Function calling config: allowed_function_names contains undeclared function {name}.")


def _check_function(function: Json, where: str, model: Model) -> None:
    name = function.get("name") or ""
    if not FUNCTION_NAME.fullmatch(name):
        raise invalid(
            f"* GenerateContentRequest.{where}.name: Invalid function name. Must start with a letter or an underscore. "
            "Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a "
            "maximum length of 128.\n"
        )
    if function.get("description") == "":
        raise invalid(f"* GenerateContentRequest.{where}.description: must not be empty\n")
    schema, json_schema = function.get("parameters"), function.get("parametersJsonSchema")
    if schema is not None and json_schema is not None:
        raise invalid("Only one of parameters and parameters_json_schema can be set.")
    if json_schema is not None and not model.tool_schema:
        raise invalid(f"* GenerateContentRequest.{where}.parameters_json_schema: not supported for this model\n")
    problem = None
    if schema is not None:
        problem = gemini_schema_problem(schema, f"{where}.parameters")
    elif json_schema is not None and (words := gemini_json_problem(json_schema)) is not None:
        problem = f"{where}.parameters_json_schema: {words}"
    if problem is not None:
        raise invalid(f"* GenerateContentRequest.{problem}\n")
    for parameter in (schema or json_schema or {}).get("properties") or {}:
        if not PARAMETER_NAME.fullmatch(parameter):
            raise invalid(f"* GenerateContentRequest.{where}.parameters.properties: invalid name {parameter!r}\n")


def _check_contents(contents: list[Json], model: Model) -> None:
    for index, content in enumerate(contents):
        where = f"* GenerateContentRequest.contents[{index}]"
        if content.get("role") not in ("user", "model", "function"):
            raise invalid("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise invalid(f"{where}.parts: contents.parts must not be empty.\n")
        for place, part in enumerate(content["parts"]):
            _check_part(part, content["role"], f"{where}.parts[{place}]", model)
        _check_order(contents, index, model)
    if contents[-1]["role"] == "model" and not model.model_last:
        raise invalid("The last content of a request must not have the role model.")
    if any("functionCall" in part for part in contents[-1]["parts"]):
        raise _uneven()


def _check_part(part: Json, role: str, where: str, model: Model) -> None:
    data = [name for name in _DATA if name in part]
    if len(data) != 1 or (data == ["text"] and not part["text"] and "thoughtSignature" not in part):
        raise invalid(f"{where}.data: required oneof field 'data' must have one initialized field\n")
    kind = data[0]
    if kind == "functionCall" and role != "model":
        raise invalid("Please ensure that function call parts are only in turns of the model.")
    if kind == "functionResponse" and role == "model":
        raise invalid("Please ensure that function response parts are not in turns of the model.")
    if kind in ("functionCall", "functionResponse"):
        own = part[kind]
        if not own.get("name"):
            raise invalid(f"{where}.{_snake(kind)}.name: Name cannot be empty.\n")
        if own.get("id") is not None and not model.ids:
            raise invalid(f"Invalid JSON payload received. Unknown name \"id\" at '{where[2:]}': Cannot find field.")
        if kind == "functionResponse" and not isinstance(own.get("response"), dict):
            raise invalid(f"{where}.function_response.response: must be an object\n")
        if own.get("parts") and not model.ids:
            raise invalid("Multimodal function responses are not supported for this model.")
    if kind == "inlineData":
        _check_media(part[kind], where)


def _check_media(blob: Json, where: str) -> None:
    if not blob.get("mimeType") or not blob.get("data"):
        raise invalid(f"{where}.inline_data: mime_type and data must be specified\n")
    found = sniffed(base64.b64decode(blob["data"].translate(str.maketrans("-_", "+/"))))
    if blob["mimeType"].startswith("image/") and not found:
        raise invalid("Unable to process input image. Please retry or report in "
                      "https://developers.generativeai.google/guide/troubleshooting")  # fmt: skip
    if blob["mimeType"] == "image/gif":
        raise invalid(f"Unsupported MIME type: {blob['mimeType']}")


def _check_order(contents: list[Json], index: int, model: Model) -> None:
    content = contents[index]
    before: Json = contents[index - 1] if index else {"role": "model", "parts": []}
    called = [part["functionCall"] for part in before["parts"] if "functionCall" in part]
    answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
    if content["role"] == "model" and (index == 0 or before["role"] == "model"):
        raise invalid(
            "Please ensure that function call turn comes immediately after a user turn or after a function response "
            "turn."
            if any("functionCall" in part for part in content["parts"])
            else "Please ensure that multiturn requests alternate between user and model."
        )
    if answers and not called:
        raise invalid("Please ensure that function response turn comes immediately after a function call turn.")
    if len(answers) != len(called):
        raise _uneven()
    if not answers:
        return
    beside = {name for part in content["parts"] for name in part if name in _DATA} - {"functionResponse"}
    if beside - ({"inlineData", "fileData"} if not model.ids else set()):
        raise invalid("Please ensure that function response turns hold nothing but function responses.")
    for call, answer in zip(called, answers, strict=True):
        if call["name"] != answer["name"] or call.get("id") != answer.get("id"):
            raise invalid(
                f"Function response `{answer['name']}` ({answer.get('id')}) does not answer function call "
                f"`{call['name']}` ({call.get('id')}): responses come in the order of the calls."
            )


def _uneven() -> Refused:
    return invalid(
        "Please ensure that the number of function response parts is equal to the number of function call parts of "
        "the function call turn."
    )


def _is_asking(content: Json) -> bool:
    """Whether a turn begins here: the user says something, and not just what tools brought."""
    return content["role"] == "user" and any("functionResponse" not in part for part in content["parts"])


def _text(parts: Sequence[Json]) -> str:
    words = []
    for part in parts:
        words.append(part.get("text") or "")
        if "functionResponse" in part:
            response = part["functionResponse"]["response"]
            known = response.get("output", response.get("error", response.get("result", response)))
            words.append(known if isinstance(known, str) else canonical(known))
    return " ".join(word for word in words if word)


def _asked(name: str, body: Json, model: Model, *, stream: bool) -> Asked:
    contents = body["contents"]
    config = body.get("generationConfig") or {}
    users = [content for content in contents if _is_asking(content)]
    asking: list[Json] = users[-1]["parts"] if users else []
    last = contents[-1]
    answers = [part for part in last["parts"] if "functionResponse" in part]
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")
    thinking = config.get("thinkingConfig") or {}
    schema = config.get("responseJsonSchema", config.get("responseSchema"))
    if schema is None and config.get("responseMimeType") == "application/json":
        schema = {}
    budget = thinking.get("thinkingBudget")
    system = _text((body.get("systemInstruction") or {}).get("parts") or ())
    return Asked(
        model=name,
        text=" ".join(part["text"] for part in asking if part.get("text")),
        last="tool" if answers else "user",
        prompt=" ".join([system, *(_text(content["parts"]) for content in contents)]),
        system=system,
        tools=tuple(
            Tool(one["name"], one.get("parametersJsonSchema") or one.get("parameters") or {"type": "object"})
            for tool in body.get("tools") or ()
            for one in tool.get("functionDeclarations") or ()
        ),
        choice=mode,  # type: ignore[arg-type]
        only=tuple(calling.get("allowedFunctionNames") or ()),
        results=tuple(_text([part]) for part in answers),
        images=tuple(part["inlineData"]["mimeType"] for part in asking if "inlineData" in part),
        thinks=model.can_think and (budget != 0 if budget is not None else model.thinks or bool(thinking)),
        shows=bool(thinking.get("includeThoughts")),
        schema=schema,
        max_output=config.get("maxOutputTokens"),
        stop=tuple(config.get("stopSequences") or ()),
        stream=stream,
    )


def usage_object(tokens: Tokens) -> Json:
    usage: Json = {"promptTokenCount": tokens.input}
    if tokens.cached:
        usage["cachedContentTokenCount"] = tokens.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cached}]
    if tokens.output - tokens.reasoning:
        usage["candidatesTokenCount"] = tokens.output - tokens.reasoning
    if tokens.reasoning:
        usage["thoughtsTokenCount"] = tokens.reasoning
    usage["totalTokenCount"] = tokens.input + tokens.output
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.input}]
    return usage


class _Writer:
    """One answer, whole or in chunks."""

    def __init__(self, vendor: Gemini, name: str, answer: Answer, model: Model, *, shows: bool) -> None:
        self._vendor = vendor
        self._answer = answer
        self._model = model
        self._signs = model.signed or answer.reasoning is not None
        self._thoughts = answer.reasoning if shows and answer.reasoning else ""
        self._number = len(vendor.requests)
        self._tail = {"modelVersion": name, "responseId": f"standin{self._number:015d}"}
        self._said = answer.text or answer.refusal or ""

    def _call(self, call: Call, place: int) -> Json:
        args = call.arguments if isinstance(call.arguments, dict) else {"input": call.arguments}
        own: Json = {"name": call.name, "args": args}
        if self._model.ids:
            own = {"id": f"call{self._number:08d}{place:02d}", **own}
        part: Json = {"functionCall": own}
        if place == 0 and self._signs:
            part["thoughtSignature"] = self._vendor.signer.sign(signed(part))
        return part

    def _calls(self) -> list[Json]:
        return [self._call(call, place) for place, call in enumerate(self._answer.calls)]

    def _text_signature(self) -> Json:
        """Text is signed when no call is there to be."""
        if self._answer.calls or not self._signs:
            return {}
        return {"thoughtSignature": self._vendor.signer.sign("text")}

    def whole(self) -> Json:
        parts: list[Json] = []
        if self._thoughts:
            parts.append({"text": self._thoughts, "thought": True})
        if self._said or not self._answer.calls:
            parts.append({"text": self._said, **self._text_signature()})
        return self._object([*parts, *self._calls()], last=True)

    def chunks(self) -> Iterator[Json]:
        for piece in tokens(self._thoughts):
            yield self._object([{"text": piece, "thought": True}])
        for piece in tokens(self._said):
            yield self._object([{"text": piece}])
        for part in self._calls():
            yield self._object([part])
        # the signature of text comes on an empty part behind it
        yield self._object([{"text": "", **self._text_signature()}], last=True)

    def _object(self, parts: list[Json], *, last: bool = False) -> Json:
        candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
        usage: Json = {"promptTokenCount": self._answer.usage.input, "totalTokenCount": self._answer.usage.input}
        if last:
            candidate["finishReason"] = FINISH[self._answer.finish]
            usage = usage_object(self._answer.usage)
            if self._answer.citations:
                candidate["groundingMetadata"] = self._grounding()
        return {"candidates": [candidate], "usageMetadata": usage, **self._tail}

    def _grounding(self) -> Json:
        text = self._said
        chunks = [{"web": {"uri": one.url, "title": one.title}} for one in self._answer.citations]
        supports = [
            {
                "segment": {
                    "startIndex": len(text[: one.start].encode()),
                    "endIndex": len(text[: one.end].encode()),
                    "text": text[one.start : one.end],
                },
                "groundingChunkIndices": [place],
            }
            for place, one in enumerate(self._answer.citations)
        ]
        return {"webSearchQueries": ["stand-in"], "groundingChunks": chunks, "groundingSupports": supports}
