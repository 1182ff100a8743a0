"""One request's media by URL, put into it as data where the upstream takes no URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oneapi_mw.canonical.blocks import Inline
from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import GatewayError, InvalidRequest, UrlFetchFailed, UrlNotAllowed
from oneapi_mw.relay.fetch import Budget, Fetcher, FetchFailed, FetchLimits
from oneapi_mw.relay.guard import UrlRefused
from oneapi_mw.routing.plan import Route
from oneapi_mw.wire.target import ConversionOptions
from oneapi_mw.wire.url_media import Kind, UrlPart, parts_to_inline, with_data

INLINED = "media.url=emulated"
"""How it is reported."""
MAX_URLS = 16
"""Different ones, of one request."""
FILES_PER_REQUEST = 2
"""Of the largest size a single file may have."""

_NAMES: dict[Kind, str] = {
    "image": "an image (PNG, JPEG, GIF, WebP, HEIC)",
    "document": "a PDF",
    "audio": "a sound file",
    "any": "an image, a PDF or a sound file",
}


class Inlining:
    """Serves one request, over all its attempts: no URL is fetched twice."""

    __slots__ = ("_budget", "_fetcher", "_found", "_user")

    def __init__(self, fetcher: Fetcher, user: str) -> None:
        self._fetcher = fetcher
        self._user = user
        self._found: dict[tuple[str, Kind], Inline] = {}
        self._budget = Budget(FILES_PER_REQUEST * fetcher.limits.max_bytes)

    async def inlined(self, call: Call, route: Route) -> Call:
        """`call` as this way to an upstream can take it; the same object when nothing is to do.

        Raises: `UrlNotAllowed` and `UrlFetchFailed` naming the part, `InvalidRequest` in strict conversion,
        `RateLimited`. None of them is the upstream's fault.
        """
        parts = parts_to_inline(call, route.wire.name, route.target)
        if not parts:
            return call
        _check(parts, call, route.target.options)
        await self._fetch(parts)
        return with_data(call, {part.path: self._found[part.url, part.kind] for part in parts})

    async def _fetch(self, parts: Sequence[UrlPart]) -> None:
        """Fetch what is not here yet. The error of the part that comes first is raised."""
        missing = {(part.url, part.kind): part for part in reversed(parts)}
        errors: dict[str, GatewayError] = {}
        async with asyncio.TaskGroup() as group:
            for key, part in missing.items():
                if key not in self._found:
                    group.create_task(self._fetch_one(part, errors))
        for part in parts:
            if part.path in errors:
                raise errors[part.path]

    async def _fetch_one(self, part: UrlPart, errors: dict[str, GatewayError]) -> None:
        key = part.url, part.kind
        try:
            self._found[key] = await self._fetcher.fetch(part.url, part.kind, user=self._user, budget=self._budget)
        except UrlRefused as refused:
            errors[part.path] = UrlNotAllowed(
                f"{part.path}: this URL is not fetched: {refused}. Change it, or send the data as base64",
                param=part.path,
            )
        except FetchFailed:
            errors[part.path] = UrlFetchFailed(_failure(part, self._fetcher.limits), param=part.path)
        except GatewayError as error:
            errors[part.path] = error


def _check(parts: Sequence[UrlPart], call: Call, options: ConversionOptions) -> None:
    """Whether there may be any fetching."""
    param = parts[0].path
    if call.strict or options.strict:
        raise InvalidRequest(
            f"{param}: model {call.model!r} cannot be given a URL. Send the data as base64, or ask without strict "
            "conversion",
            param=param,
            code="unsupported_parameter",
        )
    if not options.fetches_urls:
        raise UrlNotAllowed(
            f"{param}: model {call.model!r} cannot be given a URL, and this gateway does not fetch files: send the "
            "data as base64",
            param=param,
        )
    if len({part.url for part in parts}) > MAX_URLS:
        raise UrlNotAllowed(
            f"{param}: model {call.model!r} cannot be given URLs, and more than {MAX_URLS} files of one request are "
            "not fetched: send the data as base64",
            param=param,
        )


def _failure(part: UrlPart, limits: FetchLimits) -> str:
    """All that may be wanting, since what it was is not told."""
    size = limits.max_bytes // (1024 * 1024)
    return (
        f"{part.path}: no file could be fetched from this URL. It must be public and answer within "
        f"{limits.seconds:g} seconds with {_NAMES[part.kind]} of at most {size} MiB, and all files of a request must "
        f"have at most {FILES_PER_REQUEST * size} MiB; or send the data as base64"
    )
