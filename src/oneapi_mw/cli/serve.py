"""`oneapi-mw serve`: the gateway as a server of its own."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Sequence

from oneapi_mw import __version__
from oneapi_mw.app import Gateway
from oneapi_mw.cli import binding, logs
from oneapi_mw.cli.arguments import describe, port, positive
from oneapi_mw.cli.failure import CommandFailed, Misused
from oneapi_mw.cli.server import Control, serve
from oneapi_mw.cli.server import run as run_loop
from oneapi_mw.cli.settings import read_settings
from oneapi_mw.cli.supervisor import GaveUp, Supervisor
from oneapi_mw.cli.translate import translated
from oneapi_mw.immutable import immutable
from oneapi_mw.resources import DEFAULT_ROOT_PASSWORD, database_url, prepare
from oneapi_mw.settings import Settings

EXAMPLES = """
oneapi-mw serve
oneapi-mw serve --bind 0.0.0.0:3000 --workers 4
oneapi-mw serve --bind unix:/run/oneapi.sock --access-log
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, run, examples=EXAMPLES)
    command.add_argument(
        "--bind",
        action="append",
        metavar="HOST:PORT",
        help="where to listen, also [IPV6]:PORT and unix:PATH; may be repeated, port 0 is any free one "
        f"(default: BIND and PORT of the environment, else {binding.DEFAULT_HOST}:{binding.DEFAULT_PORT})",
    )
    command.add_argument("--port", type=port, help="port on the default address, when neither PORT nor BIND has one")
    command.add_argument("--workers", type=positive, metavar="N", help="serving processes (default: WORKERS, else 1)")
    command.add_argument("--log-level", choices=logs.LEVELS, help="what is logged (default: LOG_LEVEL, else info)")
    command.add_argument("--access-log", action="store_true", help="log one line a request")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what runs then may finish within SHUTDOWN_TIMEOUT."""
    settings = read_settings()
    plan = Plan(
        addresses=_addresses(args, settings),
        workers=args.workers or settings.workers,
        log_level=args.log_level or ("debug" if settings.debug else settings.log_level),
        access_log=args.access_log,
    )
    logs.set_up(plan.log_level, access_log=plan.access_log)
    logs.show_warnings(settings.warnings)
    sockets = binding.bind(plan.addresses)
    try:
        with translated():
            done = _serve(plan, settings, sockets)
    finally:
        binding.close(sockets, plan.addresses)
    if not done:
        raise CommandFailed("stopped, but not everything came to its end in time: see the log")
    return 0


@immutable
class Plan:
    """What the command line and the settings come to."""

    addresses: Sequence[binding.Address]
    workers: int
    log_level: str
    access_log: bool


def _addresses(args: argparse.Namespace, settings: Settings) -> list[binding.Address]:
    if args.bind and args.port is not None:
        raise Misused("--bind and --port are both given: write the port in --bind")
    return [binding.parse_address(text) for text in args.bind or [settings.listening(port=args.port)]]


def _serve(plan: Plan, settings: Settings, sockets: Sequence[socket.socket]) -> bool:
    loopback = all(map(binding.is_loopback, sockets))
    default_password = run_loop(prepare(settings, loopback=loopback))
    lines = [
        *[f"oneapi-mw {__version__} listens on {binding.url(each)}" for each in sockets],
        f"database {database_url(settings)}, {plan.workers} worker{'s' if plan.workers > 1 else ''}",
    ]
    if default_password:
        lines.append(
            f"log in as 'root' with the password {DEFAULT_ROOT_PASSWORD}, and change it: oneapi-mw user password root"
        )

    def announce() -> None:
        print("\n".join(lines), flush=True)

    binding.listen(sockets)
    if plan.workers == 1:
        return run_loop(_serve_here(Gateway(settings, loopback=loopback), sockets, announce))
    command = [sys.executable, "-P", "-m", "oneapi_mw.cli.worker", "--log-level", plan.log_level]
    command += [f"--listen={each.fileno()}" for each in sockets]
    command += ["--access-log"] * plan.access_log + ["--loopback"] * loopback
    supervisor = Supervisor(
        lambda control: [*command, f"--control={control}"],
        plan.workers,
        sockets=sockets,
        drain_timeout=settings.shutdown_timeout,
    )
    try:
        return run_loop(_supervise(supervisor, announce))
    except GaveUp as exc:
        raise CommandFailed(str(exc)) from exc


async def _serve_here(gateway: Gateway, sockets: Sequence[socket.socket], announce: Callable[[], None]) -> bool:
    control = Control()
    control.listen_to_signals()
    return await serve(gateway, sockets, control, ready=announce)


async def _supervise(supervisor: Supervisor, announce: Callable[[], None]) -> bool:
    control = Control()
    control.listen_to_signals()
    return await supervisor.run(control, ready=announce)
