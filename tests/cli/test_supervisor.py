"""When workers are started again, and when the service gives up. The workers here are five-line programs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from oneapi_mw.cli.server import Control
from oneapi_mw.cli.supervisor import GaveUp, RestartPolicy, Supervisor

QUICK = RestartPolicy(first_delay=0.001, longest_delay=0.001)

READY = "control.sendall(b'ready\\n'); words = control.makefile(); "
OBEDIENT = READY + "words.readline()"
STUBBORN = READY + "words.readline(); assert words.readline() == 'hurry\\n'"


def supervisor(program: str, count: int = 1, policy: RestartPolicy = QUICK, **options: float) -> Supervisor:
    def command(control: int) -> Sequence[str]:
        return [sys.executable, "-S", "-c", f"import socket, sys; control = socket.socket(fileno={control}); {program}"]

    return Supervisor(command, count, sockets=[], drain_timeout=options.get("drain_timeout", 60.0), policy=policy)


async def test_ready_is_told_once_all_are() -> None:
    control = Control()
    assert await supervisor(OBEDIENT, 2).run(control, ready=control.stop.set) is True


async def test_a_service_that_cannot_start_gives_up() -> None:
    with pytest.raises(GaveUp, match="worker 1 does not stay up: it ended with code 3"):
        await supervisor("sys.exit(3)").run(Control(), ready=pytest.fail)


async def test_a_worker_that_keeps_crashing_ends_the_service() -> None:
    readies = []
    with pytest.raises(GaveUp, match="was ended by signal 9"):
        await supervisor(READY + "import os; os.kill(os.getpid(), 9)").run(Control(), ready=lambda: readies.append(1))
    assert readies == [1]


async def test_one_that_gives_up_stops_the_others_in_order(tmp_path: Path) -> None:
    """The second worker ends by itself each time, the first one as it is told."""
    first, told = tmp_path / "first", tmp_path / "told"
    program = (
        "import os\n"
        f"try: os.close(os.open({str(first)!r}, os.O_CREAT | os.O_EXCL))\n"
        "except FileExistsError: sys.exit(3)\n"
        f"{OBEDIENT}; open({str(told)!r}, 'w').close()"
    )
    with pytest.raises(GaveUp):
        await supervisor(f"exec({program!r})", 2).run(Control(), ready=pytest.fail)
    assert told.exists()


async def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """A worker that cannot start again for lack of it is tried without end."""
    tries = tmp_path / "tries"
    program = (
        f"file = open({str(tries)!r}, 'a+'); file.write('x'); file.flush(); file.seek(0); n = len(file.read())\n"
        "if 1 < n < 9: sys.exit(75)\n"
        f"{READY}\n"
        "if n == 1: sys.exit(1)\n"
        "words.readline()"
    )
    control = Control()

    async def stop_at_the_ninth() -> None:
        while not tries.exists() or len(tries.read_text()) < 9:
            await asyncio.sleep(0.01)
        control.stop.set()

    stopping = asyncio.create_task(stop_at_the_ninth())
    ended = await supervisor(f"exec({program!r})").run(control, ready=lambda: None)
    await stopping
    assert ended is True


async def test_the_second_word_is_passed_on() -> None:
    control = Control()

    def press_twice() -> None:
        control.press()
        control.press()

    assert await supervisor(STUBBORN).run(control, ready=press_twice) is True


async def test_a_worker_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oneapi_mw.cli.supervisor.CUT_AND_CLOSE_SECONDS", 0.01)
    control = Control()
    ended = await supervisor(READY + "import time; time.sleep(600)", drain_timeout=0.01).run(
        control, ready=control.stop.set
    )
    assert ended is False


async def test_stopped_before_it_was_up() -> None:
    control = Control()
    control.stop.set()
    await supervisor("control.makefile().readline()").run(control, ready=pytest.fail)
