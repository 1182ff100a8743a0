"""`GET /v1/models` and `/v1beta/models`: the models a key's group can reach. Runs behind `AuthMiddleware`.

The same paths serve three SDKs, which tell who they are by how they send the key:

    path or header                      answer in the shape of
    /v1beta/...                         Google
    x-goog-api-key                      Google
    anthropic-version, or x-api-key     Anthropic
    anything else                       OpenAI
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.admin.envelope import reply
from oneapi_mw.admin.model_shapes import SHAPES
from oneapi_mw.admin.routing import Router, route
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.errors import ModelNotFound, NotFound
from oneapi_mw.exchange import ENDPOINT, Endpoint
from oneapi_mw.immutable import immutable
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.routing.channel import Channel, ChannelStatus
from oneapi_mw.scope import header, route_path
from oneapi_mw.types import JsonObject

__all__ = ["ModelDialectMiddleware", "build_models", "is_models_path", "models_of_group"]

_ROOTS = ("/v1/models", "/v1beta/models")
_OPENAI = "openai_chat"


def is_models_path(path: str) -> bool:
    """Whether `path`, below the mount, is a list of models or one of them."""
    return path in _ROOTS or path.startswith(tuple(root + "/" for root in _ROOTS))


def dialect_of(scope: Scope) -> str:
    """The wire format that the SDK behind a request speaks."""
    if route_path(scope).startswith("/v1beta/") or header(scope, b"x-goog-api-key"):
        return "gemini"
    if header(scope, b"anthropic-version") or header(scope, b"x-api-key"):
        return "anthropic_messages"
    return _OPENAI


class ModelDialectMiddleware:
    """Let the stages inside report errors in the dialect of the SDK that asks for models.

    Replaces `ENDPOINT`. Stands outside `ErrorsMiddleware`, so that a wrong key is told in that dialect, too.
    """

    requires, provides = (ENDPOINT,), (ENDPOINT,)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint = Endpoint(ENDPOINT.get(scope).operation, dialect_of(scope))
            scope = ENDPOINT.put(scope, endpoint)
        await self.app(scope, receive, send)


def channels_by_model(channels: Iterable[Channel], group: str) -> Mapping[str, Channel]:
    """The model names `group` can ask for, sorted, each with the channel that is tried first."""
    chosen: dict[str, Channel] = {}
    for channel in sorted(channels, key=lambda channel: (-channel.priority, channel.id)):
        if channel.status != ChannelStatus.ENABLED or group not in channel.groups:
            continue
        for name in channel.models:
            if name.lower() not in channel.hidden_models:
                chosen.setdefault(name, channel)
    return dict(sorted(chosen.items()))


def models_of_group(channels: Iterable[Channel], group: str) -> list[str]:
    """The model names `group` can ask for, sorted."""
    return list(channels_by_model(channels, group))


@immutable
class _Compiled:
    """What one group sees in one shape, for one version of the channel table."""

    version: int
    names: list[str]
    entries: Mapping[str, JsonObject]
    by_lower_case: Mapping[str, str]

    def find(self, wanted: str) -> str | None:
        """The name of the model that is `wanted`, in any case; the exact one goes first."""
        return wanted if wanted in self.entries else self.by_lower_case.get(wanted.lower())


class _Models:
    """The two routes. Keeps what it derived until the channels change."""

    def __init__(self, services: AdminServices) -> None:
        self._services = services
        self._compiled: dict[tuple[str, str], _Compiled] = {}

    async def list(self, request: Request) -> Response:
        dialect = dialect_of(request.scope)
        visible = self._visible(request, dialect)
        return reply(SHAPES[dialect].page(visible.names, visible.entries, request.query_params))

    async def one(self, request: Request) -> Response:
        dialect = dialect_of(request.scope)
        wanted = request.path_params["model"]
        visible = self._visible(request, dialect)
        name = visible.find(wanted)
        if name is not None:
            return reply(visible.entries[name])
        message = SHAPES[dialect].missing(wanted)
        if dialect != _OPENAI:
            raise ModelNotFound(message, param="model")
        error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return reply({"error": error}, status=404)

    def _visible(self, request: Request, dialect: str) -> _Compiled:
        group = PRINCIPAL.get(request.scope).group
        version = self._services.store.channel_table.version()
        compiled = self._compiled.get((group, dialect))
        if compiled is None or compiled.version != version:
            if any(known.version != version for known in self._compiled.values()):
                self._compiled.clear()
            compiled = self._compiled[group, dialect] = self._compile(group, dialect, version)
        return compiled

    def _compile(self, group: str, dialect: str, version: int) -> _Compiled:
        chosen = channels_by_model(self._services.store.channel_table.snapshot(), group)
        name_of, shape = self._services.provider_name, SHAPES[dialect]
        entries = {name: shape.entry(name, name_of(channel.type) or "custom") for name, channel in chosen.items()}
        return _Compiled(version, list(entries), entries, {name.lower(): name for name in reversed(entries)})


class _Router(Router):
    """Unknown methods are told in the dialect of the SDK: Google's trips over another envelope."""

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and dialect_of(scope) != _OPENAI:
            raise NotFound(f"Invalid URL ({scope['method']} {route_path(scope)})")
        await super().not_found(scope, receive, send)


def build_models(services: AdminServices) -> ASGIApp:
    """The app for the paths of `is_models_path`. Reads `PRINCIPAL`."""
    models = _Models(services)
    lists = [route("GET", root, models.list) for root in _ROOTS]
    return _Router([*lists, *[route("GET", root + "/{model:path}", models.one) for root in _ROOTS]])
