"""Reading settings from a mapping of environment variables, and from a `.env` file below it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from oneapi_mw.settings.names import ACCEPTED, ALIASES, IGNORED, env_name
from oneapi_mw.settings.problems import Problem

_OPPOSITE = dict.fromkeys(("true", "1", "yes", "on"), "false") | dict.fromkeys(("false", "0", "no", "off"), "true")
_LIKELY_TYPO = 0.85
"""How alike a name in `.env` must be to one of ours before we ask whether that was meant."""


class EnvironmentSource(PydanticBaseSettingsSource):
    """Texts of the fields of a settings class. An empty text is as good as none.

    Afterwards `problems` says what could not be read, `warnings` what was read and is not used, and `written`
    under which name a setting came if not its own.

    Args:
        environ: wins over the file, with empty texts too.
        env_file: `NAME=value` lines, taken as they are: nothing is replaced inside values. May be missing.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str], env_file: Path | None) -> None:
        super().__init__(settings_cls)
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.written: dict[str, str] = {}
        filed = self._read(env_file) if env_file is not None else {}
        self._warn_of_typos(filed)
        self._texts = {name: text.strip() for name, text in {**filed, **environ}.items() if text.strip()}
        self._follow_aliases()
        self.warnings += [f"{name} {text}" for name, text in IGNORED.items() if name in self._texts]

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: text for name, text in values.items() if text is not None}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = env_name(field_name)
        text = self._texts.get(name)
        if text is not None and get_origin(field.annotation) is Literal:
            text = self._word(name, text, get_args(field.annotation))
        return text, name, False

    def _word(self, name: str, text: str, words: tuple[str, ...]) -> str:
        """`text` in the spelling of `words`, whatever its case."""
        found = next((word for word in words if word.casefold() == text.casefold()), None)
        if found is None and name == "NODE_TYPE":  # One API's rule, which existing deployments may lean on
            self.warnings.append(f"NODE_TYPE is {text!r}, which means master: write master or slave")
            return "master"
        return text if found is None else found

    def _follow_aliases(self) -> None:
        for older, alias in ALIASES.items():
            text = self._texts.get(older)
            if text is None:
                continue
            if alias.newer in self._texts:
                self.warnings.append(f"{older} is not used because {alias.newer} is set: remove it")
                continue
            if alias.inverted:
                opposite = _OPPOSITE.get(text.lower())
                if opposite is None:
                    self.problems.append(Problem(older, f"is {text!r}: write true or false"))
                    continue
                text = opposite
            self._texts[alias.newer] = text
            self.written[alias.newer] = older

    def _read(self, env_file: Path) -> dict[str, str]:
        try:
            content = env_file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            self.problems.append(Problem(str(env_file), f"cannot be read ({reason}): mend it or remove it"))
            return {}
        texts = {}
        for line in parse_stream(StringIO(content)):
            if line.error:
                self.problems.append(
                    Problem(str(env_file), f"has a line {line.original.line} that cannot be read: write NAME=value")
                )
            elif line.key and line.value is not None:
                texts[line.key] = line.value
        return texts

    def _warn_of_typos(self, filed: Mapping[str, str]) -> None:
        """In the file only: the environment of a process has many variables of others."""
        known = {env_name(field) for field in self.settings_cls.model_fields}
        for name in filed:
            if name in known or name in ACCEPTED or name in ALIASES or name in IGNORED:
                continue
            near = get_close_matches(name, known, n=1, cutoff=_LIKELY_TYPO)
            if near:
                self.warnings.append(f"{name} in the .env file is not a setting: did you mean {near[0]}?")
