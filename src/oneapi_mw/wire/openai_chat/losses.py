"""What a request says that this format cannot: dropped and named, said by other means and named, or refused."""

from __future__ import annotations

from collections.abc import Iterator

from oneapi_mw.canonical.request import Request
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.client_fields import client_field
from oneapi_mw.wire.losses import is_blocking
from oneapi_mw.wire.openai_chat.content import unsupported
from oneapi_mw.wire.openai_chat.hosts import Host


def refused(request: Request, path: str, what: str) -> InvalidRequest:
    """The error for `what`, which is at the canonical `path`: it names the client's own one."""
    return unsupported(what, client_field(request.format, path))


def refuse_settings(request: Request, host: Host) -> None:
    """Raise `InvalidRequest` for settings nobody may leave out: without them the answer would be another one."""
    state, several = request.state, (request.candidates or 1) > 1
    for path, what, value in (
        ("state.background", "background work", state.background),
        ("state.previous_id", "a stored response", state.previous_id),
        ("state.conversation", "a stored conversation", state.conversation),
        ("prompt_template", "a prompt template", request.prompt_template),
        ("cache.resource", "a cached content", request.cache.resource),
        ("container", "a container", request.container),
        ("max_output", "a request that only warms the cache", request.max_output == 0),
        ("safety.moderation", "blocking moderation", not host.openai and is_blocking(request.safety.moderation)),
        ("candidates", "more than one answer", several and "n" in host.refuses),
        ("modalities", "video as output", "video" in request.modalities),
        ("modalities", "an image as output", not host.images_out and ("image" in request.modalities or request.image)),
    ):
        if value:
            raise refused(request, path, what)


def settings_lost(request: Request, host: Host) -> Iterator[str]:
    """Canonical paths of settings that have no place here. What is at its default says nothing."""
    reasoning, audio, state, service = request.reasoning, request.audio, request.state, request.service
    for name, value in (
        ("max_hosted_calls", request.max_hosted_calls),
        ("reasoning.context", reasoning and reasoning.context not in (None, "auto")),
        ("reasoning.mode", reasoning and reasoning.mode not in (None, "standard")),
        ("audio.speakers", audio and audio.speakers),
        ("audio.language", audio and audio.language),
        ("image", request.image),
        ("state.truncation", state.truncation not in (None, "disabled")),
        ("state.context_edits", state.context_edits),
        ("state.store", state.store and not host.openai),
        ("identity.labels", request.identity.labels),
        ("service.speed", service.speed not in (None, "standard")),
        ("service.geo", service.geo),
        ("safety.settings", request.safety.settings),
        ("safety.moderation", request.safety.moderation and not host.openai),
        # of Anthropic's clients the key is made by the gateway
        ("cache.key", request.cache.key and not host.openai and request.format != "anthropic_messages"),
        ("cache.retention", request.cache.retention and not host.openai),
    ):
        if value:
            yield name
    yield from request.extras.get(request.format, {})
