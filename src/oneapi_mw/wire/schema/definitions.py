"""The definitions of a schema that is being written, and which of them refer to which."""

from __future__ import annotations

from collections.abc import Iterator

from oneapi_mw.wire.schema.references import reaches


class Definitions:
    """Names for what references point to, given as they are met."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # pointer -> name
        self._refers: dict[str, set[str]] = {}  # name -> names it refers to
        self._current = ""  # name of the definition that is being written; none at the root

    def refer(self, pointer: str) -> str:
        """Our own reference to what `pointer` names."""
        name = self._names.get(pointer)
        if name is None:
            name = self._names[pointer] = self._unique(pointer)
        self._refers.setdefault(self._current, set()).add(name)
        return f"#/$defs/{name}"

    def _unique(self, pointer: str) -> str:
        wanted = "root" if pointer == "#" else pointer.rpartition("/")[2].replace("~1", "_").replace("~0", "_")
        taken = set(self._names.values())
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def unwritten(self) -> Iterator[tuple[str, str]]:
        """Pointers and names to write, those too that are met while the earlier ones are written."""
        written = 0
        while written < len(self._names):
            for pointer, name in list(self._names.items())[written:]:
                self._current = name
                written += 1
                yield pointer, name

    def recursive(self) -> bool:
        """Whether a definition leads back to itself."""
        return any(reaches(self._refers, name) for name in self._names.values())
