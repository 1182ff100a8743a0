"""Counting tokens with OpenAI's public encodings, which come with the package: nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol, get_args

from anyio import CapacityLimiter, to_thread

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.request import Request
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.tokens.counting import countable
from oneapi_mw.tokens.encodings import EncodingName, scale_of
from oneapi_mw.tokens.estimate import text_tokens
from oneapi_mw.wire.registry import get_format

log = logging.getLogger("oneapi_mw.tokenizer")

RANKS = Path(__file__).parent / "data" / "tiktoken"
RANK_FILES: Mapping[EncodingName, tuple[str, str]] = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
"""File names as tiktoken's cache has them, and SHA-256 sums."""

INLINE_CHARS = 20_000
"""More text than this is encoded in a thread: it takes milliseconds."""
MAX_EXACT_CHARS = 1024 * 1024
"""Text beyond this is estimated from its length."""
AT_ONCE = 2
"""Threads that count: a flood of requests must not take all cores."""

_CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"
_loading = threading.Lock()


class Encoding(Protocol):
    """What is used of tiktoken's class."""

    def encode_ordinary(self, text: str) -> list[int]: ...


class RanksMissing(RuntimeError):
    """A rank file is not there, or is not the one it should be."""


def load_encoding(name: EncodingName, directory: Path = RANKS) -> Encoding:
    """The encoding `name`, from the file in `directory`. Takes half a second and 80 MB the first time in a process.

    tiktoken keeps what was loaded, for everybody in the process.

    Raises: `RanksMissing`. The file is checked here because tiktoken would delete a wrong one and download it.
    """
    with _loading:
        file, digest = RANK_FILES[name]
        try:
            found = hashlib.sha256((directory / file).read_bytes()).hexdigest()
        except OSError as exc:
            raise RanksMissing(f"the ranks of {name} cannot be read: {exc}") from exc
        if found != digest:
            raise RanksMissing(f"the ranks of {name} in {directory} are damaged: install the package again")
        before = os.environ.get(_CACHE_VARIABLE)
        os.environ[_CACHE_VARIABLE] = str(directory)
        try:
            encoding: Encoding = import_module("tiktoken").get_encoding(name)  # loads for a tenth of a second
        finally:
            if before is None:
                del os.environ[_CACHE_VARIABLE]
            else:
                os.environ[_CACHE_VARIABLE] = before
        return encoding


class Tokenizer:
    """Counts text and whole requests. One serves a gateway; encodings are loaded when they are first needed.

    Where an encoding cannot be loaded, lengths are counted instead, and the log says so once.
    """

    def __init__(self, *, directory: Path = RANKS, at_once: int = AT_ONCE) -> None:
        self._directory = directory
        self._threads = CapacityLimiter(at_once)
        self._encodings: dict[EncodingName, Encoding | None] = {}

    async def load(self, *names: EncodingName) -> None:
        """Load encodings now, so that no request waits for them; all of them unless some are named."""
        for name in names or get_args(EncodingName):
            await self._encoding(name)

    async def count_text(self, text: str, model: str) -> int:
        """Tokens of `text` for `model`."""
        scale = scale_of(model, rules_of(model))
        return scale.scaled(await self._count([text], scale.encoding))

    async def count_request(self, request: Request, model: str) -> int:
        """Input tokens of `request` if it went to `model` (its name at the provider), media and tools included."""
        rules = rules_of(model)
        parts = countable(request, model, rules)
        scale = scale_of(model, rules)
        return parts.tokens + scale.scaled(await self._count(parts.texts, scale.encoding))

    async def count_call(self, call: Call, model: str) -> int:
        """`count_request` of a request that nobody has decoded yet. Raises `InvalidRequest` where that fails."""
        return await self.count_request(get_format(call.format).decode_request(call), model)

    async def _count(self, texts: Sequence[str], name: EncodingName) -> int:
        encoding = await self._encoding(name)
        if encoding is None:
            return sum(map(text_tokens, texts))
        count = partial(_encoded, texts, encoding)
        if sum(map(len, texts)) <= INLINE_CHARS:
            return count()
        return await to_thread.run_sync(count, limiter=self._threads)

    async def _encoding(self, name: EncodingName) -> Encoding | None:
        if name not in self._encodings:
            try:
                load = partial(load_encoding, name, self._directory)
                self._encodings[name] = await to_thread.run_sync(load, limiter=self._threads)
            except RanksMissing as exc:
                if name not in self._encodings:  # another request may have found out meanwhile
                    log.warning("tokens are estimated from lengths: %s", exc)
                self._encodings[name] = None
        return self._encodings[name]


def _encoded(texts: Sequence[str], encoding: Encoding) -> int:
    """Tokens of `texts`, exact for as much of them as is worth the time."""
    left = MAX_EXACT_CHARS
    tokens = 0
    for text in texts:
        exact, rest = text[:left], text[left:]
        left -= len(exact)
        tokens += len(encoding.encode_ordinary(exact)) + text_tokens(rest)
    return tokens
