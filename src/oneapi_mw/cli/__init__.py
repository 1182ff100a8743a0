"""The command line, `oneapi-mw`.

0   done
1   could not be done; one line on stderr says what to change
2   the command line is wrong
130 interrupted
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from oneapi_mw import __version__
from oneapi_mw.cli.failure import CommandFailed

__all__ = ["build_parser", "main"]

COMMANDS = {
    "serve": ("oneapi_mw.cli.serve", "Run the gateway as a server."),
    "demo": ("oneapi_mw.cli.demo", "Start everything with a built-in provider and show it working."),
    "check-config": ("oneapi_mw.cli.check_config", "Show the settings in force and try them out."),
    "db": ("oneapi_mw.cli.db", "Create, upgrade and check the database's tables."),
    "user": ("oneapi_mw.cli.user", "Create and change users and their quota."),
    "token": ("oneapi_mw.cli.token", "Create and change the API keys of users."),
    "ledger": ("oneapi_mw.cli.ledger", "Check that the books balance, and see what is not finished."),
    "channel": ("oneapi_mw.cli.channel", "Create and change accounts at providers."),
    "prices": ("oneapi_mw.cli.prices", "Show, import and build the prices of models."),
}
"""Module and summary of each command. A module is imported only when its command is called: most of them need
the whole gateway, and `oneapi-mw --help` must not wait for that."""

EXAMPLES = """\
examples:
  oneapi-mw demo
  oneapi-mw serve
  oneapi-mw channel create openai --type openai --models gpt-4o,gpt-4o-mini
  oneapi-mw token create laptop --user root --unlimited
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`, by default the process's. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser(words).parse_args(words)
        return int(args.run(args))
    except CommandFailed as failed:
        print(f"oneapi-mw: {failed}", file=sys.stderr)
        return failed.code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output has had enough; the interpreter must not complain when it flushes the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The grammar, complete for the command in `words` and with bare names for the others."""
    parser = argparse.ArgumentParser(
        prog="oneapi-mw",
        description="An LLM gateway: one key and one bill for every AI provider.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"oneapi-mw {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    called = next((word for word in words if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == called:
            import_module(module).add_arguments(command)
    return parser
