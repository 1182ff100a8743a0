"""What the upstream client engines cost, in CPU time of the event loop's thread.

    python -m benchmarks.upstream
    python -m benchmarks.upstream --loop asyncio --rounds 9 --connections 8

Each engine sends the same requests to the mock upstream, which has the other core; they take turns, so that a
machine whose speed drifts does not favour one. A stream has `--chunks` content chunks, each in an HTTP chunk frame
of its own, and is read as it arrives. With `--gap` they come one by one, as from a model: then every engine wakes up
for each of them, and what remains is what one wake-up costs.

Figures are microseconds per request: the median over the rounds, and the fastest.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks.overhead import CORES, free_port, running
from oneapi_mw.relay.aiohttp_upstream import AiohttpUpstream
from oneapi_mw.relay.http1_upstream import Http1Upstream
from oneapi_mw.relay.upstream import Timeouts, Upstream, UpstreamResponse

TIMEOUTS = Timeouts()
HEADERS = [("content-type", "application/json"), ("accept", "application/json"), ("authorization", "Bearer sk-mock")]
QUESTION = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%s"}]' % (b"hello " * 20)
BODIES = {"buffered": QUESTION + b"}", "stream": QUESTION + b',"stream":true}'}
LIMIT = 1 << 20


async def buffered(response: UpstreamResponse) -> int:
    return len(await response.read(LIMIT))


async def stream(response: UpstreamResponse) -> int:
    size = 0
    async for chunk in response.chunks():
        size += len(chunk)
    return size


READERS: dict[str, Callable[[UpstreamResponse], Awaitable[int]]] = {"buffered": buffered, "stream": stream}


async def requests(upstream: Upstream, url: str, kind: str, count: int) -> None:
    """`count` requests, one after the other."""
    read, body = READERS[kind], BODIES[kind]
    for _ in range(count):
        response = await upstream.send("POST", url, HEADERS, body, TIMEOUTS, on_dispatch=_nothing)
        try:
            if not await read(response):
                raise SystemExit("an answer was empty")
        finally:
            await response.aclose()


def _nothing() -> None:
    pass


async def cost(upstream: Upstream, url: str, kind: str, options: argparse.Namespace) -> float:
    """Microseconds of CPU time per request."""
    connections: int = options.connections
    each: int = options.requests // connections
    started = time.thread_time()
    await asyncio.gather(*(requests(upstream, url, kind, each) for _ in range(connections)))
    return (time.thread_time() - started) / (each * connections) * 1e6


async def measure(url: str, options: argparse.Namespace) -> dict[tuple[str, str], list[float]]:
    engines: dict[str, Upstream] = {"http1": Http1Upstream(), "aiohttp": AiohttpUpstream()}
    figures: dict[tuple[str, str], list[float]] = {}
    for kind in BODIES:
        for upstream in engines.values():
            await cost(upstream, url, kind, options)
    gc.collect()
    gc.freeze()
    for number in range(options.rounds):
        for kind in BODIES:
            for name, upstream in engines.items():
                print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr)
                figures.setdefault((kind, name), []).append(await cost(upstream, url, kind, options))
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    for upstream in engines.values():
        await upstream.aclose()
    return figures


def report(figures: dict[tuple[str, str], list[float]]) -> None:
    print(f"{'us of CPU per':14} {'http1':>8} {'fastest':>8} {'aiohttp':>9} {'fastest':>8} {'ratio':>7}")
    for kind in BODIES:
        own, theirs = figures[kind, "http1"], figures[kind, "aiohttp"]
        ratio = statistics.median(b / a for a, b in zip(own, theirs, strict=True))
        print(
            f"{kind:14} {statistics.median(own):8.1f} {min(own):8.1f} {statistics.median(theirs):9.1f}"
            f" {min(theirs):8.1f} {ratio:7.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, default=3200, help="in each round, by each engine, of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunks", type=int, default=50, help="content chunks per stream")
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between chunks")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CORES[-1]})
    port = free_port()
    mock = [sys.executable, "-m", "benchmarks.mock_upstream", "--port", str(port)]
    with running([*mock, "--chunks", str(options.chunks), "--gap", str(options.gap)], port, core=0):
        run = uvloop.run if options.loop == "uvloop" else asyncio.run
        report(run(measure(f"http://127.0.0.1:{port}/v1/chat/completions", options)))


if __name__ == "__main__":
    main()
