"""How a command says that it could not do what it was asked."""

from __future__ import annotations


class CommandFailed(Exception):
    """One line for the person at the terminal: what was wrong and what to change. Ends the command with `code`."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Misused(CommandFailed):
    """The command line itself is wrong, in a way its grammar cannot tell."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=2)
