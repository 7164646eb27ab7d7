"""Faces of a video: each frame goes on from the one before."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..faces.finder import Face
from ..faces.put_back import Labelled
from ..inputs import Job
from ..model import SANE, ExportedModel, largest_logits
from ..photos import AUTO, Parsed, Photos, is_flat
from ..pictures import Pixels

AGAIN, AGAIN_IF_EMPTY = 25, 5
"""Faces are searched for in each such frame, with seen faces and without, and where one is missed or lost."""

PATIENCE = 5
"""A missed face stays where it was for so many frames: something passed before it, or it turned away. What
the finder takes for a face and the parsing network for none is followed for as many, without labels."""

EXPLODED = 10 * SANE
"""Logits beyond it enter no average."""

SAME = 0.4
"""Two frames of faces are one face's if their centres are nearer, in sides of the larger one."""


@dataclass
class Track:
    """A face that is followed."""

    number: int
    """From 1 on; nobody else gets it."""
    face: Face
    missed: int = 0
    """Frames since it was seen."""
    doubted: int = 0
    """Frames since the parsing network saw a face in it, without those in which the finder missed it."""
    logits: Tensor | None = None
    """(C,size,size): the moving average, if one is wanted."""


class Tracker:
    """Parses the frames of one video, which must come in their order; ``shown`` are the last one's faces.

    ``steady``, 0 to below 1, is the weight of what a face's logits were before; 0 takes each frame alone.
    The average is one of aligned faces, so that it doesn't blur what moves.
    """

    def __init__(self, model: ExportedModel, photos: Photos | None, steady: float) -> None:
        self.model, self.photos, self.steady = model, photos, steady
        self.tracks: list[Track] = []
        self.shown: list[Track] = []
        self._undecided = photos if photos is not None and photos.mode == AUTO else None
        self._whole: Tensor | None = None
        self._seen = 0
        self._numbers = 0

    @torch.inference_mode()
    def parse(self, job: Job, picture: Pixels) -> Parsed:
        """Labels the next frame (H,W,3)."""
        if self._undecided is not None and not is_flat(picture):
            if self._undecided.faces(job, picture) is None:
                self.photos = None  # a face fills the first frame that shows something
            self._undecided = None
        parsed = self._frame(picture) if self.photos is None else self._faces(self.photos, picture)
        self._seen += 1
        return parsed

    def _frame(self, picture: Pixels) -> Parsed:
        images = torch.from_numpy(picture[None]).to(self.model.device).permute(0, 3, 1, 2)
        self._whole = self._averaged(self._whole, self.model.logits(images))
        ids = self.model.engine.labels(self._whole, *picture.shape[:2])[0].cpu().numpy()
        return Parsed(ids, largest=largest_logits(self._whole)[0])

    def _faces(self, photos: Photos, picture: Pixels) -> Parsed:
        self._follow(photos, picture)
        labelled, largest = Labelled(*picture.shape[:2]), [0.0]
        for track in self.tracks:
            now = photos.face_logits(picture, track.face)
            if not track.missed:
                track.doubted = track.doubted + 1 if photos.judged(track.face, now) is None else 0
            if track.doubted:
                continue
            logits = self._averaged(track.logits, now)
            track.logits = logits if self.steady else None
            largest += largest_logits(logits[None])
            labelled.add(logits, torch.tensor(track.face.frame))
        self.shown = [track for track in self.tracks if not track.doubted]
        faces = [track.face for track in self.shown]
        return Parsed(labelled.ids, None, faces, labelled.owner, float(np.max(largest)))

    def _averaged(self, before: Tensor | None, now: Tensor) -> Tensor:
        if before is None or not self.steady:
            return now
        if not largest_logits(before.view(1, *before.shape[-3:]))[0] <= EXPLODED:
            return now  # it would stay in the average for seconds, nan for ever
        return self.steady * before + (1 - self.steady) * now

    def _follow(self, photos: Photos, picture: Pixels) -> None:
        """Moves the tracks to where their faces are now; drops the lost ones, adds new ones."""
        assert photos.finder is not None
        moved = photos.finder.follow(picture, [track.face for track in self.tracks])
        for track, face in zip(self.tracks, moved, strict=True):
            track.face, track.missed = (track.face, track.missed + 1) if face is None else (face, 0)
        given_up = any(track.doubted >= PATIENCE for track in self.tracks)
        interval = AGAIN if any(not track.doubted for track in self.tracks) else AGAIN_IF_EMPTY
        if None in moved or given_up or self._seen % interval == 0:
            for face in photos.find(picture):
                self._found(face)
        self.tracks = [each for each in self.tracks if each.missed <= PATIENCE and each.doubted < PATIENCE]

    def _found(self, face: Face) -> None:
        """A face of a search: one that was missed or doubted, a new one, or one that is followed anyway."""
        track = next((track for track in self.tracks if _same(face, track.face)), None)
        if track is None:
            self._numbers += 1
            self.tracks.append(Track(self._numbers, face))
        elif track.missed or track.doubted:
            track.face, track.missed, track.doubted, track.logits = face, 0, 0, None


def _same(one: Face, other: Face) -> bool:
    distance = math.hypot(one.frame[0] - other.frame[0], one.frame[1] - other.frame[1])
    return distance < SAME * max(one.frame[2], other.frame[2])
