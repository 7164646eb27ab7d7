"""Where the parts of an aligned face lie, as the model file says it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

GLASSES = "glasses"
GLASSES_WEIGHT = 1.5
"""What dark glasses count where eyes can't be seen, which count 2 together."""


class Ellipse(NamedTuple):
    """The inner face, as shares of the frame's side."""

    x: float
    y: float
    half_width: float
    half_height: float


@dataclass(frozen=True)
class Arrangement:
    """Parts of an aligned face: their labels, and where they lie in the frame. (P,) is one value per part.

    The first two parts are the eyes, as seen from the left; glasses, if the labels have them, are the last.
    Places and spreads are shares of the frame's side from its upper left corner, areas of its area.
    """

    names: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    """Labels of each part."""
    place: Tensor
    """(P,2) mean x, y."""
    spread: Tensor
    """(P,) root of the sum of both variances."""
    area: Tensor
    """(P,) median area."""
    weight: Tensor
    """(P,) share of the score; 0 for glasses."""
    face_ids: tuple[int, ...]
    """Labels of all that covers the inner face: skin to lips."""

    @staticmethod
    def from_metadata(content: dict[str, Any]) -> "Arrangement":
        """What ``lisa.data.arrangement`` wrote."""
        parts = content["parts"]
        covariance = torch.tensor([part["covariance"] for part in parts])
        return Arrangement(
            names=tuple(part["name"] for part in parts),
            ids=tuple(tuple(part["ids"]) for part in parts),
            place=torch.tensor([part["mean"] for part in parts]),
            spread=(covariance[:, 0, 0] + covariance[:, 1, 1]).sqrt(),
            area=torch.tensor([part["area"] for part in parts]),
            weight=torch.tensor([float(part["weight"]) for part in parts]),
            face_ids=tuple(content["face_ids"]),
        )

    @property
    def has_glasses(self) -> bool:
        """Whether the last part is dark glasses."""
        return self.names[-1] == GLASSES

    @property
    def total_weight(self) -> float:
        """The score's denominator."""
        return float(self.weight.sum())

    def without_eyes(self, seen: Tensor) -> Tensor:
        """(B,P) what each part shows to (B,) what eyes and glasses show together."""
        eyes = seen[:, 0] * self.weight[0] + seen[:, 1] * self.weight[1]
        return torch.maximum(eyes, GLASSES_WEIGHT * seen[:, -1]) if self.has_glasses else eyes

    def ellipse(self) -> Ellipse:
        """From the eyes' distance and the mouth's; in CelebA-HQ centre (.5, .58), half axes .19 and .27."""
        left, right = self.place[0], self.place[1]
        eyes, mouth = (left + right) / 2, self.place[self.names.index("mouth")]
        down = mouth - eyes
        x, y = (eyes + 0.373 * down).tolist()
        return Ellipse(x, y, 0.783 * float((right - left).norm()), 0.991 * float(down.norm()))
