"""Server-sent events, however the network cuts them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.wire.framing.sse import EventTooLargeError, SseCutter, SseDecoder, SseEvent, encode_sse, parse_event

STREAM = (
    b"\xef\xbb\xbf: hello\n\n"
    b"data: one\n\n"
    b"event: named\r\ndata: two\r\ndata:  lines\r\n\r\n"
    b"data:three\rid: 7\rretry: 5\runknown: x\r\r"
    b"event: ping\n\n"
    b"data\n\n"
    b'data: {"text":"\xe2\x80\xa8\xc2\x85\xe2\x82\xac"}\n\n\n\n'
    b"data: left"
)
EVENTS = [
    SseEvent(None, b"one"),
    SseEvent(b"named", b"two\n lines"),
    SseEvent(None, b"three"),
    SseEvent(None, b""),
    SseEvent(None, '{"text":"\u2028\x85€"}'.encode()),
    SseEvent(None, b"left"),
]


def decode(pieces: Iterable[bytes]) -> list[SseEvent]:
    decoder = SseDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def test_whole() -> None:
    assert decode([STREAM]) == EVENTS


def test_byte_by_byte() -> None:
    assert decode(STREAM[index : index + 1] for index in range(len(STREAM))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_split_points_do_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert decode(STREAM[a:b] for a, b in pairwise(edges)) == EVENTS


def test_events_come_as_soon_as_they_are_whole() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [SseEvent(None, b"a")]
    assert decoder.feed(b"data: b\r\n\r") == [SseEvent(None, b"b")]
    assert decoder.feed(b"\ndata: c\r\r") == [SseEvent(None, b"c")]
    assert decoder.close() == []


@pytest.mark.parametrize("end", range(len(STREAM)))
def test_truncation_loses_nothing_that_was_whole(end: int) -> None:
    """What comes out is a beginning of all events; the last one may be cut short."""
    found = decode([STREAM[:end]])
    whole, last = found[:-1], found[-1:]
    assert whole == EVENTS[: len(whole)]
    for event in last:
        assert EVENTS[len(whole)].data.startswith(event.data) or event.data == b"two\n"


LINES = st.lists(st.binary(max_size=6).map(lambda line: line.translate(None, b"\r\n")), min_size=1, max_size=3)
NAMES = st.none() | st.text("abc.", min_size=1, max_size=5).map(str.encode)


@given(st.lists(st.tuples(LINES, NAMES), max_size=5), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_decode_reverses_encode(
    written: list[tuple[list[bytes], bytes | None]], end: bytes, data: st.DataObject
) -> None:
    events = [SseEvent(name, b"\n".join(lines)) for lines, name in written]
    stream = b"".join(encode_sse(event.data, event.event) for event in events).replace(b"\n", end)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    edges = [0, *sorted(cuts), len(stream)]
    assert decode(stream[a:b] for a, b in pairwise(edges)) == events


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"a\r\nb"])
def test_line_ends_in_the_data_start_new_lines(data: bytes) -> None:
    assert encode_sse(data) == b"data: a\ndata: b\n\n"


@pytest.mark.parametrize("name", [b"a\nb", b"a\r", b"\n"])
def test_a_name_is_one_line(name: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_sse(b"x", name)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b": comment", None),
        (b"event: ping", None),
        (b"", None),
        (b"data:  two spaces", SseEvent(None, b" two spaces")),
        (b"data:x:y", SseEvent(None, b"x:y")),
        (b"event:\ndata: x", SseEvent(None, b"x")),
        (b"event: a\nevent: b\ndata: x", SseEvent(b"b", b"x")),
        (b"Data: x", None),
        (b" data: x", None),
        (b"\ndata: x", SseEvent(None, b"x")),
    ],
)
def test_one_event(lines: bytes, expected: SseEvent | None) -> None:
    assert parse_event(lines) == expected


# The cutter.


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\xef", b"\n")), st.data())
def test_cutting_only_normalises(data: bytes, draw: st.DataObject) -> None:
    """Whole events in, the same bytes out, with line ends as LF."""
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=6))
    edges = [0, *sorted(cuts), len(data)]
    cutter = SseCutter()
    blocks = [block for a, b in pairwise(edges) if (block := cutter.feed(data[a:b]))]
    assert all(block.endswith(b"\n\n") for block in blocks)
    expected = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    out = b"".join(blocks)
    assert expected.startswith(out)
    assert b"\n\n" not in expected[len(out) :]


@pytest.mark.parametrize("data", [b"\xef", b"\xef\xbb", b"\xef\xbbx: 1", b"\xef\xbb\xbf"])
def test_half_a_byte_order_mark_is_text(data: bytes) -> None:
    cutter = SseCutter()
    out = b"".join(cutter.feed(data[index : index + 1]) for index in range(len(data)))
    assert (out + cutter.close()).rstrip(b"\n") == data.removeprefix(b"\xef\xbb\xbf")


def test_between_events() -> None:
    cutter = SseCutter()
    seen = [cutter.between_events]  # a byte order mark may come
    for piece in (b"data: a\n\n", b"data", b": b\r\n\r", b"\n"):  # the LF that may come belongs to what was
        cutter.feed(piece)
        seen.append(cutter.between_events)
    assert seen == [False, True, False, False, True]


@pytest.mark.parametrize("piece", [b"x" * 101, b"x" * 10])
def test_what_never_ends_is_bounded(piece: bytes) -> None:
    cutter = SseCutter(max_event_bytes=100)

    def feed_all() -> None:
        for _ in range(11):
            cutter.feed(piece)

    with pytest.raises(EventTooLargeError):
        feed_all()


def test_the_bound_is_for_one_event() -> None:
    cutter = SseCutter(max_event_bytes=100)
    for _ in range(50):
        assert cutter.feed(b"data: " + b"x" * 40 + b"\n\nda")
        assert cutter.feed(b"ta: x\n\n") == b"data: x\n\n"


def test_a_large_event_in_small_pieces_is_linear() -> None:
    """Every piece is searched once, not all that came before it again."""
    decoder = SseDecoder()
    decoder.feed(b"data: ")
    for _ in range(20_000):
        decoder.feed(b"x" * 100)
    (event,) = decoder.feed(b"\n\n")
    assert len(event.data) == 2_000_000
