"""What a request says that this format cannot: dropped and named, said by other means and named, or refused."""

from __future__ import annotations

from oneapi_mw.canonical.request import Request
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.client_fields import client_field
from oneapi_mw.wire.losses import Losses, is_blocking, unsupported
from oneapi_mw.wire.target import Target


def refused(request: Request, path: str, what: str) -> InvalidRequest:
    """The error for `what`, which is at the canonical `path`: it names the client's own one."""
    return unsupported(what, "a Gemini model", client_field(request.format, path))


def refuse_settings(request: Request) -> None:
    """Raise `InvalidRequest` for settings nobody may leave out: without them the answer would be another one."""
    state = request.state
    for path, what, value in (
        ("state.background", "Background work", state.background),
        ("state.previous_id", "A stored response", state.previous_id),
        ("state.conversation", "A stored conversation", state.conversation),
        ("prompt_template", "A prompt template", request.prompt_template),
        ("container", "A container", request.container),
        ("safety.moderation", "Blocking moderation", is_blocking(request.safety.moderation)),
        ("max_output", "A request that only warms the cache", request.max_output == 0),
    ):
        if value:
            raise refused(request, path, what)


_TIERS = ("auto", "default", "standard", "standard_only", "flex", "priority", "fast")


def note_settings(request: Request, target: Target, losses: Losses) -> None:
    """Note the settings that have no counterpart. What is at its default says nothing."""
    sampling, state, identity = request.sampling, request.state, request.identity
    reasoning, service, audio = request.reasoning, request.service, request.audio
    for path, value in (
        ("min_p", sampling.min_p),
        ("repetition_penalty", sampling.repetition_penalty not in (None, 1)),
        ("logit_bias", sampling.logit_bias),
        ("verbosity", request.verbosity not in (None, "medium")),
        ("max_hosted_calls", request.max_hosted_calls),
        ("reasoning.context", reasoning and reasoning.context not in (None, "auto")),
        ("reasoning.mode", reasoning and reasoning.mode not in (None, "standard")),
        ("prediction", request.prediction),
        ("safety.moderation", request.safety.moderation),
        ("identity.end_user", identity.end_user),
        ("identity.safety_id", identity.safety_id),
        ("identity.metadata", identity.metadata and target.platform != "vertex"),
        ("state.store", state.store),
        ("state.truncation", state.truncation not in (None, "disabled")),
        ("state.context_edits", state.context_edits),
        ("service.tier", service.tier is not None and service.tier not in _TIERS),
        ("service.speed", service.speed not in (None, "standard")),
        ("service.geo", service.geo),
        ("audio.format", audio and audio.format not in (None, "pcm16", "wav")),
        ("image.quality", request.image and request.image.quality),
        ("image.format", request.image and request.image.format),
    ):
        if value:
            losses.drop(path)
    losses.drop(*request.extras.get(request.format, {}))
