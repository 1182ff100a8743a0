"""Values that nobody changes, at the price of ordinary objects.

A frozen dataclass sets every field through `object.__setattr__`, which makes it three to four times as expensive to
create; a request creates hundreds of such values and a stream some for every chunk. Type checkers see these as frozen
and refuse an assignment; at run time nothing does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """A dataclass with slots, compared and hashed by its fields, that is not to be changed."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
