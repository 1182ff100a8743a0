"""One connection, without a network: what the transport calls, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.relay.http1_connection import LARGE_BODY_BYTES, MAX_BARREN_BYTES, SLICE_BYTES, Connection, Origin
from oneapi_mw.relay.upstream import BodyCut, ClosedBeforeResponse, InvalidResponse, UpstreamFault
from oneapi_mw.types import RawHeaders

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type:  text/plain \t\r\nTransfer-Encoding: chunked\r\nx-empty:\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n"
)


class Transport:
    """Takes what is written; `room` is what it takes before it asks for a pause."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.written: list[bytes] = []
        self.pending = 0
        self.aborted = False
        self.connection: Connection

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))
        if sum(map(len, self.written)) > self.room:
            self.connection.pause_writing()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return self.pending

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Owner:
    def __init__(self) -> None:
        self.log: list[str] = []

    def release(self, connection: Connection, *, reusable: bool) -> None:
        assert connection.lent
        connection.lent = False
        self.log.append("reusable" if reusable else "used up")

    def forget(self, connection: Connection) -> None:
        self.log.append("forgotten")


class Reader:
    def __init__(self, *, head_only: bool = False) -> None:
        self.head_only = head_only
        self.status = 0
        self.headers: RawHeaders = ()
        self.pieces: list[bytes] = []
        self.finished = False
        self.fault: UpstreamFault | None = None

    def begin(self, status: int, headers: RawHeaders) -> None:
        assert not self.status
        self.status, self.headers = status, headers

    def feed(self, data: bytes) -> None:
        assert data
        assert not self.finished
        self.pieces.append(data)

    def finish(self) -> None:
        assert not self.finished
        self.finished = True

    def fail(self, fault: UpstreamFault) -> None:
        assert not self.finished
        self.fault = fault

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class Wire:
    """A connection on which a request has been sent."""

    def __init__(self, loop: Any = None, *, head_only: bool = False, room: int = 1 << 30, body: bytes = b"") -> None:
        loop = loop or Loop()
        self.transport, self.owner, self.reader = Transport(room), Owner(), Reader(head_only=head_only)
        self.connection = self.transport.connection = Connection(self.owner, Origin("a", 80, False), loop)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.connection.lent = True
        self.connection.send(self.reader, HEAD, body)

    def again(self) -> Reader:
        self.connection.lent = True
        self.reader = Reader()
        self.connection.send(self.reader, HEAD, b"")
        return self.reader

    def receive(self, *pieces: bytes) -> Reader:
        for piece in pieces:
            self.connection.data_received(piece)
        return self.reader

    def lose(self, exc: Exception | None = None) -> Reader:
        """The connection ends: as the network does it, by FIN or with an error."""
        if exc is None:
            assert not self.connection.eof_received()  # type: ignore[func-returns-value]
        self.connection.connection_lost(exc)
        return self.reader

    @property
    def reusable(self) -> bool:
        assert self.owner.log.count("reusable") + self.owner.log.count("used up") == 1
        assert self.transport.aborted == ("used up" in self.owner.log)
        return not self.transport.aborted


