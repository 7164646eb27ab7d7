"""What to say of a file without its partner: what lies there under nearly the same name."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path


class Neighbours:
    """The files of a folder in which partners are looked for, by their names' essence."""

    def __init__(self, folder: Path, wanted: str) -> None:
        self.folder = folder
        self.wanted = wanted
        """What partners must be, for messages: "PNG", say."""

    @cached_property
    def _names(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in sorted(self.folder.iterdir()):
            if not path.name.startswith("."):
                for form in _essences(path.stem):
                    found.setdefault(form, path.name)
        return found

    def hint(self, stem: str) -> str:
        """What is there instead of this stem; empty if nothing is like it."""
        name = next((self._names[form] for form in _essences(stem) if form in self._names), None)
        if name is None:
            return ""
        if Path(name).stem == stem:
            return f"; {name} is there, but is no {self.wanted}"
        return f"; {name} is there: give both the same name but for the ending"


def _essences(stem: str) -> Iterator[str]:
    """The name without case and padding; also without an ending of its own (1.jpg.png) or a word (1_mask)."""
    for form in dict.fromkeys((stem, Path(stem).stem, re.sub(r"[_\-. ][A-Za-z]+$", "", stem))):
        plain = unicodedata.normalize("NFC", form).casefold()
        yield plain.lstrip("0") or "0" if plain.isdecimal() else plain
