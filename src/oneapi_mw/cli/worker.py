"""One of several serving processes. Started by the supervisor with the listening sockets and a control socket.

supervisor -> worker   `stop`, `hurry`; the end of the connection means `stop`: the supervisor is gone
worker -> supervisor   `ready`
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys

from oneapi_mw.app import Gateway
from oneapi_mw.cli import logs
from oneapi_mw.cli.failure import CommandFailed
from oneapi_mw.cli.server import Control, run, serve
from oneapi_mw.cli.settings import read_settings
from oneapi_mw.cli.translate import translated
from oneapi_mw.errors import StoreUnavailable

TRY_AGAIN = 75  # EX_TEMPFAIL
"""Exit code of a worker that found no database: no fault of its own."""


async def work(gateway: Gateway, sockets: list[socket.socket], channel: socket.socket) -> bool:
    """Serve until the supervisor says stop. Returns whether everything that ran came to its end."""
    control = Control()
    # a service manager may signal every process at once: the supervisor's word counts, once
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, control.stop.set)
    reader, writer = await asyncio.open_connection(sock=channel)
    obeying = asyncio.create_task(_obey(reader, control))
    try:
        return await serve(gateway, sockets, control, ready=lambda: writer.write(b"ready\n"))
    finally:
        obeying.cancel()
        writer.close()


async def _obey(reader: asyncio.StreamReader, control: Control) -> None:
    while word := await reader.readline():
        (control.hurry if word == b"hurry\n" else control.stop).set()
    control.stop.set()


def main() -> int:
    """Exit code: 0 all done, 1 requests were left over or the start failed, `TRY_AGAIN`."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, action="append", required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--log-level", required=True)
    parser.add_argument("--access-log", action="store_true")
    args = parser.parse_args()
    logs.set_up(args.log_level, access_log=args.access_log)
    sockets = [socket.socket(fileno=number) for number in args.listen]
    try:
        with translated():
            gateway = Gateway(read_settings(), loopback=args.loopback)
            done = run(work(gateway, sockets, socket.socket(fileno=args.control)))
    except CommandFailed as failed:
        print(f"oneapi-mw: {failed}", file=sys.stderr)
        return TRY_AGAIN if isinstance(failed.__cause__, StoreUnavailable) else failed.code
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
