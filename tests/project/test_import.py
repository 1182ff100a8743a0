"""Importing costs little and does nothing: each case runs in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from oneapi_mw.wire.registry import NAMES
from tests.project.source import modules

MIDDLEWARES = [name for name, module in modules().items() if module.inside.startswith("middleware.")]
HEAVY = {"sqlmodel", "sqlalchemy", "alembic", "redis", "httpx", "aiohttp", "pydantic", "hypercorn", "tiktoken"}

CODECS = tuple(f"oneapi_mw.wire.{name}" for name in NAMES)
"""Loaded when their format is first spoken: they are most of what there is to load."""

PROBE = """
import builtins, logging, os, socket, sys
touched = []
def audit(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen"):
        touched.append(event)
sys.addaudithook(audit)
environment = os.environ.data if hasattr(os.environ, "data") else os.environ._data
read = []
class Watched(dict):
    def __getitem__(self, key):
        caller = sys._getframe(1)
        while caller and not caller.f_globals.get("__name__", "").startswith("oneapi_mw"):
            caller = caller.f_back
        if caller is not None and caller.f_globals["__name__"] == {module!r}:
            read.append(key)
        return super().__getitem__(key)
os.environ._data = Watched(environment)
handlers, level = list(logging.root.handlers), logging.root.level
before = set(sys.modules)
import {module}
print(sorted(set(sys.modules) - before))
assert not touched, touched
assert not read, read
assert logging.root.handlers == handlers and logging.root.level == level, "root logger changed"
"""


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["oneapi_mw", "oneapi_mw.pipeline", *MIDDLEWARES])
def test_importing_is_pure_and_light(module: str) -> None:
    done = run(PROBE.format(module=module))
    assert done.returncode == 0, done.stderr
    loaded = set(eval(done.stdout))
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert not [name for name in loaded if name.startswith(CODECS)]


def test_importing_the_whole_gateway_touches_nothing() -> None:
    done = run(PROBE.format(module="oneapi_mw.app"))
    assert done.returncode == 0, done.stderr


def test_probe_notices_what_it_should() -> None:
    """The probe itself: an import that reads the environment is caught."""
    done = run(PROBE.format(module="oneapi_mw") + "\nsocket.getaddrinfo('localhost', 1)\nassert not touched, touched")
    assert done.returncode != 0
    assert "socket.getaddrinfo" in done.stderr
