"""`oneapi-mw demo`: everything at work, without an account anywhere."""

from __future__ import annotations

import argparse

from oneapi_mw import demo
from oneapi_mw.cli.arguments import describe
from oneapi_mw.cli.binding import DEFAULT_HOST, DEFAULT_PORT, parse_address
from oneapi_mw.cli.failure import Misused

EXAMPLES = """
oneapi-mw demo
oneapi-mw demo --once --bind 127.0.0.1:0
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    describe(command, run, examples=EXAMPLES)
    command.add_argument(
        "--bind",
        default=f"{DEFAULT_HOST}:{DEFAULT_PORT}",
        metavar="HOST:PORT",
        help=f"where to listen; port 0 is any free one (default {DEFAULT_HOST}:{DEFAULT_PORT})",
    )
    command.add_argument("--once", action="store_true", help="end after the requests instead of staying up")


def run(args: argparse.Namespace) -> int:
    address = parse_address(args.bind)
    if address.path:
        raise Misused("the demo needs a port: write --bind HOST:PORT")
    return demo.run(host=address.host, port=address.port, once=args.once)
