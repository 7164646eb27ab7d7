"""--faces: what it means for this model, and what is told of it."""

import argparse
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import CannotStartError
from .faces.given import Numbers, read_given, read_list
from .finding import open_finder, reason_against
from .inputs import Job
from .model import ExportedModel
from .photos import AUTO, FIND, FRAME, Photos

STRETCH = "stretch"
"""The default of --fit. Whoever gives another one says how a face fills its frame: pictures are frames."""


def settle_faces(options: argparse.Namespace, metadata: dict[str, Any]) -> None:
    """Sets ``finds`` (auto, find, a file's digest, or "" for frames) and ``listed``, a file's faces.

    ``advice`` is what to do with pictures that look like photographs and are taken as frames.

    Raises CannotStartError for a model that can't do what is asked, and for a file that can't be read.
    """
    reason = reason_against(metadata)
    faces = options.faces or (AUTO if options.fit == STRETCH else FRAME)
    options.finds, options.listed = "", None
    options.advice = reason or "--faces find looks for their faces"
    if options.faces in (AUTO, FIND) and reason:
        raise CannotStartError(f"--faces {options.faces}: this model finds no faces: {reason}")
    if options.fit != STRETCH and faces not in (AUTO, FRAME):
        raise CannotStartError(
            f"--fit {options.fit} is for frames, and --faces {faces} takes none: leave one out"
        )
    if options.face_maps and faces == FRAME:
        raise CannotStartError("--face-maps: of photographs: add --faces find, auto or a file")
    if options.face_maps and faces == AUTO and reason:
        raise CannotStartError(f"--face-maps: this model finds no faces: {reason}")
    if faces in (AUTO, FIND):
        options.finds = "" if reason else faces
    elif faces != FRAME:
        _settle_list(options, reason)


def _settle_list(options: argparse.Namespace, reason: str) -> None:
    """A file has the faces; ``reason`` says why the model can't find them itself."""
    path = Path(options.faces)
    content = read_list(path)  # once: a pipe gives it once
    options.listed = read_given(content, path)
    boxes = any(len(numbers) == 4 for faces in options.listed.values() for numbers in faces)
    if reason and boxes:
        raise CannotStartError(f"--faces {path}: this model can't pull boxes into place: {reason}")
    options.finds = f"file {hashlib.sha256(content).hexdigest()}"


def faces_of(jobs: Sequence[Job], listed: Mapping[str, list[Numbers]]) -> dict[str, list[Numbers]]:
    """A file's faces by the pictures' sources.

    It names a picture by its whole path, however that is written, by that below the input folder, or by an
    end of it that no other picture has: its file's name alone is the shortest. The longest one counts.
    """
    whole_paths = {os.path.realpath(name): name for name in listed if Path(name).is_absolute()}
    ends = {job: _ends(job.source) for job in jobs}
    taken = Counter(end for each in ends.values() for end in each)
    found: dict[str, list[Numbers]] = {}
    for job in jobs:
        whole = job.name.endswith(job.source.name)  # the output has the whole name where stems meet
        below = job.name if whole else f"{job.name}{job.source.suffix}"
        own = (end for end in ends[job] if end == below or taken[end] == 1)
        whole_path = whole_paths.get(os.path.realpath(job.source), "")
        named = next((name for name in (str(job.source), whole_path, *own, below) if name in listed), None)
        if named is not None:
            found[str(job.source)] = listed[named]
    return found


def _ends(path: Path) -> list[str]:
    """Of its whole path, the longest first: "album/me.jpg" and "me.jpg" are the last two."""
    parts = Path(os.path.abspath(path)).parts[1:]  # noqa: PTH100 - resolve would follow links
    return ["/".join(parts[index:]) for index in range(len(parts))]


def open_photos(options: argparse.Namespace, model: ExportedModel, path: Path) -> Photos | None:
    """How the model takes pictures; None: each is one frame. Raises CannotStartError."""
    if not options.finds:
        return None
    return Photos(model, open_finder(model, path), options.finds, options.listed, options.face_maps)


def join_faces(pieces: Iterable[bytes]) -> bytes:
    """faces.json: one list out of the pictures' pieces, a line for each."""
    return b"[\n" + b",\n".join(pieces) + b"\n]\n"
