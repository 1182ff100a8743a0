"""What an operation is: one thing that may be asked of a model."""

from __future__ import annotations

from typing import Literal

from oneapi_mw.immutable import immutable


@immutable
class Operation:
    """One row of the registry."""

    name: str
    body: Literal["json", "multipart"]
    """How its request arrives."""
    metered: Literal["tokens", "images", "seconds", "characters", "pages", "calls"]
    """What is counted for its price."""
    endpoint: str
    """Its name in the `supported_endpoints` of a channel's config."""
    streams: bool = False
    """Whether the client may ask for the answer piece by piece."""
