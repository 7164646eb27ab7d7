"""What a part is given: data, device, deadline, and a place for its rows. Imports no torch."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

ROWS = "rows.jsonl"


@dataclass(frozen=True)
class Bench:
    """One part's task. Each row is written as soon as it is measured: a part that is ended keeps its rows."""

    data: str
    """Folder of faces with the splits train and val."""
    output: str
    """The part's own folder."""
    device_name: str
    """"cuda", or "cpu" for a rehearsal."""
    tiny: bool
    """Rehearse: every line runs, at sizes that make no figure a result."""
    deadline: float
    """When the part should end, in seconds of ``time.time()``."""

    @property
    def device(self) -> "torch.device":
        """Where to measure."""
        import torch

        return torch.device(self.device_name)

    @property
    def seconds_left(self) -> float:
        """Below 0 once the part should have ended."""
        return self.deadline - time.time()

    def pick(self, full: T, tiny: T) -> T:
        """``full``, or ``tiny`` in a rehearsal."""
        return tiny if self.tiny else full

    def row(self, table: str, **figures: str | float | bool | None) -> None:
        """Adds a row to the table of this title; columns are named by the keywords, "_" for a space."""
        self._write({"table": table, "row": {name.replace("_", " "): each for name, each in figures.items()}})

    def note(self, text: str) -> None:
        """Adds a sentence."""
        self._write({"note": text})

    def no_time(self, what: str) -> bool:
        """True once the part should have ended; then a note says what is left out."""
        if self.seconds_left > 0:
            return False
        self.note(f"no time left for {what}")
        return True

    def _write(self, line: dict[str, Any]) -> None:
        with (Path(self.output) / ROWS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def to_json(self) -> str:
        """For the part's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of to_json."""
        return cls(**json.loads(text))
