"""Pieces that requests and answers of generateContent share: spelling of names, signatures, media, hosted parts."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CloudUri,
    Document,
    Extras,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    ReasoningOpaque,
    Source,
    Text,
    Url,
    Video,
)
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.extras import Mapped, unmapped

NAME = "gemini"
VENDOR = "google-gemini-v1"
"""Who reads the signatures of this wire."""
FILES = "google"
"""Whose uploaded files this wire names."""
CODE = "invalid_text_request"
"""Error code of a request that is wrong."""
ENVELOPE = "oa1."
"""How a signature of another vendor begins when it travels with a client of this wire."""
PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()
"""A signature for calls that were made elsewhere, which the vendor documents as a last resort."""
SCHEMAS = f"{NAME}.schema"
"""Where a schema in the dialect of OpenAPI is kept as it came."""

CODE_TOOL = "code_execution"


def extras(value: Mapping[str, Any], known: Mapped) -> Extras:
    """The members of `value` beside `known`, as extras of this format."""
    rest = unmapped(value, known)
    return {NAME: rest} if rest else {}


def extras_of(source: Extras) -> Mapping[str, Any]:
    """What extras hold for this format."""
    return source.get(NAME, {})


def wrong(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{where} {what}", param=where, code=CODE)


# Names: protobuf's JSON has them in camelCase, and readers take both.

_VALUES = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseJsonSchema",
        "responseSchema",
        "schema",
        "labels",
        "partMetadata",
        "headers",
    }
)
"""Members whose names are the client's own."""
_UNDERSCORE = re.compile(r"_([a-z0-9])")


def camel(name: str) -> str:
    """`name` in camelCase."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def camelised(value: Any) -> Any:
    """`value` with the names of its members in camelCase, but for what the client named itself."""
    if isinstance(value, list):
        return [camelised(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    found: JsonObject = {}
    for name, member in value.items():
        spelled = camel(name)
        found[spelled] = member if spelled in _VALUES else camelised(member)
    return found


# Signatures.


def decode_signature(value: object) -> ReasoningOpaque | None:
    """A part's `thoughtSignature`. The field is bytes: an envelope in it is base64 once more."""
    if not isinstance(value, str) or not value:
        return None
    if value.startswith("b2Ex"):  # `oa1` in base64
        try:
            text = base64.b64decode(_standard(value), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        if text.startswith(ENVELOPE):
            return ReasoningOpaque(text, "")
    return ReasoningOpaque(value, VENDOR)


def encode_signature(opaque: ReasoningOpaque) -> str | None:
    """The same for an answer; `None` for what is neither this vendor's nor in an envelope, or no base64."""
    if opaque.data.startswith(ENVELOPE):
        return base64.b64encode(opaque.data.encode("utf-8", "replace")).decode()
    if opaque.vendor not in ("", VENDOR):
        return None
    try:
        decoded = base64.b64decode(_standard(opaque.data), validate=True)
    except (binascii.Error, ValueError):
        return None
    if not decoded:
        return None
    exact = (base64.b64encode(decoded), base64.urlsafe_b64encode(decoded))
    return opaque.data if opaque.data.encode() in exact else exact[0].decode()


def is_enveloped(opaque: ReasoningOpaque) -> bool:
    """Whether it is another vendor's, sealed."""
    return opaque.data.startswith(ENVELOPE)


def _standard(text: str) -> str:
    return text.translate(_URL_SAFE) + "=" * (-len(text) % 4)


_URL_SAFE = str.maketrans("-_", "+/")


def takes_placeholder(rules: ModelRules) -> bool:
    """Whether the model demands signatures, and knows the one for calls made elsewhere: Claude does not."""
    return rules.signatures == "required" and rules.family == "gemini"


# Media.

_BY_ENDING = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "m4a": "audio/m4a",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
}
_PAGES = re.compile(r"https?://(?:www\.|m\.)?(?:youtube\.com|youtu\.be)/", re.IGNORECASE)
_FILES_API = re.compile(r"(?:https://[a-z0-9.-]+\.googleapis\.com/.*)?/?(?:v1[a-z0-9]*/)?files/[^/]+$")


