"""The package's own source as data: modules, what they import, where."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "oneapi_mw"


@dataclass(frozen=True)
class Import:
    """One import statement's target. `module` is dotted and absolute."""

    module: str
    line: int
    in_function: bool
    for_types: bool
    """Below `if TYPE_CHECKING:`: nothing happens at run time."""


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def inside(self) -> str:
        """The name below the package: `wire.base` of `oneapi_mw.wire.base`."""
        return self.name.removeprefix("oneapi_mw").removeprefix(".")


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by its dotted name."""
    paths = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    found = {}
    for name, path in paths.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[name] = Module(name, path, tree, tuple(_imports(tree, frozenset(paths))))
    return found


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, ours: frozenset[str]) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, in_function: bool, for_types: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, in_function, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned by the linter"
            assert node.module is not None
            for alias in node.names:  # `from package import module` imports the module
                full = f"{node.module}.{alias.name}"
                found.append(Import(full if full in ours else node.module, node.lineno, in_function, for_types))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                visit(statement, in_function, True)
            return
        function = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, function, for_types)

    visit(tree, False, False)
    return found
