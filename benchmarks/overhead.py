"""What the gateway costs on top of a bare relay, as ratios within one run.

    python -m benchmarks.overhead
    python -m benchmarks.overhead --server hypercorn --rounds 5 --seconds 4
    python -m benchmarks.overhead --extra 'other=other_module:app@/folder/with/it'

The server under test gets the first core, mock upstream and load client the second. The targets take turns, so
that a machine whose speed drifts does not favour one. Per target: answers per second (median over rounds),
answers per second of the server's CPU time ("per core"), latency, and for streams chunks per second. "Added"
latency is what a target adds to the mock upstream alone, measured with one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import gateway
from benchmarks.keys import KEY
from benchmarks.load import Result, request_bytes, run

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
PATH = "/v1/chat/completions"
BODIES = {
    "buffered": {"model": "gpt-4o-mini", "max_tokens": 256, "messages": [{"role": "user", "content": "hello " * 20}]},
}
BODIES["streams"] = {**BODIES["buffered"], "stream": True, "stream_options": {"include_usage": True}}


@dataclass
class Target:
    name: str
    port: int
    pid: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    per_core: dict[str, list[float]] = field(default_factory=dict)
    chunks: list[float] = field(default_factory=list)
    alone: dict[str, Result] = field(default_factory=dict)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(CORES[min(core, len(CORES) - 1)]), *command]


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"a server ended with code {process.returncode} instead of starting")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("a server did not start within 30 s")


@contextmanager
def running(command: list[str], port: int, *, core: int, **environment: str) -> Iterator[int]:
    process = subprocess.Popen(
        pinned(core, command), cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(port, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def server_command(server: str, app: str, port: int, folder: str) -> list[str]:
    python = [sys.executable, "-m"]
    if server == "uvicorn":
        options = f"--host 127.0.0.1 --port {port} --loop uvloop --http httptools --log-level warning --no-access-log"
        return [*python, "uvicorn", app, "--app-dir", folder, *shlex.split(options)]
    return [*python, "hypercorn", app, "--bind", f"127.0.0.1:{port}", "-k", "uvloop", "--log-level", "warning"]


def cpu_seconds(pid: int) -> float:
    """Of a process and its living children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


async def measure(targets: list[Target], options: argparse.Namespace) -> None:
    requests = {
        (target.name, kind): request_bytes(target.port, PATH, KEY, json.dumps(body, separators=(",", ":")).encode())
        for target in targets
        for kind, body in BODIES.items()
    }
    for kind in BODIES:
        for target in targets:  # warm up, and latency without a queue
            target.alone[kind] = await run(target.port, requests[target.name, kind], connections=1, seconds=1)
            if target.alone[kind].failed or not target.alone[kind].answers:
                raise SystemExit(f"{target.name}: {kind} requests fail")
        for number in range(options.rounds):
            for target in targets:
                print(f"\r{kind}: round {number + 1} of {options.rounds}, {target.name:12}", end="", file=sys.stderr)
                before = cpu_seconds(target.pid)
                result = await run(
                    target.port,
                    requests[target.name, kind],
                    connections=options.connections,
                    seconds=options.seconds,
                )
                if result.failed:
                    raise SystemExit(f"{target.name}: {result.failed} requests failed")
                used = max(0.01, cpu_seconds(target.pid) - before)
                target.rates.setdefault(kind, []).append(result.answers / result.seconds)
                target.per_core.setdefault(kind, []).append(result.answers / used)
                if kind == "streams":
                    target.chunks.append(result.chunks / result.seconds)
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)


def report(targets: list[Target], options: argparse.Namespace) -> None:
    by_name = {target.name: target for target in targets}
    direct, bare = by_name["direct"], by_name["bare"]
    contenders = [target for target in targets if target not in (direct, bare)]
    print(f"server {options.server}, {options.connections} connections, median of {options.rounds} rounds")
    for kind in BODIES:
        print(
            f"\n{kind:10} {'per s':>9} {'per core':>9} {'x bare':>7} {'x each other, same round':>25}"
            f" {'added p50':>10} {'added p99':>10}" + (f" {'chunks/s':>10}" if kind == "streams" else "")
        )
        for target in targets:
            others = [other for other in contenders if other is not target and target in contenders]
            beside = ", ".join(f"{other.name} {ratio(target, other, kind):.2f}" for other in others)
            p50, p99 = (
                (target.alone[kind].percentile(share) - direct.alone[kind].percentile(share)) * 1000
                for share in (0.5, 0.99)
            )
            rate, per_core = statistics.median(target.rates[kind]), statistics.median(target.per_core[kind])
            line = f"{target.name:10} {rate:9.0f} {per_core:9.0f} {ratio(target, bare, kind):7.2f} {beside:>25}"
            line += f" {p50:7.2f} ms {p99:7.2f} ms"
            print(line + (f" {statistics.median(target.chunks):10.0f}" if kind == "streams" else ""))


def ratio(target: Target, other: Target, kind: str) -> float:
    """Answers per second of `target` over those of `other`: the median over rounds, each taken within its round."""
    return statistics.median(a / b for a, b in zip(target.rates[kind], other.rates[kind], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=("uvicorn", "hypercorn"), default="uvicorn")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=50, help="content chunks per stream")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME=MODULE:APP@FOLDER")
    options = parser.parse_args()

    apps = {"bare": ("benchmarks.bare_relay:app", str(ROOT)), "gateway": (gateway.APP, str(ROOT))}
    for extra in options.extra:
        name, _, rest = extra.partition("=")
        app, _, folder = rest.partition("@")
        apps[name] = (app, folder)
    os.sched_setaffinity(0, {CORES[-1]})
    with ExitStack() as stack:
        upstream = free_port()
        mock = [sys.executable, "-m", "benchmarks.mock_upstream", "--port", str(upstream)]
        url = f"http://127.0.0.1:{upstream}"
        pid = stack.enter_context(running([*mock, "--chunks", str(options.chunks)], upstream, core=1))
        targets = [Target("direct", upstream, pid)]
        database = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oneapi-bench-")))
        asyncio.run(gateway.prepare(database, url))
        for name, (app, folder) in apps.items():
            port = free_port()
            command = server_command(options.server, app, port, folder)
            environment = {"UPSTREAM": url, "UP": url, "PYTHONPATH": f"{folder}:{ROOT}"}
            environment |= gateway.environment(database)
            pid = stack.enter_context(running(command, port, core=0, **environment))
            targets.append(Target(name, port, pid))
        asyncio.run(measure(targets, options))
    report(targets, options)


if __name__ == "__main__":
    main()
