from __future__ import annotations

import pytest

from oneapi_mw.immutable import immutable


@immutable
class Point:
    x: int
    y: int = 0


def test_values_are_compared_and_hashed_by_their_fields() -> None:
    assert Point(1) == Point(1, 0) != Point(1, 2)
    assert {Point(1), Point(1, 0)} == {Point(1)}


def test_a_value_has_no_room_for_anything_else() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_an_assignment_is_refused_by_the_type_checker() -> None:
    point = Point(1)
    point.x = 2  # type: ignore[misc]  # unused, and so an error, if it were allowed
