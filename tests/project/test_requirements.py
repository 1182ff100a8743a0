"""Each numbered requirement of conversion is tested by something that carries its number.

The numbers stand in the names of tests, in ids of their cases, or in strings such as docstrings: `cv_03`, `CV-03`.
Comments do not count, as nothing shows that they belong to a test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.project.source import ROOT

REQUIREMENTS = range(1, 88)
_NUMBER = re.compile(r"cv[_-](\d\d)(?!\d)", re.IGNORECASE)


def numbers(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = node.name if node.name.startswith("test_") else ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = node.value
        else:
            continue
        yield from (int(number) for number in _NUMBER.findall(said))


def test_every_requirement_of_conversion_has_a_test() -> None:
    found = {
        number for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__) for number in numbers(path)
    }
    assert found == set(REQUIREMENTS)
