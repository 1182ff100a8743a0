"""What every chunk has to be, whoever reads it."""

from __future__ import annotations

MAX_INDEX = 128
"""Choices and calls beyond this are an attack on whoever keeps a list of them."""


class MalformedChunkError(ValueError):
    """A chunk of a known kind with a value that cannot be."""
