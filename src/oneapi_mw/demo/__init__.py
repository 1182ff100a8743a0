"""The demo: the real gateway in front of a scripted provider, on real sockets, with requests to look at."""

from __future__ import annotations

from oneapi_mw.demo.run import run

__all__ = ["run"]