def media_type_of(uri: str) -> str | None:
    """The media type an address ends in."""
    path = uri.partition("?")[0].partition("#")[0]
    return _BY_ENDING.get(path.rpartition(".")[2].lower())


def is_page(uri: str) -> bool:
    """Whether it is a video page the vendor reads itself."""
    return _PAGES.match(uri) is not None


def decode_uri(uri: str, media_type: str | None) -> Source:
    if uri.startswith("gs://") or is_page(uri) or _FILES_API.fullmatch(uri):
        return CloudUri(uri, media_type)
    return Url(uri, media_type)


def media_block(source: Source, extras: Extras) -> Block:
    """The block for a source, by its media type."""
    kind = source.media_type if isinstance(source, (Inline, Url, CloudUri)) else None
    if kind is None and isinstance(source, (Url, CloudUri)):
        uri = source.url if isinstance(source, Url) else source.uri
        kind = "video/*" if is_page(uri) else media_type_of(uri)
    match (kind or "").partition("/")[0]:
        case "image":
            return Image(source, extras=extras)
        case "audio":
            return Audio(source, extras=extras)
        case "video":
            return Video(source, extras=extras)
        case _:
            return Document(source, extras=extras)


# Hosted tools: parts that tell of calls the vendor made itself.

_HOSTED_KINDS = {
    "GOOGLE_SEARCH_WEB": "web_search",
    "GOOGLE_SEARCH_IMAGE": "web_search",
    "URL_CONTEXT": "web_fetch",
    "GOOGLE_MAPS": "maps",
    "FILE_SEARCH": "file_search",
}
HOSTED = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")


def decode_hosted(part: Mapping[str, Any], data: str, call_id: str, rest: Extras) -> HostedCall | HostedResult:
    """The block for a part of a hosted tool. `call_id` is its own id, or one made for it."""
    value: Mapping[str, Any] = part[data]
    opaque = decode_signature(part.get("thoughtSignature"))
    match data:
        case "executableCode":
            given = {"code": value.get("code") or "", "language": str(value.get("language") or "PYTHON").lower()}
            return HostedCall("code", call_id, CODE_TOOL, given, opaque=opaque, extras=_raw(part, rest))
        case "codeExecutionResult":
            output = value.get("output")
            return HostedResult(
                call_id,
                "code",
                is_error=value.get("outcome") not in (None, "OUTCOME_OK", "OUTCOME_UNSPECIFIED"),
                format=NAME,
                raw=dict(part),
                blocks=(Text(output),) if isinstance(output, str) and output else (),
            )
        case "toolCall":
            kind = str(value.get("toolType") or "")
            group = _HOSTED_KINDS.get(kind, kind.lower() or "tool")
            return HostedCall(group, call_id, kind.lower(), value.get("args"), opaque=opaque, extras=_raw(part, rest))
        case _:
            kind = str(value.get("toolType") or "")
            group = _HOSTED_KINDS.get(kind, kind.lower() or "tool")
            return HostedResult(call_id, group, format=NAME, raw=dict(part))


def _raw(part: Mapping[str, Any], rest: Extras) -> Extras:
    return {**rest, f"{NAME}.part": dict(part)}


def encode_hosted(block: HostedCall | HostedResult) -> JsonObject | None:
    """The part for a hosted call or its result: the vendor's own as it came, code of others; else `None`."""
    if isinstance(block, HostedCall):
        own = block.extras.get(f"{NAME}.part")
        if own is not None:
            return dict(own)
        if block.kind == "code" and isinstance(block.input, dict) and isinstance(block.input.get("code"), str):
            return {"executableCode": {"language": "PYTHON", "code": block.input["code"]}}
        return None
    if block.format == NAME and isinstance(block.raw, dict):
        return block.raw
    if block.kind == "code":
        output = "\n".join(inner.text for inner in block.blocks if isinstance(inner, Text))
        return {
            "codeExecutionResult": {"outcome": "OUTCOME_FAILED" if block.is_error else "OUTCOME_OK", "output": output}
        }
    return None
