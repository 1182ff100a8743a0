"""What the Chat Completions codec costs per chunk.

    python -m benchmarks.codec
    python -m benchmarks.codec --chunks 200 --seconds 2

A stream of content chunks with its role, finish and usage chunks, cut into pieces at event borders, as a network
brings them. `passthrough` is what a client and an upstream of the same format get; `renamed` the same with another
model name; `hidden usage` what a client gets that did not ask for usage; `counted` passthrough of which the text is
counted in the end, as for a stream that was cut; `canonical` decodes every event and encodes it again.

Figures are microseconds of CPU time per chunk: the fastest of several rounds, since all else is noise from outside.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import orjson

from oneapi_mw.canonical.call import Call
from oneapi_mw.wire.base import StreamDecoder
from oneapi_mw.wire.openai_chat import FORMAT

HEAD = {
    "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_0123456789",
}
USAGE = {"prompt_tokens": 11, "completion_tokens": 50, "total_tokens": 61}
ROUND_SECONDS = 0.02


def events(chunks: int) -> list[bytes]:
    """A stream as the official API writes it: `usage` and `logprobs` are null in every chunk."""

    def event(choices: list[object], usage: object = None) -> bytes:
        return b"data: " + orjson.dumps({**HEAD, "choices": choices, "usage": usage}) + b"\n\n"

    def choice(delta: dict[str, object], finish: str | None = None) -> list[object]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    return [
        event(choice({"role": "assistant", "content": "", "refusal": None})),
        *[event(choice({"content": " word"})) for _ in range(chunks)],
        event(choice({}, "stop")),
        event([], USAGE),
        b"data: [DONE]\n\n",
    ]


def pieces(parts: Sequence[bytes], count: int) -> list[bytes]:
    """`parts` in `count` network reads of about equal size."""
    edges = [len(parts) * index // count for index in range(count + 1)]
    return [b"".join(parts[start:end]) for start, end in pairwise(edges)]


def relay(decoder: StreamDecoder, reads: Iterable[bytes]) -> None:
    for read in reads:
        for frame in decoder.feed(read):
            assert frame.raw is not None


def through_canonical(reads: Iterable[bytes], call: Call) -> None:
    decoder = FORMAT.stream_decoder(full=True, model=None, hide_usage=False)
    encoder = FORMAT.stream_encoder(call)
    for read in reads:
        for frame in decoder.feed(read):
            encoder.feed(frame.events)


def fastest(run: Callable[[], None], *, seconds: float) -> float:
    """Seconds of one run."""
    run()
    started = time.process_time()
    run()
    repeat = max(1, int(ROUND_SECONDS / max(1e-6, time.process_time() - started)))
    best = float("inf")
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        started = time.process_time()
        for _ in range(repeat):
            run()
        best = min(best, (time.process_time() - started) / repeat)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0, help="spent on each figure")
    options = parser.parse_args()
    parts = events(options.chunks)
    call = FORMAT.decode_call(
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}',
        operation="chat",
    )

    def passthrough(reads: list[bytes], *, model: str | None = None, hide_usage: bool = False) -> None:
        relay(FORMAT.stream_decoder(full=False, model=model, hide_usage=hide_usage), reads)

    print(f"microseconds per chunk, streams of {options.chunks} chunks")
    print(f"{'pieces':>8}{'passthrough':>14}{'renamed':>10}{'hidden usage':>14}{'counted':>10}{'canonical':>12}")
    for count in (1, 10, 50):
        reads = pieces(parts, min(count, len(parts)))

        def counted(reads: list[bytes] = reads) -> None:
            decoder = FORMAT.stream_decoder(full=False, model=None, hide_usage=False)
            relay(decoder, reads)
            decoder.text_bytes()

        runs: tuple[Callable[[], None], ...] = (
            lambda reads=reads: passthrough(reads),  # type: ignore[misc]
            lambda reads=reads: passthrough(reads, model="alias"),  # type: ignore[misc]
            lambda reads=reads: passthrough(reads, hide_usage=True),  # type: ignore[misc]
            counted,
            lambda reads=reads: through_canonical(reads, call),  # type: ignore[misc]
        )
        figures = [fastest(run, seconds=options.seconds) / options.chunks * 1e6 for run in runs]
        print(
            f"{count:>8}{figures[0]:>14.2f}{figures[1]:>10.2f}{figures[2]:>14.2f}{figures[3]:>10.2f}{figures[4]:>12.2f}"
        )


if __name__ == "__main__":
    main()
