"""Each invariant of the ledger is carried by a test that has its number in its name or its docstring: `i_03`, `I-3`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.project.source import ROOT

INVARIANTS = range(1, 21)
_IN_NAMES = re.compile(r"(?<![a-z0-9])i_(\d\d)(?!\d)")
_IN_DOCSTRINGS = re.compile(r"\bI-(\d{1,2})\b")


def numbers(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        said = _IN_NAMES.findall(node.name) + _IN_DOCSTRINGS.findall(ast.get_docstring(node) or "")
        yield from map(int, said)


def test_every_invariant_has_a_test() -> None:
    found = {
        number for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__) for number in numbers(path)
    }
    assert found == set(INVARIANTS)
