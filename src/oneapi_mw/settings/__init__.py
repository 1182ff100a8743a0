"""What an operator can set, with its defaults: by hand in code, or from the environment and a `.env` file.

Settings(sqlite_path="gateway.db")      reads nothing
Settings.from_environment()             reads the environment, and `.env` below it
"""

from __future__ import annotations

from oneapi_mw.settings.listing import describe
from oneapi_mw.settings.model import Settings
from oneapi_mw.settings.problems import SettingsError

__all__ = ["Settings", "SettingsError", "describe"]
