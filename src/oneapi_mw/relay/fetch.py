"""Files that clients name by URL, fetched under a guard: public addresses only, one look at the name, limits on
everything.

A fetch that fails says nothing of how it failed, and does so no sooner than others: a client must not learn from it
what answers in our network (the log has a category). Sent is a plain GET without credentials, cookies or retries, and
wanted are identity bytes, so that nothing can blow up here.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import httpcore

from oneapi_mw import __version__
from oneapi_mw.canonical.blocks import Inline
from oneapi_mw.errors import RateLimited
from oneapi_mw.immutable import immutable
from oneapi_mw.ratelimit.base import Limiter
from oneapi_mw.ratelimit.memory import MemoryLimiter
from oneapi_mw.relay.guard import AddressRefused, Destination, Guard, UrlRefused, addresses_of
from oneapi_mw.relay.lookup import Lookup, LookupFailed, Resolve
from oneapi_mw.relay.passage import Passage, Proxy
from oneapi_mw.tokens.images import declared_size
from oneapi_mw.wire.signatures import SIGNATURE_BYTES, media_type_by_signature
from oneapi_mw.wire.url_media import Kind

log = logging.getLogger("oneapi_mw.fetch")

MAX_REDIRECTS = 3
MAX_PIXELS = 50_000_000
FAILURE_SECONDS = 0.5
"""No failure is told sooner."""
INLINE_BYTES = 20_000
"""More than this is encoded in a thread."""
RECENT_SECONDS = 300.0
MAX_RECENT_CHARS = 64 * 1024 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TYPES: dict[Kind, tuple[str, ...]] = {
    "image": ("image/",),
    "document": ("application/pdf",),
    "audio": ("audio/",),
    "any": ("image/", "application/pdf", "audio/"),
}
_ACCEPT: dict[Kind, bytes] = {"image": b"image/*", "document": b"application/pdf", "audio": b"audio/*"}
_BROKEN = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class FetchFailed(Exception):
    """There is no such file to be had. The text is a category, for the log alone."""


@immutable
class FetchLimits:
    """What fetching on behalf of requests may take: bytes, seconds, and how much at once."""

    max_bytes: int = 16 * 1024 * 1024
    """Of one file."""
    seconds: float = 30.0
    """For one file, waiting for a turn and redirects included."""
    at_once: int = 32
    at_once_per_user: int = 4
    per_minute: int = 240
    """Files of one user."""
    failure_seconds: float = FAILURE_SECONDS


@dataclass(slots=True)
class Budget:
    """Bytes that the files of one request may still have, all of them together."""

    left: int

    def take(self, count: int) -> None:
        """Raises `FetchFailed`."""
        self.left -= count
        if self.left < 0:
            raise FetchFailed("too_large")


class Fetcher:
    """Fetches files. One serves a gateway; there is nothing to close.

    A file is kept for some minutes for the user who asked for it: the turns of a conversation name it again and
    again, and what the model was shown should not change under it.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        limits: FetchLimits | None = None,
        proxy: Proxy | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        """
        Args:
            resolve: in place of the system's resolver.
            tls: trust other certificates than the system does.
            limiter: takes one per file of a user; by default one of this process with `limits.per_minute`.
        """
        self.limits = limits or FetchLimits()
        self._guard = guard or Guard()
        self._proxy = proxy
        self._resolve = resolve or Lookup()
        self._tls = tls
        self._limiter = limiter or MemoryLimiter(limit=self.limits.per_minute, seconds=60)
        self._turns = _Turns(self.limits.at_once, self.limits.at_once_per_user)
        self._recent = _Recent()

    async def fetch(self, url: str, kind: Kind, *, user: str, budget: Budget) -> Inline:
        """The file at `url` as base64, with the media type its first bytes tell.

        Args:
            user: whose limits count.

        Raises: `UrlRefused` at once, for what can be told from the URL alone; `FetchFailed`; `RateLimited`.
        """
        destination = self._guard.read(url)
        loop = asyncio.get_running_loop()
        known = self._recent.find((user, destination.url), loop.time())
        if known is not None and known.media_type.startswith(_TYPES[kind]):
            budget.take(len(known.data) // 4 * 3)
            return known
        verdict = await self._limiter.take(user)
        if not verdict.allowed:
            raise RateLimited(
                "Too many files were fetched for this user: send them as base64, or ask again later",
                retry_after=verdict.retry_after,
            )
        earliest = loop.time() + self.limits.failure_seconds
        try:
            found = await self._guarded(destination, kind, user, budget)
        except FetchFailed as failed:
            log.info("fetch.failed user=%s reason=%s", user, failed)
            await asyncio.sleep(max(0.0, earliest - loop.time()))
            raise
        self._recent.keep((user, destination.url), found, loop.time())
        return found

    async def _guarded(self, destination: Destination, kind: Kind, user: str, budget: Budget) -> Inline:
        """Raises: `FetchFailed`, whatever happens."""
        try:
            async with asyncio.timeout(self.limits.seconds), self._turns.take(user):
                raw = await self._follow(destination, kind, budget)
                return await _inline(raw)
        except AddressRefused as refused:
            log.warning("ssrf.blocked user=%s category=%s", user, refused)
            raise FetchFailed("address") from None
        except UrlRefused:
            raise FetchFailed("redirect") from None
        except LookupFailed:
            raise FetchFailed("name") from None
        except TimeoutError:
            raise FetchFailed("timeout") from None
        except _BROKEN as exc:
            raise FetchFailed(type(exc).__name__) from None

    async def _follow(self, destination: Destination, kind: Kind, budget: Budget) -> bytes:
        for _ in range(1 + MAX_REDIRECTS):
            found = await self._ask(destination, kind, budget)
            if isinstance(found, bytes):
                return found
            destination = found
        raise FetchFailed("redirects")

    async def _ask(self, destination: Destination, kind: Kind, budget: Budget) -> bytes | Destination:
        """The file, or where it is said to be. The name is looked up once; the connection goes to what was found."""
        if destination.literal is not None:
            addresses = [destination.literal]
        else:
            addresses = list(addresses_of(await self._resolve(destination.host)))
        self._guard.admit(destination, addresses)
        tls = await self._trusted()
        passage = Passage(addresses, self._proxy, tls=tls)
        url = httpcore.URL(
            scheme=destination.scheme.encode(),
            host=destination.host.encode(),
            port=destination.port,
            target=destination.target.encode(),
        )
        try:
            async with (
                httpcore.AsyncConnectionPool(tls, max_connections=1, network_backend=passage) as pool,
                pool.stream("GET", url, headers=_headers(destination, kind)) as response,
            ):
                fields = {name.lower(): value for name, value in response.headers}
                if response.status in _REDIRECTS:
                    return self._guard.redirected(destination, fields.get(b"location", b"").decode("utf-8", "replace"))
                self._check(response.status, fields)
                return await self._read(response.aiter_stream(), kind, budget)
        finally:
            await passage.aclose()

    def _check(self, status: int, fields: dict[bytes, bytes]) -> None:
        if status != 200:
            raise FetchFailed("status")
        if fields.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
            raise FetchFailed("encoding")
        length = fields.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self.limits.max_bytes:
            raise FetchFailed("too_large")

    async def _read(self, chunks: AsyncIterator[bytes], kind: Kind, budget: Budget) -> bytes:
        data = bytearray()
        checked = False
        async for chunk in chunks:
            budget.take(len(chunk))
            data += chunk
            if len(data) > self.limits.max_bytes:
                raise FetchFailed("too_large")
            if not checked and len(data) >= SIGNATURE_BYTES:
                _check_type(data, kind)
                checked = True
        if not checked:
            _check_type(data, kind)
        return bytes(data)

    async def _trusted(self) -> ssl.SSLContext:
        """Made when first needed, in a thread: it reads all certificates the system trusts."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


def _headers(destination: Destination, kind: Kind) -> Sequence[tuple[bytes, bytes]]:
    return [
        (b"host", destination.authority.encode()),
        (b"accept", _ACCEPT.get(kind, b"*/*")),
        (b"accept-encoding", b"identity"),
        (b"user-agent", f"oneapi-mw/{__version__}".encode()),
        (b"connection", b"close"),
    ]


def _check_type(data: bytearray, kind: Kind) -> None:
    if not media_type_by_signature(bytes(data[:SIGNATURE_BYTES])).startswith(_TYPES[kind]):
        raise FetchFailed("type")


async def _inline(raw: bytes) -> Inline:
    """`raw` as base64. An image that would fill memory once it is decoded is none; its header tells."""
    encode = base64.b64encode
    data = (encode(raw) if len(raw) <= INLINE_BYTES else await asyncio.to_thread(encode, raw)).decode()
    media_type = media_type_by_signature(raw[:SIGNATURE_BYTES])
    size = declared_size(data) if media_type.startswith("image/") else None
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise FetchFailed("pixels")
    return Inline(media_type, data)


class _Turns:
    """How many fetches there are at once, of everybody and of one user."""

    def __init__(self, at_once: int, at_once_per_user: int) -> None:
        self._everybody = asyncio.Semaphore(at_once)
        self._per_user = at_once_per_user
        self._users: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, user: str) -> AsyncIterator[None]:
        own = self._users.get(user)
        if own is None:
            own = self._users[user] = asyncio.Semaphore(self._per_user)
        async with own, self._everybody:
            yield


class _Recent:
    """Files fetched lately, by user and URL."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[str, str], tuple[float, Inline]] = OrderedDict()
        self._chars = 0

    def find(self, key: tuple[str, str], now: float) -> Inline | None:
        until, file = self._files.get(key, (0.0, None))
        return file if now < until else None

    def keep(self, key: tuple[str, str], file: Inline, now: float) -> None:
        self._drop(key)
        self._files[key] = now + RECENT_SECONDS, file
        self._chars += len(file.data)
        for oldest, (until, _) in list(self._files.items()):  # in order: none is ever moved
            if self._chars <= MAX_RECENT_CHARS and now < until:
                break
            self._drop(oldest)

    def _drop(self, key: tuple[str, str]) -> None:
        _, file = self._files.pop(key, (0.0, None))
        if file is not None:
            self._chars -= len(file.data)
