"""Media named by URL: found, judged and replaced in the bodies of every format."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import orjson
import pytest

from oneapi_mw.canonical.blocks import Inline
from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.wire.registry import NAMES, get_format
from oneapi_mw.wire.target import ConversionOptions, Target
from oneapi_mw.wire.url_media import UrlPart, parts_to_inline, takes_urls, url_parts, with_data

CHAT, RESPONSES, MESSAGES, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
IMAGE_URL, PDF_URL = "https://e.org/a.png", "https://e.org/a.pdf"
DATA = {
    "image": Inline("image/png", "iVBORw0KGgo="),
    "document": Inline("application/pdf", "JVBERi0="),
    "audio": Inline("audio/mpeg", "SUQz"),
    "any": Inline("image/png", "iVBORw0KGgo="),
}
PNG, PDF = "data:image/png;base64,iVBORw0KGgo=", "data:application/pdf;base64,JVBERi0="
TEXT = {"type": "text", "text": "See https://e.org/a.png"}


def call(format: str, body: Any) -> Call:
    return Call("chat", format, "m", False, body, b"{}")


def chat(*parts: Any, role: str = "user") -> Any:
    return {
        "model": "m",
        "messages": [{"role": "system", "content": "x"}, {"role": role, "tool_call_id": "c", "content": list(parts)}],
    }


def responses(*parts: Any, **item: Any) -> Any:
    return {"model": "m", "input": [{"role": "user", "content": "x"}, {"role": "user", "content": list(parts), **item}]}


def messages(*blocks: Any) -> Any:
    return {"model": "m", "messages": [{"role": "user", "content": "x"}, {"role": "user", "content": list(blocks)}]}


def gemini(*parts: Any) -> Any:
    return {"contents": [{"parts": [{"text": "x"}]}, {"role": "user", "parts": list(parts)}]}


def source(url: str) -> Any:
    return {"type": "url", "url": url}


def base64_source(kind: str) -> Any:
    return {"type": "base64", "media_type": DATA[kind].media_type, "data": DATA[kind].data}


CASES: list[tuple[str, Any, list[UrlPart], Any]] = [
    (
        CHAT,
        chat(TEXT, {"type": "image_url", "image_url": {"url": IMAGE_URL, "detail": "low"}, "x": 1}),
        [UrlPart("messages[1].content[1].image_url.url", IMAGE_URL, "image")],
        chat(TEXT, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}, "x": 1}),
    ),
    (
        CHAT,
        chat({"type": "image_url", "image_url": IMAGE_URL}, role="tool"),
        [UrlPart("messages[1].content[0].image_url", IMAGE_URL, "image")],
        chat({"type": "image_url", "image_url": PNG}, role="tool"),
    ),
    (
        CHAT,
        chat({"type": "file", "file": {"file_url": PDF_URL, "filename": "a.pdf"}}),
        [UrlPart("messages[1].content[0].file.file_url", PDF_URL, "document")],
        chat({"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}),
    ),
    (
        RESPONSES,
        responses({"type": "input_image", "image_url": IMAGE_URL, "detail": "high"}),
        [UrlPart("input[1].content[0].image_url", IMAGE_URL, "image")],
        responses({"type": "input_image", "image_url": PNG, "detail": "high"}),
    ),
    (
        RESPONSES,
        responses({"type": "input_file", "file_url": PDF_URL, "detail": "low"}),
        [UrlPart("input[1].content[0].file_url", PDF_URL, "document")],
        responses({"type": "input_file", "detail": "low", "filename": "file-1.pdf", "file_data": PDF}),
    ),
    (
        RESPONSES,
        {
            "input": [
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_image", "image_url": IMAGE_URL}],
                }
            ]
        },
        [UrlPart("input[0].output[0].image_url", IMAGE_URL, "image")],
        {
            "input": [
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PNG}]}
            ]
        },
    ),
    (
        MESSAGES,
        messages({"type": "image", "source": source(IMAGE_URL), "cache_control": {"type": "ephemeral"}}),
        [UrlPart("messages[1].content[0].source.url", IMAGE_URL, "image")],
        messages({"type": "image", "source": base64_source("image"), "cache_control": {"type": "ephemeral"}}),
    ),
    (
        MESSAGES,
        messages({"type": "document", "source": source(PDF_URL), "title": "T"}),
        [UrlPart("messages[1].content[0].source.url", PDF_URL, "document")],
        messages({"type": "document", "source": base64_source("document"), "title": "T"}),
    ),
    (
        MESSAGES,
        messages({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source("u")}]}),
        [UrlPart("messages[1].content[0].content[0].source.url", "u", "image")],
        messages(
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": base64_source("image")}],
            }
        ),
    ),
    (
        MESSAGES,
        messages(
            {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": source("u")}]}}
        ),
        [UrlPart("messages[1].content[0].source.content[0].source.url", "u", "image")],
        messages(
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "image", "source": base64_source("image")}]},
            }
        ),
    ),
    (
        GEMINI,
        gemini({"fileData": {"fileUri": IMAGE_URL, "displayName": "a"}, "mediaResolution": {"level": "L"}}),
        [UrlPart("contents[1].parts[0].fileData.fileUri", IMAGE_URL, "image")],
        gemini(
            {
                "inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo=", "displayName": "a"},
                "mediaResolution": {"level": "L"},
            }
        ),
    ),
    (
        GEMINI,
        gemini({"file_data": {"file_uri": "https://e.org/a", "mime_type": "Application/PDF"}}),
        [UrlPart("contents[1].parts[0].file_data.file_uri", "https://e.org/a", "document", "application/pdf")],
        gemini({"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}}),
    ),
    (
        GEMINI,
        gemini({"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": {"fileUri": IMAGE_URL}}]}}),
        [UrlPart("contents[1].parts[0].functionResponse.parts[0].fileData.fileUri", IMAGE_URL, "image")],
        gemini(
            {
                "functionResponse": {
                    "name": "f",
                    "response": {},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}],
                }
            }
        ),
    ),
    (
        GEMINI,
        gemini({"fileData": {"fileUri": "https://e.org/a", "mimeType": "audio/mp3"}}),
        [UrlPart("contents[1].parts[0].fileData.fileUri", "https://e.org/a", "audio", "audio/mp3")],
        gemini({"inlineData": {"mimeType": "audio/mp3", "data": "SUQz"}}),
    ),
    (
        GEMINI,
        gemini({"fileData": {"fileUri": "https://e.org/a"}}),
        [UrlPart("contents[1].parts[0].fileData.fileUri", "https://e.org/a", "any")],
        gemini({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}),
    ),
]


@pytest.mark.parametrize(("format", "body", "parts", "written"), CASES)
def test_parts_are_found_and_replaced(format: str, body: Any, parts: list[UrlPart], written: Any) -> None:
    before = copy.deepcopy(body)
    asked = call(format, body)
    assert url_parts(asked) == parts
    sent = with_data(asked, {part.path: DATA[part.kind] for part in parts})
    assert sent.body == written
    assert sent.raw is None
    assert body == before
    assert url_parts(sent) == []
    assert with_data(asked, {"elsewhere": DATA["image"]}).body is body


@pytest.mark.parametrize(("format", "body", "parts", "written"), CASES)
def test_what_was_replaced_decodes_as_data(format: str, body: Any, parts: list[UrlPart], written: Any) -> None:
    request = get_format(format).decode_request(call(format, {**written, "max_tokens": 9}))
    assert "Url(" not in repr(request)
    for part in parts:
        assert repr(DATA[part.kind].data) in repr(request)


@pytest.mark.parametrize(
    ("format", "body"),
    [
        (CHAT, chat({"type": "image_url", "image_url": {"url": PNG}}, {"type": "input_audio"}, TEXT, "x", None)),
        (CHAT, chat({"type": "image_url", "image_url": {"url": "gs://b/a.png"}})),
        (CHAT, chat({"type": "image_url"}, {"type": "image_url", "image_url": {"url": 5}}, {"type": "file"}, {})),
        (CHAT, chat({"type": "file", "file": {"file_id": "f", "file_url": PDF_URL}})),
        (CHAT, chat({"type": "video_url", "video_url": {"url": "https://e.org/v.mp4"}})),
        (CHAT, {"messages": "x"}),
        (CHAT, {"messages": [5]}),
        (RESPONSES, {"input": "https://e.org/a.png"}),
        (RESPONSES, responses({"type": "input_file", "file_data": PDF, "file_url": PDF_URL})),
        (RESPONSES, {"input": [{"type": "computer_call_output", "output": {"image_url": IMAGE_URL}}]}),
        (MESSAGES, messages({"type": "image", "source": base64_source("image")}, {"type": "image", "source": 5})),
        (MESSAGES, messages({"type": "document", "source": {"type": "file", "file_id": "f"}})),
        (MESSAGES, messages({"type": "image", "source": {"type": "url"}})),
        (GEMINI, gemini({"fileData": {"fileUri": "gs://b/a.png"}}, {"fileData": 5}, {"fileData": {}})),
        (GEMINI, gemini({"fileData": {"fileUri": "https://youtu.be/x"}})),
        (
            GEMINI,
            gemini({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}),
        ),
        (GEMINI, gemini({"inlineData": {"mimeType": "image/png", "data": "AA=="}})),
    ],
)
def test_what_is_no_url_to_fetch(format: str, body: Any) -> None:
    assert url_parts(call(format, body)) == []


# Who takes URLs.


def target(model: str = "m", **changes: Any) -> Target:
    options = ConversionOptions(
        **{name: changes.pop(name) for name in ("inline_urls", "strict_passthrough") if name in changes}
    )
    return Target(model, rules_of(model), options=options, **changes)


IMAGE = (MESSAGES, messages({"type": "image", "source": source(IMAGE_URL)}))
PLAIN = (MESSAGES, messages({"type": "image", "source": source("http://e.org/a.png")}))
UNTYPED = (MESSAGES, messages({"type": "image", "source": source("https://e.org/a")}))
DOCUMENT = (MESSAGES, messages({"type": "document", "source": source(PDF_URL)}))
OF_CHAT = (CHAT, chat({"type": "image_url", "image_url": {"url": IMAGE_URL}}))
PLAIN_OF_CHAT = (CHAT, chat({"type": "image_url", "image_url": {"url": "http://e.org/a.png"}}))
FILE_OF_CHAT = (CHAT, chat({"type": "file", "file": {"file_url": PDF_URL}}))
OF_GEMINI = (GEMINI, gemini({"fileData": {"fileUri": IMAGE_URL, "mimeType": "image/png"}}))
AUDIO = (GEMINI, gemini({"fileData": {"fileUri": "https://e.org/a.mp3"}}))
VIDEO = (GEMINI, gemini({"fileData": {"fileUri": "https://e.org/a.mp4"}}))
OF_RESPONSES = (RESPONSES, responses({"type": "input_file", "file_url": PDF_URL}))


@pytest.mark.parametrize(
    ("request_", "wire", "to", "inlined"),
    [
        # Chat Completions: images have a URL, nothing else has.
        (IMAGE, CHAT, target(), False),
        (PLAIN, CHAT, target(), False),
        (DOCUMENT, CHAT, target("gpt-4o"), True),
        (OF_RESPONSES, CHAT, target(official=True), True),
        (OF_RESPONSES, CHAT, target(provider="openrouter"), True),
        (DOCUMENT, CHAT, target(provider="custom"), False),  # would be refused as data, too
        (AUDIO, CHAT, target(), True),
        (VIDEO, CHAT, target(), False),
        (OF_CHAT, CHAT, target(), False),
        (FILE_OF_CHAT, CHAT, target(), False),
        (OF_CHAT, CHAT, target(inline_urls=True), True),
        (OF_CHAT, CHAT, target(inline_urls=True, strict_passthrough=True), True),
        (IMAGE, CHAT, target(inline_urls=True), True),
        # Responses: both.
        (IMAGE, RESPONSES, target(), False),
        (DOCUMENT, RESPONSES, target(), False),
        (OF_RESPONSES, RESPONSES, target(), False),
        (OF_GEMINI, RESPONSES, target(inline_urls=True), True),
        # Messages: https, but nothing on the platforms of others.
        (OF_CHAT, MESSAGES, target(), False),
        (PLAIN_OF_CHAT, MESSAGES, target(), True),
        (PLAIN, MESSAGES, target(), False),
        (AUDIO, MESSAGES, target(), False),
        (OF_CHAT, MESSAGES, target(platform="bedrock"), True),
        (OF_RESPONSES, MESSAGES, target(platform="vertex"), True),
        (IMAGE, MESSAGES, target(platform="bedrock"), True),
        (DOCUMENT, MESSAGES, target(platform="vertex"), True),
        (IMAGE, MESSAGES, target(platform="bedrock", strict_passthrough=True), False),
        # Gemini: by model, with a type.
        (IMAGE, GEMINI, target("gemini-2.5-pro"), False),
        (IMAGE, GEMINI, target("gemini-3-flash-preview"), False),
        (IMAGE, GEMINI, target("gemini-9-flash"), False),
        (IMAGE, GEMINI, target("gemini-2.5-flash-image"), False),
        (IMAGE, GEMINI, target("gemini-2.0-flash"), True),
        (IMAGE, GEMINI, target("gemini-1.5-pro"), True),
        (IMAGE, GEMINI, target("gemma-3-27b-it"), True),
        (IMAGE, GEMINI, target("nobody-knows"), True),
        (IMAGE, GEMINI, target("gemini-2.0-flash", platform="vertex"), False),
        (UNTYPED, GEMINI, target("gemini-2.5-pro"), True),
        (PLAIN, GEMINI, target("gemini-2.5-pro"), True),
        (DOCUMENT, GEMINI, target("gemini-2.5-pro"), False),
        (DOCUMENT, GEMINI, target("gemini-2.0-flash"), True),
        (OF_GEMINI, GEMINI, target("gemini-2.0-flash"), True),
        (AUDIO, GEMINI, target("gemini-2.0-flash"), True),
        (VIDEO, GEMINI, target("gemini-2.0-flash"), False),
        (OF_GEMINI, GEMINI, target("gemini-2.5-pro"), False),
        (OF_GEMINI, GEMINI, target("nobody-knows"), False),
        (OF_GEMINI, GEMINI, target("gemini-2.0-flash", strict_passthrough=True), False),
    ],
)
def test_only_what_the_upstream_cannot_take_is_inlined(request_: Any, wire: str, to: Target, inlined: bool) -> None:
    assert bool(parts_to_inline(call(*request_), wire, to)) is inlined


@pytest.mark.parametrize("wire", NAMES)
def test_a_target_nobody_knows_is_passed_what_its_clients_say(wire: str) -> None:
    assert takes_urls(wire, Target("m"))
    assert not takes_urls(wire, replace(Target("m"), options=ConversionOptions(inline_urls=True)))


@pytest.mark.parametrize("platform", ["bedrock", "vertex"])
@pytest.mark.parametrize("asked", [OF_CHAT, IMAGE, DOCUMENT, OF_RESPONSES], ids=["chat", "image", "document", "file"])
def test_claude_on_the_platform_of_another_takes_the_data(asked: tuple[str, Any], platform: Any) -> None:
    """Where it refuses the URL, in the client's own format and across formats."""
    to = target("claude-sonnet-4-5", platform=platform)
    asked_call = call(asked[0], {"max_tokens": 9, **asked[1]})
    wire = get_format(MESSAGES)
    with pytest.raises(InvalidRequest):
        wire.encode_request(get_format(asked[0]).decode_request(asked_call), to)
    sent = with_data(asked_call, {part.path: DATA[part.kind] for part in parts_to_inline(asked_call, MESSAGES, to)})
    if asked[0] == MESSAGES:
        body = orjson.loads(wire.prepare_upstream(sent, target=to, include_usage=False).body)
    else:
        body = wire.encode_request(get_format(asked[0]).decode_request(sent), to).body
    sources = [block["source"] for message in body["messages"] for block in message["content"] if "source" in block]
    assert sources in ([base64_source("image")], [base64_source("document")])