class Loop:
    """As much of an event loop as a connection needs."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def create_future(self) -> Any:
        return asyncio.Future(loop=_LOOP)

    def call_soon(self, callback: Any) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


_LOOP = asyncio.new_event_loop()
_LOOP.close()  # its futures only hold a result here


# --- what is received


def test_a_whole_answer() -> None:
    wire = Wire()
    reader = wire.receive(ANSWER)
    assert reader.status == 200
    assert reader.headers == [
        (b"content-type", b"text/plain"),
        (b"transfer-encoding", b"chunked"),
        (b"x-empty", b""),
    ]
    assert reader.pieces == [b"hello world"], "chunk frames that came together are one piece"
    assert reader.finished
    assert wire.reusable


@given(cuts=st.lists(st.integers(0, len(ANSWER)), max_size=12))
def test_split_points_do_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(ANSWER)]
    whole, cut = Wire(), Wire()
    whole.receive(ANSWER)
    cut.receive(*(ANSWER[a:b] for a, b in pairwise(edges) if a < b))
    assert (cut.reader.status, cut.reader.headers, cut.reader.body) == (200, whole.reader.headers, b"hello world")
    assert cut.reader.finished
    assert cut.reusable


def test_byte_by_byte() -> None:
    wire = Wire()
    for _ in range(2):
        reader = wire.receive(*(ANSWER[at : at + 1] for at in range(len(ANSWER))))
        assert reader.body == b"hello world"
        assert reader.finished
        wire.again()


@pytest.mark.parametrize("end", range(len(ANSWER)))
def test_truncated_anywhere(end: int) -> None:
    wire = Wire()
    reader = wire.receive(*filter(None, [ANSWER[:end]]))
    wire.lose()
    assert not reader.finished
    assert isinstance(reader.fault, BodyCut if reader.status else ClosedBeforeResponse)
    assert b"hello world".startswith(reader.body)
    assert not wire.reusable


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", True),
        (b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", True),
        (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", True),
        (b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", True),
        (CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: Keep-Alive, Close\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello.", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n.", False),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nstray", False),
    ],
)  # fmt: skip
def test_complete_answers(answer: bytes, reusable: bool) -> None:
    wire = Wire()
    reader = wire.receive(answer)
    assert (reader.status, reader.body, reader.finished) == (200, b"hello", True)
    assert wire.reusable == reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
        b"HTTP/1.1 104 Odd\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_answers_without_a_body(answer: bytes) -> None:
    wire = Wire()
    reader = wire.receive(answer)
    assert reader.finished
    assert reader.pieces == []
    assert wire.reusable


@pytest.mark.parametrize("rest", [b"", b"hello", b"HTTP/1.1 200 OK\r\n"])
def test_a_head_request_has_no_body_and_ends_its_connection(rest: bytes) -> None:
    wire = Wire(head_only=True)
    reader = wire.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + rest)
    assert reader.status == 200
    assert reader.finished
    assert reader.pieces == []
    assert not wire.reusable


@pytest.mark.parametrize("field", [b"", b"transfer-encoding: gzip\r\n", b"transfer-encoding: identity\r\n"])
def test_a_body_that_lasts_until_its_connection_is_closed(field: bytes) -> None:
    wire = Wire()
    reader = wire.receive(b"HTTP/1.1 200 OK\r\n" + field + b"\r\nhello")
    assert not reader.finished
    wire.lose()
    assert (reader.body, reader.finished, reader.fault) == (b"hello", True, None)
    assert not wire.reusable


@pytest.mark.parametrize(
    "head", [b"", b"content-length: 6\r\n", b"transfer-encoding: chunked, gzip\r\n", b"transfer-encoding: chunked\r\n"]
)
def test_a_reset_is_never_an_end(head: bytes) -> None:
    wire = Wire()
    reader = wire.receive(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    wire.lose(ConnectionResetError())
    assert isinstance(reader.fault, BodyCut)
    assert not wire.reusable


def test_chunked_that_is_not_the_last_coding_has_no_clean_end() -> None:
    wire = Wire()
    wire.receive(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n")
    assert isinstance(wire.lose().fault, BodyCut)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname: va\rlue\r\n\r\n",
        b"HTTP/3.7 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * MAX_BARREN_BYTES,
        b"HTTP/1.1 100 Continue\r\nx: " + b"a" * (MAX_BARREN_BYTES // 4) + b"\r\n\r\n",
    ],
)
def test_heads_that_are_refused(answer: bytes) -> None:
    wire = Wire()
    for _ in range(9):
        if wire.transport.aborted:
            break
        wire.receive(answer)
    assert isinstance(wire.reader.fault, InvalidResponse)
    assert wire.reader.status == 0
    assert wire.owner.log == ["used up"]


@pytest.mark.parametrize("endless", [b"0\r\nx-trailer: ", b"5;extension="])
def test_trailers_and_chunk_extensions_have_an_end(endless: bytes) -> None:
    wire = Wire()
    reader = wire.receive(CHUNKED + b"1\r\na\r\n" + endless)
    for _ in range(MAX_BARREN_BYTES // 1000):
        assert reader.fault is None
        wire.receive(b"a" * 1000)
    wire.receive(b"a" * 1000)
    assert isinstance(reader.fault, BodyCut)
    assert wire.transport.aborted


def test_a_long_body_is_not_mistaken_for_an_endless_head() -> None:
    wire = Wire()
    wire.receive(CHUNKED)
    for _ in range(4):
        wire.receive(b"%x\r\n" % MAX_BARREN_BYTES + b"a" * MAX_BARREN_BYTES + b"\r\n")
    assert wire.receive(b"0\r\n\r\n").finished
    assert wire.reusable


def test_a_chunk_that_breaks_behind_good_ones() -> None:
    wire = Wire()
    reader = wire.receive(CHUNKED + b"5\r\nhello\r\nzz\r\n")
    assert reader.pieces == [b"hello"]
    assert isinstance(reader.fault, BodyCut)
    assert not wire.reusable


# --- a connection between two requests


@pytest.mark.parametrize("stray", [b"\r\n", b"H", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n."])
def test_a_byte_while_idle_closes_it(stray: bytes) -> None:
    wire = Wire()
    wire.receive(ANSWER)
    wire.connection.data_received(stray)
    assert wire.transport.aborted
    assert wire.owner.log == ["reusable"]


def test_closed_while_idle() -> None:
    wire = Wire()
    wire.receive(ANSWER)
    wire.lose()
    assert wire.owner.log == ["reusable", "forgotten"]


def test_the_next_answer_begins_anew() -> None:
    wire = Wire()
    first = wire.receive(ANSWER)
    second = wire.again()
    wire.receive(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx: 2\r\n\r\nok")
    assert (first.body, second.status, second.body) == (b"hello world", 201, b"ok")
    assert (b"x", b"2") in second.headers
    assert (b"x", b"2") not in first.headers


@pytest.mark.parametrize(("heard", "reused"), [(b"", True), (b"H", False)])
def test_only_silence_on_a_used_connection_counts_as_reused(heard: bytes, reused: bool) -> None:
    wire = Wire()
    wire.receive(ANSWER)
    second = wire.again()
    if heard:
        wire.receive(heard)
    wire.lose()
    assert isinstance(second.fault, ClosedBeforeResponse)
    assert second.fault.reused == reused


@pytest.mark.parametrize(
    ("field", "patience"),
    [(b"Keep-Alive: timeout=5, max=100", 4), (b"keep-alive: max=3", None), (b"x: timeout=5", None)],
)
def test_the_upstream_says_how_long_it_waits(field: bytes, patience: float | None) -> None:
    wire = Wire()
    wire.receive(b"HTTP/1.1 200 OK\r\n" + field + b"\r\ncontent-length: 0\r\n\r\n")
    assert wire.connection.patience == patience


def test_an_answer_before_the_request_has_left_ends_the_connection() -> None:
    wire = Wire()
    wire.transport.pending = 1
    assert wire.receive(ANSWER).finished
    assert not wire.reusable


def test_being_closed_by_its_user_tells_the_reader_nothing_more() -> None:
    wire = Wire()
    wire.receive(CHUNKED)
    wire.connection.abort()
    wire.connection.abort()
    wire.lose()
    assert (wire.reader.finished, wire.reader.fault) == (False, None)
    assert wire.owner.log == ["used up", "forgotten"]


# --- what is sent


@pytest.mark.parametrize("size", [0, 1, 70_000, LARGE_BODY_BYTES])
def test_a_request_is_one_write(size: int) -> None:
    body = b"a" * size
    assert Wire(body=body).transport.written == [HEAD + body]


def test_a_large_request_is_written_in_slices_as_it_is_taken() -> None:
    body = bytes(range(256)) * (4 * LARGE_BODY_BYTES // 256) + b"end"
    loop = Loop()
    wire = Wire(loop, body=body)
    assert wire.transport.written == [HEAD, body[:SLICE_BYTES]]
    wire.connection.pause_writing()
    loop.run()
    assert len(wire.transport.written) == 2, "nothing more while the transport is full"
    wire.transport.room = sum(map(len, wire.transport.written)) + 1
    wire.connection.resume_writing()
    loop.run()
    assert len(wire.transport.written) == 3, "the first slice has filled it again"
    wire.transport.room = 1 << 30
    wire.connection.resume_writing()
    loop.run()
    assert b"".join(wire.transport.written) == HEAD + body
    assert max(map(len, wire.transport.written)) == SLICE_BYTES
    wire.receive(ANSWER)
    assert wire.reusable


def test_closing_stops_writing() -> None:
    loop = Loop()
    wire = Wire(loop, body=bytes(2 * LARGE_BODY_BYTES))
    wire.connection.abort()
    loop.run()
    wire.connection.resume_writing()
    assert len(wire.transport.written) == 2


def test_a_large_request_answered_early_ends_its_connection() -> None:
    wire = Wire(body=bytes(2 * LARGE_BODY_BYTES))
    assert wire.receive(ANSWER).finished
    assert not wire.reusable
