"""What both of OpenAI's wires share: credentials, error envelope, words for wrong fields, tools, schemas, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.vendors.app import Json, Refused, Request, Vendor
from tests.vendors.media import data_url, decoded, sniffed
from tests.vendors.openai_models import Model, model_named
from tests.vendors.schemas import openai_problem
from tests.vendors.scripting import Fault
from tests.vendors.shapes import Mismatch, Place

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_ID = 64
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_FAULTS = {429: ("requests", "rate_limit_exceeded"), 401: ("invalid_request_error", "invalid_api_key")}


class OpenAI(Vendor):
    """The part of a vendor that does not depend on the endpoint."""

    path: str

    def authenticate(self, request: Request) -> None:
        """Raises `Refused`."""
        given = request.headers.get("authorization", "")
        if not given.startswith("Bearer "):
            raise Refused(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                status=401,
                kind="invalid_request_error",
            )
        if given != f"Bearer {self.key}":
            raise Refused(
                "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
                status=401,
                kind="invalid_request_error",
                code="invalid_api_key",
            )
        if (request.method, request.path) != ("POST", self.path):
            raise Refused(f"Invalid URL ({request.method} {request.path})", status=404, kind="invalid_request_error")

    def envelope(self, refused: Refused, request: Request, request_id: str) -> Json:
        return error_object(refused)

    def fault(self, fault: Fault) -> Refused:
        kind, code = _FAULTS.get(fault.status, ("server_error", "server_error"))
        after = [("retry-after", str(fault.retry_after))] if fault.retry_after is not None else []
        return Refused(fault.message, status=fault.status, kind=kind, code=code, headers=after)

    def not_json(self) -> Refused:
        return invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly.)"
        )

    def model(self, body: Json) -> Model:
        """The model asked for. Raises `Refused`."""
        model = model_named(body["model"])
        if model is None:
            raise Refused(
                f"The model `{body['model']}` does not exist or you do not have access to it.",
                status=404,
                kind="invalid_request_error",
                code="model_not_found",
            )
        return model


def error_object(refused: Refused) -> Json:
    kind = refused.kind or "invalid_request_error"
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> Refused:
    return Refused(message, kind="invalid_request_error", param=param, code=code)


def spelled(place: Place) -> str:
    """`messages[0].content` for a place."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def in_words(mismatch: Mismatch) -> Refused:
    """A wrong field as OpenAI complains about it."""
    param = spelled(mismatch.place)
    match mismatch.kind:
        case "unknown":
            return invalid(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
        case "missing":
            return invalid(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
        case "type":
            wanted = " or ".join(mismatch.wanted)
            return invalid(
                f"Invalid type for '{param}': expected {wanted}, but got {_type_of(mismatch.value)} instead.",
                param=param,
                code="invalid_type",
            )
        case "value":
            return bad_value(mismatch.value, param, mismatch.wanted)


def bad_value(value: Any, param: str, wanted: Sequence[str]) -> Refused:
    known = ", ".join(f"'{word}'" for word in wanted)
    return invalid(f"Invalid value: '{value}'. Supported values are: {known}.", param=param, code="invalid_value")


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "an integer", float: "a decimal", list: "an array", dict: "an object"}
    return names[type(value)]


def check_range(body: Json, name: str, low: float, high: float) -> None:
    """Raises `Refused` when a number is outside; absent and null are inside."""
    value = body.get(name)
    if value is None:
        return
    word = "integer" if isinstance(value, int) else "decimal"
    if value < low:
        raise invalid(
            f"Invalid '{name}': {word} below minimum value. Expected a value >= {low}, but got {value} instead.",
            param=name,
            code=f"{word}_below_min_value",
        )
    if value > high:
        raise invalid(
            f"Invalid '{name}': {word} above maximum value. Expected a value <= {high}, but got {value} instead.",
            param=name,
            code=f"{word}_above_max_value",
        )


def check_sampling(body: Json, model: Model, effort: str, names: Sequence[str]) -> None:
    """Raises `Refused` for parameters the model does not have at that effort; defaults pass."""
    if not model.frozen_at(effort):
        return
    defaults: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "logprobs": False, "top_logprobs": 0, "logit_bias": {}}
    for name in names:
        value = body.get(name)
        if value is None or value == defaults.get(name, 0):
            continue
        if name == "temperature":
            raise invalid(
                f"Unsupported value: 'temperature' does not support {value} with this model. Only the default (1) "
                "value is supported.",
                param=name,
                code="unsupported_value",
            )
        raise unsupported(name)


