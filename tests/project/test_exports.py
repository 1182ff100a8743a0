"""What the package says it exports exists, and public names are documented."""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import version

import pytest

import oneapi_mw
from tests.project.source import Module, modules

MODULES = list(modules().values())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_everything_in_all_exists(module: Module) -> None:
    loaded = importlib.import_module(module.name) if "migrations" not in module.name else None
    for name in getattr(loaded, "__all__", ()):
        assert hasattr(loaded, name)


def test_the_version_is_that_of_the_distribution() -> None:
    assert oneapi_mw.__version__ == version("oneapi-mw")


def test_public_names_are_loaded_when_used() -> None:
    assert inspect.isclass(oneapi_mw.Gateway)
    assert inspect.isclass(oneapi_mw.Settings)
    with pytest.raises(AttributeError, match="nothing_like_this"):
        oneapi_mw.nothing_like_this  # noqa: B018


@pytest.mark.parametrize("module", [m for m in MODULES if m.tree.body], ids=lambda module: module.name)
def test_modules_say_what_they_are_for(module: Module) -> None:
    assert ast.get_docstring(module.tree)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_public_classes_are_documented(module: Module) -> None:
    """Data of one word, and errors whose name and base say it all, may go without."""
    bare = [
        node.name
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not node.decorator_list
        and not _is_named_case(node)
        and "tables" not in module.name
    ]
    assert not bare


def _is_named_case(node: ast.ClassDef) -> bool:
    """A subclass that only sets attributes, or whose base has said what it is."""
    return bool(node.bases)
