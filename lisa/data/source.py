"""Which faces a command reads: the flags that evaluation, figures and the doctor share."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from lisa.data.folders import find_pairs, share_of
from lisa.data.pairs import Pair
from lisa.labels import LabelSet
from lisa.labels.encoding import read_encoding


@dataclass(frozen=True)
class Folder:
    """A folder of faces."""

    data: Path
    """Folder with {train,val,test}/{images,masks}, or labels for masks, or {train,val,test}_{image,mask}."""
    encoding: Annotated[str, tyro.conf.arg(aliases=["--data.encoding", "--label-order"])] = ""
    """Which id in a mask is which label (docs/data.md): celebamask-hq, face-parsing.pytorch, lapa, ..., or
    0=background,1=skin,13=ignore, or a .toml or .json file; empty for the label set's own ids."""


@dataclass(frozen=True)
class Source(Folder):
    """A folder of faces without those on a list."""

    exclude: str = ""
    """List of files to leave out, as --data.exclude has it in training."""

    def pairs_of(self, split: str, labels: LabelSet, val_share: float = 0.0) -> list[Pair]:
        """A split's pairs: see :func:`lisa.data.folders.find_pairs`.

        ``val_share`` is that of the run whose network is looked at; it counts where there is no split val.
        """
        share = share_of(self.data, val_share)
        return find_pairs(self.data, split, read_encoding(self.encoding, labels), self.exclude, share)


@dataclass(frozen=True)
class SplitSource(Source):
    """One split of a folder of faces."""

    split: str = "val"
    """train, val or test."""

    def as_trained(self, root: str, encoding: str) -> tuple["SplitSource", list[str]]:
        """For a network that was trained on the folder ``root`` by ``encoding``, and notes for its user.

        The folder that it was trained on is read as then if no encoding is given.
        """
        if self.encoding or not encoding:
            return self, []
        if self.data.resolve() != Path(root).resolve():
            note = f"trained with --data.encoding {encoding}: {self.data} is read by the label set's own ids"
            return self, [f"{note}; give --encoding if its masks have others"]
        return replace(self, encoding=encoding), [
            f"{self.data} is read as in training: --encoding {encoding}"
        ]

    def pairs(self, labels: LabelSet, val_share: float = 0.0) -> list[Pair]:
        """The split's pairs: see :meth:`pairs_of`."""
        return self.pairs_of(self.split, labels, val_share)


Unprefixed = tyro.conf.arg(name="")
"""Annotates a field or parameter: its own fields are flags without its name before them."""

FolderFlags = Annotated[Folder, Unprefixed]
SourceFlags = Annotated[Source, Unprefixed]
SplitFlags = Annotated[SplitSource, Unprefixed]
