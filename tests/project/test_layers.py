"""Imports point downwards only, and the rules compute: they never wait, read a clock or do I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.project.source import Module, modules

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "foundation",
        ("types", "immutable", "scope", "errors", "ids", "jsontext", "usage", "exchange", "principal", "settings",
         "observability", "background"),
    ),
    ("model", ("canonical",)),
    (
        "rules",
        ("models", "wire", "operations", "providers", "routing", "pricing", "tokens", "ratelimit.base",
         "ratelimit.window", "ledger.base", "ledger.hold", "ledger.limits", "ledger.outcome",
         "ledger.plausible"),
    ),
    ("services", ("store", "ledger", "ratelimit", "tokenizer", "pricing.shipped")),
    ("stages", ("middleware", "relay")),
    ("surfaces", ("admin",)),
    ("assembly", ("process", "app", "pipeline", "asgi", "resources", "cli", "demo", "__main__")),
)  # fmt: skip
"""Lowest first. A module belongs to the layer with the longest prefix of its name."""

IO_LIBRARIES = {
    "sqlalchemy",
    "sqlmodel",
    "sqlite3",
    "alembic",
    "asyncpg",
    "asyncmy",
    "redis",
    "httpx",
    "httpcore",
    "aiohttp",
}
OUTSIDE_WORLD = IO_LIBRARIES | {"asyncio", "anyio", "time", "socket", "ssl", "os", "threading", "subprocess", "pathlib"}
LAZY_EXTRAS = {"asyncmy", "asyncmy.constants", "asyncpg", "uvloop"}
"""Optional packages, imported by the function that needs them so that their absence is an error of that function."""

LATE = {
    "middleware.convert": {"relay.foreign"},
    "middleware.reasoning": {"wire.reasoning_view", "wire.wish_applied"},
}
"""What stages load when they first need it: with these comes the canonical model, half of the time a stage may take to
be imported alone. The order of layers holds for them too."""


def layer(name: str) -> int:
    """Index of the layer of `name` (below the package). Raises for a module that belongs to none."""
    found = [
        (len(prefix), index)
        for index, (_, prefixes) in enumerate(LAYERS)
        for prefix in prefixes
        if name == prefix or name.startswith(prefix + ".")
    ]
    if not found:
        raise AssertionError(f"oneapi_mw.{name} belongs to no layer: name it in LAYERS")
    return max(found)[1]


def ours(module: Module) -> Iterator[tuple[str, int]]:
    """What `module` imports from the package at run time: names below the package, and lines."""
    for item in module.imports:
        if item.module.startswith("oneapi_mw.") and not item.for_types:
            yield item.module.removeprefix("oneapi_mw."), item.line


MODULES = [module for module in modules().values() if module.inside]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.inside)
def test_imports_point_downwards(module: Module) -> None:
    upwards = [(name, line) for name, line in ours(module) if layer(name) > layer(module.inside)]
    assert not upwards, f"{LAYERS[layer(module.inside)][0]} may not import from above"


def test_there_are_no_cycles() -> None:
    graph = {module.inside: {name for name, _ in ours(module)} for module in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"imports in a circle: {' -> '.join((*path, name))}"
        if name not in done:
            for next_name in graph.get(name, ()):
                visit(next_name, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


RULES = [module for module in MODULES if LAYERS[layer(module.inside)][0] in ("model", "rules")]


@pytest.mark.parametrize("module", RULES, ids=lambda module: module.inside)
def test_rules_only_compute(module: Module) -> None:
    outside = [item for item in module.imports if item.module.split(".")[0] in OUTSIDE_WORLD and not item.for_types]
    waits = [node for node in ast.walk(module.tree) if isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))]
    assert not outside
    assert not waits


STAGES = [module for module in MODULES if module.inside.startswith("middleware")]


@pytest.mark.parametrize("module", STAGES, ids=lambda module: module.inside)
def test_stages_import_no_database_and_no_client(module: Module) -> None:
    assert not [item for item in module.imports if item.module.split(".")[0] in IO_LIBRARIES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.inside)
def test_no_import_hides_in_a_function(module: Module) -> None:
    """Except in assembly, which loads commands when they are called, of extras that may be missing, and of `LATE`."""
    if LAYERS[layer(module.inside)][0] == "assembly":
        return
    allowed = LAZY_EXTRAS | {f"oneapi_mw.{name}" for name in LATE.get(module.inside, ())}
    hidden = [item for item in module.imports if item.in_function and item.module not in allowed]
    assert not hidden
