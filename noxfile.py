"""Every check of the project: `nox` runs lint, types and tests; `nox -l` lists the rest."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "typecheck", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True


def install_group(session: nox.Session, group: str) -> None:
    """The project, editable, with one of its dependency groups."""
    session.install("-e", ".", *nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group))


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    session.install(*nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """mypy --strict over source, tests, examples and benchmarks."""
    install_group(session, "typecheck")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, with real databases and a real Redis. Arguments go to pytest."""
    install_group(session, "test")
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Storms and kill loops that take minutes."""
    install_group(session, "test")
    session.run("pytest", "-m", "slow", "--timeout", "1200", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, install it alone into a fresh environment and run the demo from there."""
    session.install("build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--outdir", folder, silent=True)
        wheel = next(Path(folder).glob("*.whl"))
        venv = Path(folder) / "venv"
        session.run("python", "-m", "venv", str(venv))
        session.run(str(venv / "bin" / "pip"), "install", "-q", str(wheel), external=True)
        session.run(str(venv / "bin" / "oneapi-mw"), "demo", "--once", "--bind", "127.0.0.1:0", external=True)


@nox.session
def lowest(session: nox.Session) -> None:
    """The suite with every dependency at its floor."""
    if shutil.which("uv") is None:
        session.install("uv")
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    # compiled at once: what old packages are warned of when they are compiled is not for our tests to fail at
    options = ("--resolution", "lowest-direct", "--compile-bytecode")
    session.run("uv", "pip", "install", *options, "-e", ".", *groups, external=True)
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Overhead of the gateway against a bare relay. Arguments go to the benchmark."""
    install_group(session, "bench")
    session.run("python", "-m", "benchmarks.overhead", *session.posargs)


@nox.session
def bench_ledger(session: nox.Session) -> None:
    """Pairs of hold and settlement a second, on every database. Arguments go to the benchmark."""
    install_group(session, "test")
    for backend in ("sqlite", "postgres", "mysql"):
        session.run("python", "-m", "benchmarks.ledger", "--backend", backend, *session.posargs)


@nox.session
def bench_conversions(session: nox.Session) -> None:
    """Cost per chunk of every conversion, with LiteLLM's in the same run. Arguments go to the benchmark."""
    install_group(session, "bench")
    session.run("python", "-m", "benchmarks.conversions", *(session.posargs or ["--litellm"]))
