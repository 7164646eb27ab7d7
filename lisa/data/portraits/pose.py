"""From head coordinates to the frame: yaw and pitch over a rounded face, then tilt, scale and shift.

Head coordinates have their origin between eyes and mouth and the frame's unit: eyes at y = -0.117, mouth at
0.148, as CelebA-HQ's aligned crops have them; outlines are those of a head whose proportions are 1. Positive
x is the picture's right, the person's left.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lisa.data.portraits.canvas import Points

EYE = (0.117, -0.117)
BROW_Y = -0.2
MOUTH_Y = 0.148
DEPTH = 0.26
CENTER = (0.5, 0.6)


@dataclass(frozen=True)
class Pose:
    """How the head is turned and framed; angles in radians."""

    yaw: float
    """Positive: the face looks to the picture's right."""
    pitch: float
    tilt: float
    scale: float
    shift: tuple[float, float]
    width: float = 1.0
    """How wide head, hair, neck and shoulders are; the features keep their places."""
    forehead: float = 1.0
    """How high the head reaches above the brows."""
    chin: float = 1.0
    """How low it reaches below the mouth."""

    @property
    def turn(self) -> float:
        """Sine of the yaw."""
        return float(np.sin(self.yaw))

    def surface(self, points: ArrayLike, lift: float | ArrayLike = 0.0) -> Points:
        """Frame coordinates (N, 2) of points (N, 2) on the front of the face, ``lift`` above its surface."""
        x, y = np.asarray(points, np.float64).T
        roundness = np.sqrt(np.maximum(1 - (x / 0.29) ** 2, 0.05))
        depth = DEPTH * roundness + np.asarray(lift)
        turned = x * np.cos(self.yaw) + (depth - _EYE_DEPTH) * self.turn
        nodded = y + (depth - _EYE_DEPTH) * np.sin(self.pitch)
        return self.place(np.stack([turned, nodded], axis=1))

    def stretched(self, y: ArrayLike) -> NDArray[np.float64]:
        """Where this head has what lies at ``y`` on a head whose proportions are 1."""
        heights = np.asarray(y, np.float64)
        above, below = np.minimum(heights - BROW_Y, 0), np.maximum(heights - MOUTH_Y, 0)
        return heights + above * (self.forehead - 1) + below * (self.chin - 1)

    def silhouette(self, points: ArrayLike) -> Points:
        """Frame coordinates (N, 2) of points (N, 2) on the head's outline, which a turn hardly narrows."""
        outline = np.array(points, np.float64)
        outline[:, 1] = self.stretched(outline[:, 1])
        outline[:, 0] = outline[:, 0] * self.width - _EYE_DEPTH * self.turn * 0.9
        return self.place(outline)

    def behind(self, points: ArrayLike) -> Points:
        """The same for the back of the head, which a turn moves further than the face's outline."""
        return self.silhouette(np.asarray(points, np.float64) - (0.35 * DEPTH * self.turn, 0.0))

    def place(self, points: Points) -> Points:
        """Tilt, scale and shift into the frame."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        turned = points @ np.array([[cos, sin], [-sin, cos]])
        return turned * self.scale + np.asarray(CENTER) + np.asarray(self.shift)


_EYE_DEPTH = DEPTH * float(np.sqrt(1 - (EYE[0] / 0.29) ** 2))


def draw_pose(rng: np.random.Generator, left_ear: bool, right_ear: bool) -> Pose:
    """A random pose that lets the wanted ears show: both need a face that looks ahead.

    Foreheads and chins are as high as in CelebAMask-HQ's labels, heads a little narrower
    (docs/model_card.md).
    """
    yaw = float(np.clip(rng.normal(0, 0.27), -0.65, 0.65))
    if left_ear and right_ear:
        yaw *= 0.4
    elif left_ear:
        yaw = -abs(yaw)
    elif right_ear:
        yaw = abs(yaw)
    return Pose(
        yaw=yaw,
        pitch=float(rng.normal(0, 0.09)),
        tilt=float(np.clip(rng.normal(0, 0.07), -0.2, 0.2)),
        scale=float(rng.uniform(0.98, 1.09)),
        shift=(float(rng.normal(0, 0.008)), float(rng.normal(0, 0.008))),
        width=float(rng.normal(1.13, 0.055)),
        forehead=float(rng.normal(1.36, 0.14)),
        chin=float(rng.normal(1.2, 0.1)),
    )
