"""Counting with the shipped encodings: exact where vendors are, in threads where it takes time, never downloading."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from oneapi_mw import tokenizer as module
from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.call import Outside
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.tokenizer import INLINE_CHARS, MAX_EXACT_CHARS, RANK_FILES, RANKS, RanksMissing, Tokenizer, load_encoding
from oneapi_mw.tokens.estimate import MESSAGE_TOKENS, REPLY_TOKENS, text_tokens
from oneapi_mw.wire.openai_chat import FORMAT as CHAT

# The example of OpenAI's guide on counting, with the numbers its servers reported.
COOKBOOK = (
    (None, "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
    ("example_user", "New synergies will help drive top-line growth."),
    ("example_assistant", "Things working well together will increase revenue."),
    (
        "example_user",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    ),
    ("example_assistant", "Let's talk later when we're less busy about how to do better."),
    (None, "This late pivot means we don't have time to boil the ocean for the client deliverable."),
)
TURNS = tuple(Turn("user", (Text(text),), name=name) for name, text in COOKBOOK)


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 124), ("gpt-4-0613", 129), ("gpt-3.5-turbo", 129)])
async def test_a_request_counts_what_the_vendor_counts(model: str, tokens: int) -> None:
    assert await Tokenizer().count_request(Request("openai_chat", model, turns=TURNS), model) == tokens


async def test_a_request_as_it_is_decoded() -> None:
    raw = b'{"model":"m","messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"Hi!"}]}'
    request = CHAT.decode_request(CHAT.decode_call(raw, operation="chat", outside=Outside()))
    assert await Tokenizer().count_request(request, "gpt-4o") == REPLY_TOKENS + 2 * MESSAGE_TOKENS + 4 + 2


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("gpt-4o", "hello world", 2),
        ("gpt-4", "你好世界", 5),
        ("gpt-4o", "你好世界", 2),
        ("gpt-4o", "", 0),
        ("claude-sonnet-4-5", "hello world", 3),
        ("claude-opus-4-7", "hello world " * 50, 157),
    ],
)
async def test_text(model: str, text: str, tokens: int) -> None:
    assert await Tokenizer().count_text(text, model) == tokens


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|im_start|>system", "\ud83d", "a\ud83db\udc00"])
async def test_no_text_is_special(text: str) -> None:
    assert await Tokenizer().count_text(text, "gpt-4o") > 1 or len(text) == 1


def test_the_ranks_are_the_ones_tiktoken_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: dict[str, tuple[str, str]] = {}

    def recorded(address: str, expected_hash: str) -> dict[bytes, int]:
        name = address.rpartition("/")[2].removesuffix(".tiktoken")
        pinned[name] = (hashlib.sha1(address.encode()).hexdigest(), expected_hash)
        return {}

    public: Any = import_module("tiktoken_ext.openai_public")
    monkeypatch.setattr(public, "load_tiktoken_bpe", recorded)
    for name in RANK_FILES:
        public.ENCODING_CONSTRUCTORS[name]()
    assert pinned == RANK_FILES


def test_the_files_are_whole_and_described() -> None:
    readme = (RANKS / "README.md").read_text(encoding="utf-8")
    for file, digest in RANK_FILES.values():
        assert hashlib.sha256((RANKS / file).read_bytes()).hexdigest() == digest
        assert file in readme
        assert digest in readme


OFFLINE = """
import asyncio, os, sys
def audit(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.client")) and event != "socket.__new__":
        raise PermissionError(f"{event}: no network here")
sys.addaudithook(audit)
from oneapi_mw.tokenizer import Tokenizer
tokenizer = Tokenizer()
async def count():
    await tokenizer.load()
    return [await tokenizer.count_text("hello world " * 3000, model) for model in ("gpt-4o", "gpt-4", "gemini-3-pro")]
counts = asyncio.run(count())
assert counts == [6001, 6001, 6602], counts
assert os.environ.get("TIKTOKEN_CACHE_DIR") == (sys.argv[1] or None), os.environ.get("TIKTOKEN_CACHE_DIR")
"""


@pytest.mark.parametrize("given", [True, False], ids=["cache named", "no cache named"])
def test_nothing_is_downloaded_or_written(tmp_path: Path, given: bool) -> None:
    cache = tmp_path / "cache"
    environment = {name: value for name, value in os.environ.items() if name != "TIKTOKEN_CACHE_DIR"}
    environment |= {"TMPDIR": str(tmp_path)} | ({"TIKTOKEN_CACHE_DIR": str(cache)} if given else {})
    command = [sys.executable, "-c", textwrap.dedent(OFFLINE), str(cache) if given else ""]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["missing", "damaged"])
async def test_without_its_file_lengths_are_counted(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file, _ = RANK_FILES["cl100k_base"]
    if damage == "damaged":
        shutil.copyfile(RANKS / file, tmp_path / file)
        with (tmp_path / file).open("ab") as ranks:
            ranks.write(b"\n")
    with pytest.raises(RanksMissing, match="cl100k_base"):
        load_encoding("cl100k_base", tmp_path)
    tokenizer = Tokenizer(directory=tmp_path)
    counts = await asyncio.gather(*[tokenizer.count_text("hello there, world", "gpt-4") for _ in range(4)])
    assert counts == [text_tokens("hello there, world")] * 4
    assert (tmp_path / file).exists() is (damage == "damaged")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


class Recorded:
    """An encoding that takes one token a character and notes where it worked."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.texts: list[str] = []

    def encode_ordinary(self, text: str) -> list[int]:
        self.threads.append(threading.get_ident())
        self.texts.append(text)
        return [0] * len(text)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    encoding = Recorded()
    loads: list[int] = []

    def load(*_: Any) -> Recorded:
        loads.append(threading.get_ident())
        assert loads != [threading.main_thread().ident], "encodings are loaded in threads"
        return encoding

    monkeypatch.setattr(module, "load_encoding", load)
    return encoding


@pytest.mark.parametrize(("chars", "inline"), [(INLINE_CHARS, True), (INLINE_CHARS + 1, False)])
async def test_long_text_is_encoded_in_a_thread(recorded: Recorded, chars: int, inline: bool) -> None:
    assert await Tokenizer().count_text("x" * chars, "gpt-4o") == chars
    assert (recorded.threads == [threading.get_ident()]) is inline


async def test_text_beyond_reason_is_estimated(recorded: Recorded) -> None:
    turns = tuple(Turn("user", (Text("x" * (MAX_EXACT_CHARS - 10)),)) for _ in range(2))
    counted = await Tokenizer().count_request(Request("openai_chat", "gpt-4o", turns=turns), "gpt-4o")
    rest = text_tokens("x" * (MAX_EXACT_CHARS - 20))
    assert sum(map(len, recorded.texts)) == MAX_EXACT_CHARS
    assert counted == REPLY_TOKENS + 2 * MESSAGE_TOKENS + MAX_EXACT_CHARS + rest


async def test_an_encoding_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str, *_: Any) -> Recorded:
        loaded.append(name)
        return Recorded()

    monkeypatch.setattr(module, "load_encoding", load)
    tokenizer = Tokenizer()
    await tokenizer.load()
    assert loaded == list(RANK_FILES)
    await tokenizer.count_text("x", "gpt-4")
    await tokenizer.load("o200k_base")
    assert loaded == list(RANK_FILES)
