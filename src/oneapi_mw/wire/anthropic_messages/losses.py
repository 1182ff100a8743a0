"""What a request says that this format cannot: dropped and named, said by other means and named, or refused."""

from __future__ import annotations

from collections.abc import Iterable

from oneapi_mw.canonical.request import Request
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.anthropic_messages.content import NAME
from oneapi_mw.wire.client_fields import client_field
from oneapi_mw.wire.losses import Losses, is_blocking, unsupported


def refused(request: Request, path: str, what: str) -> InvalidRequest:
    """The error for `what`, which is at the canonical `path`: it names the client's own one."""
    return unsupported(what, "an Anthropic Messages model", client_field(request.format, path))


def refuse_settings(request: Request) -> None:
    """Raise `InvalidRequest` for settings nobody may leave out: without them the answer would be another one."""
    state, native = request.state, request.format == NAME
    moderation = request.safety.moderation
    for path, what, value in (
        ("candidates", "More than one answer", (request.candidates or 1) > 1),
        ("state.background", "Background work", state.background),
        ("state.previous_id", "A stored response", state.previous_id),
        ("state.conversation", "A stored conversation", state.conversation and not native),
        ("prompt_template", "A prompt template", request.prompt_template),
        ("cache.resource", "A cached content", request.cache.resource),
        ("container", "A container", request.container and not native),
        ("modalities", "Audio output", "audio" in request.modalities or request.audio),
        ("modalities", "Image output", "image" in request.modalities or request.image),
        ("modalities", "Video output", "video" in request.modalities),
        ("safety.moderation", "Blocking moderation", is_blocking(moderation)),
    ):
        if value:
            raise refused(request, path, what)


def note_settings(request: Request, losses: Losses) -> None:
    """Note the settings that have no counterpart. What is at its default says nothing."""
    sampling, state, cache = request.sampling, request.state, request.cache
    reasoning, identity = request.reasoning, request.identity
    for path, value in (
        ("min_p", sampling.min_p),
        ("frequency_penalty", sampling.frequency_penalty),
        ("presence_penalty", sampling.presence_penalty),
        ("repetition_penalty", sampling.repetition_penalty not in (None, 1)),
        ("seed", sampling.seed is not None),
        ("logit_bias", sampling.logit_bias),
        ("logprobs", request.logprobs is not None),
        ("verbosity", request.verbosity not in (None, "medium")),
        ("reasoning.context", reasoning and reasoning.context),
        ("reasoning.mode", reasoning and reasoning.mode not in (None, "standard")),
        ("prediction", request.prediction),
        ("safety.settings", request.safety.settings),
        ("safety.moderation", request.safety.moderation),
        ("identity.metadata", identity.metadata),
        ("identity.labels", identity.labels),
        ("state.store", state.store),
        ("state.truncation", state.truncation not in (None, "disabled")),
        ("cache.key", cache.key),
        ("cache.retention", cache.retention),
    ):
        if value:
            losses.drop(path)
    losses.drop(*_extras(request))


def _extras(request: Request) -> Iterable[str]:
    """Fields that only the client's own format knows."""
    return request.extras.get(request.format, {}) if request.format != NAME else ()
