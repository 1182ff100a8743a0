"""The gateway under any ASGI server: `uvicorn examples.standalone:app`, `hypercorn examples.standalone:app`, ...

Everything it needs is in one folder: the SQLite file and the key that seals its secrets.
"""

from pathlib import Path

from oneapi_mw import Gateway, Settings

HERE = Path.cwd()

app = Gateway(
    Settings(
        sqlite_path=str(HERE / "gateway.db"),
        initial_root_password="change-me-now",
    )
)
