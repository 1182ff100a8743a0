"""Several serving processes over the same sockets: started, restarted when they crash, stopped together.

    starting --ready--> serving --exit--> (back-off) --> starting
        |                  '--stop--> ended
        '--three times without ever being ready, or five exits in a minute--> the whole service gives up

hypercorn has workers of its own, but it ends all of them when one crashes, and reports success; and on SIGTERM it
kills those that are busy (spec: reliability-security A.1, A.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from oneapi_mw.cli.server import CUT_AND_CLOSE_SECONDS, Control

log = logging.getLogger("oneapi_mw.supervisor")

Command = Callable[[int], Sequence[str]]
"""The command line of a worker, given the number of its control descriptor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How patient the supervisor is with workers that end by themselves. Times are seconds."""

    first_delay: float = 1.0
    longest_delay: float = 30.0
    crashes: int = 5
    window: float = 60.0
    """So many `crashes` of one worker within `window` end the service."""
    failed_starts: int = 3
    """So many failures of one worker to become ready end a service that was never up."""
    try_again: int = 75
    """Exit code of a worker that could not start for lack of something outside: no crash once the service is up."""


class GaveUp(Exception):
    """Workers cannot stay up; the message says which and how it ended."""


class Supervisor:
    """Keeps `count` workers running until `control` says stop."""

    def __init__(
        self,
        command: Command,
        count: int,
        *,
        sockets: Sequence[socket.socket],
        drain_timeout: float,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._command = command
        self._descriptors = [listener.fileno() for listener in sockets]
        self._sockets = sockets
        self._drain_timeout = drain_timeout
        self._policy = policy or RestartPolicy()
        self._workers = [_Worker(number + 1, self._spawn) for number in range(count)]
        self._was_up = False
        self._stopping = asyncio.Event()

    async def run(self, control: Control, *, ready: Callable[[], None]) -> bool:
        """Calls `ready` when all workers are up for the first time. Returns whether all of them ended in order.

        Raises: `GaveUp`, after the workers that still ran have been stopped.
        """
        keeping = [asyncio.create_task(self._keep(worker, ready)) for worker in self._workers]
        stop = asyncio.create_task(control.stop.wait())
        await asyncio.wait([stop, *keeping], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await self._stop(keeping, control)
        outcomes = await asyncio.gather(*keeping, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return all(code == 0 for code in outcomes)

    async def _keep(self, worker: _Worker, ready: Callable[[], None]) -> int:
        """Run one worker again and again until the service stops. Returns how the process ended that ran then."""
        policy, clock = self._policy, asyncio.get_running_loop().time
        ends: deque[float] = deque(maxlen=policy.crashes)
        failed_starts = 0
        while True:
            if await worker.start():
                failed_starts = 0
                log.info("worker %d is ready, process %d", worker.number, worker.pid)
                if not self._was_up and all(each.ready for each in self._workers):
                    self._was_up = True
                    ready()
            else:
                failed_starts += 1
            code = await worker.wait()
            if self._stopping.is_set():
                return code
            if code != policy.try_again or not self._was_up:
                ends.append(clock())
            recent = sum(clock() - end < policy.window for end in ends)
            if recent >= policy.crashes or (not self._was_up and failed_starts >= policy.failed_starts):
                raise GaveUp(f"worker {worker.number} does not stay up: it {_how(code)} each time; its log says why")
            delay = min(policy.longest_delay, policy.first_delay * 2 ** (max(recent, failed_starts, 1) - 1))
            log.error("worker %d, process %d, %s; restart in %g s", worker.number, worker.pid, _how(code), delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return 0

    async def _spawn(self, control: socket.socket) -> Process:
        return await asyncio.create_subprocess_exec(
            *self._command(control.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[*self._descriptors, control.fileno()],
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
        )

    async def _stop(self, keeping: Sequence[asyncio.Task[int]], control: Control) -> None:
        """Drain all workers. Those that outstay their time are killed."""
        self._stopping.set()
        for listener in self._sockets:
            listener.close()  # a worker accepts until it has heard, nobody does afterwards
        self._tell("stop")
        ended = asyncio.create_task(asyncio.wait(keeping))
        hurry = asyncio.create_task(control.hurry.wait())
        limit = self._drain_timeout + CUT_AND_CLOSE_SECONDS
        await asyncio.wait([ended, hurry], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if control.hurry.is_set():
            self._tell("hurry")
            await asyncio.wait([ended], timeout=CUT_AND_CLOSE_SECONDS)
        for worker in self._workers:
            if worker.running:
                log.error("worker %d, process %d, does not stop and is killed", worker.number, worker.pid)
                worker.kill()
        await ended

    def _tell(self, word: str) -> None:
        for worker in self._workers:
            worker.tell(word)


class _Worker:
    """One place among the workers, and the process that fills it."""

    def __init__(self, number: int, spawn: Callable[[socket.socket], Awaitable[Process]]) -> None:
        self.number = number
        self.ready = False
        self._spawn = spawn
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._words = b""

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> bool:
        """Start a process. Returns whether it became ready; it has ended otherwise, or is about to."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._writer.write(self._words)
            self._process = await self._spawn(theirs)
        self.ready = await reader.readline() == b"ready\n"
        return self.ready

    async def wait(self) -> int:
        """The exit code; negative for the number of a signal."""
        assert self._process is not None
        assert self._writer is not None
        code = await self._process.wait()
        self.ready = False
        self._writer.close()
        self._writer = None
        return code

    def tell(self, word: str) -> None:
        """Say `word` to the process, also when it is only about to start."""
        line = word.encode() + b"\n"
        self._words += line
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