def unsupported(name: str, more: str = "") -> Refused:
    return invalid(
        f"Unsupported parameter: '{name}' is not supported with this model.{more}",
        param=name,
        code="unsupported_parameter",
    )


def check_effort(effort: str | None, model: Model, param: str) -> str:
    """The effort in force. Raises `Refused`."""
    if effort is None:
        return model.default
    if not model.reasons:
        raise unsupported(param)
    if effort not in model.efforts:
        known = ", ".join(f"'{word}'" for word in model.efforts)
        raise invalid(
            f"Unsupported value: '{param}' does not support '{effort}' with this model. Supported values are: {known}.",
            param=param,
            code="unsupported_value",
        )
    return effort


def check_function(tool: Json, param: str, *, strict: bool) -> None:
    """Name and parameters of one function. Raises `Refused`."""
    check_name(tool["name"], f"{param}.name")
    schema = tool.get("parameters")
    if schema is None:
        return
    problem = openai_problem(schema, strict=strict, function=True)
    if problem is not None:
        raise invalid(
            f"Invalid schema for function '{tool['name']}': {problem}",
            param=f"{param}.parameters",
            code="invalid_function_parameters",
        )


def check_name(name: str, param: str) -> None:
    if not TOOL_NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            param=param,
            code="invalid_value",
        )


def check_unique(names: Sequence[str], param: str) -> None:
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise invalid(f"Duplicate tool name '{twice}' in '{param}'.", param=param, code="invalid_value")


def check_format(name: str, schema: Any, strict: bool | None, param: str) -> None:
    """The schema of an answer. Raises `Refused`."""
    check_name(name, f"{param}.name")
    problem = openai_problem(schema, strict=bool(strict), function=False)
    if problem is not None:
        raise invalid(
            f"Invalid schema for response_format '{name}': {problem}", param=param, code="invalid_json_schema"
        )


def check_id(value: str, param: str) -> None:
    if not value:
        raise invalid(
            f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string "
            "instead.",
            param=param,
            code="empty_string",
        )
    if len(value) > MAX_ID:
        raise invalid(
            f"Invalid '{param}': string too long. Expected a string with maximum length {MAX_ID}, but got a string "
            f"with length {len(value)} instead.",
            param=param,
            code="string_above_max_length",
        )


def check_metadata(body: Json) -> None:
    metadata = body.get("metadata") or {}
    if len(metadata) > 16:
        raise invalid("Invalid 'metadata': too many properties. Expected at most 16.", param="metadata")
    for key, value in metadata.items():
        if len(key) > 64 or len(value) > 512:
            raise invalid(f"Invalid 'metadata.{key[:64]}': string too long.", param=f"metadata.{key[:64]}")


def check_image(url: str, param: str) -> None:
    """A data URL with a picture in it, or an address. Raises `Refused`."""
    if url.startswith(("https://", "http://")):
        return
    found = data_url(url)
    if found is None:
        raise invalid(
            f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format.",
            param=param,
            code="invalid_value",
        )
    raw = decoded(found[1])
    if raw is None:
        raise invalid("Invalid base64 image_url.", param=param, code="invalid_base64")
    if sniffed(raw) not in IMAGES:
        raise invalid(
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp'].",
            param=param,
            code="invalid_image_format",
        )


def image_type(url: str) -> str:
    """Media type of a checked image, for the answer."""
    found = data_url(url)
    return found[0] if found is not None else "an image by address"


def without_tools(body: Json, names: Sequence[str]) -> None:
    """Refuses what only makes sense with tools."""
    if body.get("tools"):
        return
    for name in names:
        if body.get(name) is not None:
            raise invalid(f"'{name}' is only allowed when 'tools' are specified.", param=name)
