"""The command line as real processes.

async with running("serve", "--bind", "127.0.0.1:0", cwd=tmp_path) as server:
    base = (await server.until(r"listens on (http://\\S+)"))[1]
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 60.0
"""Seconds before a process that says or does nothing fails its test."""


@dataclass
class Running:
    """One process; what it prints to stdout and stderr is kept in the order it came."""

    process: Process
    lines: list[str] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _closed: bool = False

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._closed = True
            self._news.notify_all()

    async def until(self, pattern: str, *, since: int = 0) -> re.Match[str]:
        """The first match in a line from number `since` on, waiting for it. Fails when the output ends first."""
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                for line in self.lines[since:]:
                    if match := re.search(pattern, line):
                        return match
                assert not self._closed, f"no line matched {pattern!r}:\n{self.output}"
                await self._news.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once all output has been read."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: self._closed)
        return await self.process.wait()


@asynccontextmanager
async def running(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """`oneapi-mw` with `arguments`, in the environment `env` and no other; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "oneapi_mw.cli", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    started = Running(process)
    listening = asyncio.create_task(started.listen())
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening
