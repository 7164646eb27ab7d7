"""Which faces a command reads: the flags that evaluation, figures and the doctor share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lisa.data.folders import find_pairs, share_of
from lisa.data.pairs import Pair
from lisa.label_orders import CELEBAMASK


@dataclass(frozen=True)
class Folder:
    """A folder of faces."""

    data: Path
    """Folder with {train,val,test}/{images,masks} or {train,val,test}_{image,mask}."""
    label_order: str = CELEBAMASK
    """Order of the masks' ids: celebamask-hq, face-parsing.pytorch, or your own names from id 0 on, comma
    separated."""


@dataclass(frozen=True)
class Source(Folder):
    """A folder of faces without those on a list."""

    exclude: str = ""
    """List of files to leave out, as --data.exclude has it in training."""

    def pairs_of(self, split: str, val_share: float = 0.0) -> list[Pair]:
        """A split's pairs: see :func:`lisa.data.folders.find_pairs`.

        ``val_share`` is that of the run whose network is looked at; it counts where there is no split val.
        """
        share = share_of(self.data, val_share)
        return find_pairs(self.data, split, self.label_order, self.exclude, share)


@dataclass(frozen=True)
class SplitSource(Source):
    """One split of a folder of faces."""

    split: str = "val"
    """train, val or test."""

    def pairs(self, val_share: float = 0.0) -> list[Pair]:
        """The split's pairs: see :meth:`pairs_of`."""
        return self.pairs_of(self.split, val_share)


Unprefixed = tyro.conf.arg(name="")
"""Annotates a field or parameter: its own fields are flags without its name before them."""

FolderFlags = Annotated[Folder, Unprefixed]
SourceFlags = Annotated[Source, Unprefixed]
SplitFlags = Annotated[SplitSource, Unprefixed]
