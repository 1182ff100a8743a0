"""Microseconds per chunk of a stream, for passthrough and for each of the twelve conversions.

    python -m benchmarks.conversions
    python -m benchmarks.conversions --litellm            # LiteLLM beside it, in an environment of its own
    python -m benchmarks.conversions --answer agent --chunks 300

A stream as the vendor writes it arrives event by event, is decoded, and is written in the client's format. Where both
are the same the gateway passes bytes and reads only what it needs; that is what the diagonal shows. `text` is an answer
of words, `agent` one that thinks, speaks and calls a tool. Figures are CPU time: the fastest of several rounds.

`--litellm` installs LiteLLM into `.benchmarks/litellm` on its first run and feeds it the same streams, without a socket
as here, one after the other in the same run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.codec import fastest
from benchmarks.wires import ANSWERS, FORMATS, stream
from oneapi_mw.canonical.call import Call, Outside
from oneapi_mw.wire.registry import get_format

ENVIRONMENT = Path(".benchmarks/litellm")
SHORT = {"openai_chat": "chat", "openai_responses": "responses", "anthropic_messages": "messages", "gemini": "gemini"}
_ASKED = {
    "openai_chat": b'{"model":"m","stream":true,"stream_options":{"include_usage":true},'
    b'"messages":[{"role":"user","content":"x"}]}',
    "openai_responses": b'{"model":"m","stream":true,"input":"x"}',
    "anthropic_messages": b'{"model":"m","stream":true,"max_tokens":1000,"messages":[{"role":"user","content":"x"}]}',
    "gemini": b'{"contents":[{"role":"user","parts":[{"text":"x"}]}]}',
}


def call_in(client: str) -> Call:
    outside = Outside("/v1beta/models/m:streamGenerateContent", b"alt=sse")  # of meaning to Gemini only
    return get_format(client).decode_call(_ASKED[client], operation="chat", outside=outside)


def convert(reads: list[bytes], wire: str, client: str, call: Call) -> None:
    """One stream through."""
    same = wire == client
    decoder = get_format(wire).stream_decoder(full=not same, model=None, hide_usage=False)
    encoder = get_format(client).stream_encoder(call)
    written: list[bytes] = []
    for read in (*reads, None):
        for frame in decoder.close() if read is None else decoder.feed(read):
            if same:
                written.append(frame.raw or b"")
            else:
                written.append(encoder.feed(frame.events))
    written.append(encoder.close())


def ours(answer: str, chunks: int, seconds: float) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for wire in FORMATS:
        reads = stream(wire, answer, chunks)
        for client in FORMATS:
            call = call_in(client)
            took = fastest(lambda: convert(reads, wire, client, call), seconds=seconds)  # noqa: B023 - runs at once
            figures[f"{wire}/{answer}/{client}"] = took / chunks * 1e6
    return figures


def install_litellm() -> Path:
    """Its Python, in an environment made on the first run."""
    python = ENVIRONMENT / "bin" / "python"
    if (ENVIRONMENT / "ready").exists():
        return python
    print(f"installing LiteLLM into {ENVIRONMENT} ...", file=sys.stderr)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "litellm[proxy]"], check=True)
    (ENVIRONMENT / "ready").touch()
    return python


def theirs(answer: str, chunks: int, seconds: float) -> tuple[str, dict[str, float | None]]:
    python = install_litellm()
    streams = {f"{wire}/{answer}": [event.decode() for event in stream(wire, answer, chunks)] for wire in FORMATS}
    script = Path(__file__).with_name("litellm_streams.py")
    done = subprocess.run(
        [python, script, str(seconds), str(chunks)],
        input=json.dumps(streams).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace")[-2000:])
    for line in done.stderr.decode(errors="replace").splitlines():
        if line.startswith("LiteLLM, "):
            print(line, file=sys.stderr)
    found = json.loads(done.stdout)
    return found["version"], found["figures"]


def show(title: str, answer: str, figures: dict[str, float | None]) -> None:
    print(f"\n{title}: client (down) and upstream (across), {answer}")
    print(f"{'':>12}" + "".join(f"{SHORT[wire]:>12}" for wire in FORMATS))
    for client in FORMATS:
        row = (figures.get(f"{wire}/{answer}/{client}") for wire in FORMATS)
        print(f"{SHORT[client]:>12}" + "".join(f"{'-' if cell is None else format(cell, '.2f'):>12}" for cell in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=0.5, help="spent on each figure")
    parser.add_argument("--answer", choices=ANSWERS, action="append", help="may be given twice; both by default")
    parser.add_argument("--litellm", action="store_true", help="measure LiteLLM beside it")
    options = parser.parse_args()
    print(f"microseconds of CPU time per chunk, streams of {options.chunks} chunks, one event a read")
    for answer in options.answer or ANSWERS:
        mine = ours(answer, options.chunks, options.seconds)
        show("oneapi_mw", answer, mine)
        if not options.litellm:
            continue
        version, other = theirs(answer, options.chunks, options.seconds)
        show(f"LiteLLM {version}", answer, other)
        ratios = {name: took / mine_ if (mine_ := mine[name]) and took else None for name, took in other.items()}
        show("LiteLLM / oneapi_mw", answer, ratios)


if __name__ == "__main__":
    main()
