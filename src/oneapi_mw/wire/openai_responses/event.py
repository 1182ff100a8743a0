"""What every event of a stream has to be, whoever reads it."""

from __future__ import annotations

MAX_INDEX = 1024
"""Items and parts beyond this are an attack on whoever keeps a list of them."""


class MalformedEventError(ValueError):
    """An event of a known kind with a value that cannot be."""
