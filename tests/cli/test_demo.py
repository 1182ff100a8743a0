"""`oneapi-mw demo`, the main command of the README."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from tests.support.process import running


async def test_once(tmp_path: Path) -> None:
    async with running("demo", "--once", "--bind", "127.0.0.1:0", cwd=tmp_path) as demo:
        assert await demo.ended() == 0
        questions = [line for line in demo.lines if "(POST /" in line]
        assert len(questions) == 12
        assert demo.output.count("cost: ") == len(questions)
        assert demo.output.count('tool call: get_weather{"city":"Paris"}') == 4
        assert demo.output.count("This is the demo provider speaking") == 8
        assert "curl http://127.0.0.1:" in demo.output
    assert list(tmp_path.iterdir()) == []


async def test_stays_until_interrupted(tmp_path: Path) -> None:
    async with running("demo", "--bind", "127.0.0.1:0", cwd=tmp_path) as demo:
        await demo.until("until Ctrl-C")
        demo.signal(signal.SIGINT)
        assert await demo.ended() == 0


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        async with running("demo", "--bind", f"127.0.0.1:{other.getsockname()[1]}", cwd=tmp_path) as demo:
            assert await demo.ended() == 1
            assert demo.output.startswith("oneapi-mw: cannot listen on 127.0.0.1:")
