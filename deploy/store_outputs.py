"""What stands in the output folder of deploy.cluster, wherever that lies: whose it is, and what is done."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.predictor.errors import CannotStartError
from deploy.predictor.inputs import HEAD, SETTINGS_FILE, Job
from deploy.predictor.output_folder import goes_on, in_another_run, is_leftover, refuse_foreign
from deploy.predictor.outputs import FACES, refuse_another, refuse_anothers
from deploy.predictor.photo_options import join_faces
from deploy.predictor.report import Report
from deploy.store import Store, StoreWriter


def done_before(
    target: Store, settings: dict[str, Any], outputs: list[list[str]], overwrite: bool
) -> set[str]:
    """The files in the output folder that were made with these settings; none if it must be claimed first.

    ``outputs`` are each picture's, and what is written beside them. Raises CannotStartError if the folder was
    begun with other settings, or has such files from elsewhere.
    """
    with target.reached():
        names = set(target.names())
        leftovers = {name for name in names if is_leftover(name)}
        leftovers = {name for name in leftovers if not in_another_run(name, names.__contains__)}
        for name in leftovers:  # of a killed run
            target.files.rm_file(target.path(name))
        names -= leftovers
        note = SETTINGS_FILE
        if note not in names:
            refuse_foreign(name for each in outputs for name in each if name in names)
            return set()
        if overwrite:
            return set()
        if not goes_on(target.files.cat_file(target.path(note)), settings):
            raise CannotStartError(
                f"{target.label}: begun with another model or other options ({note} there names them): "
                "choose another folder, or --overwrite"
            )
        # Maps from before the note are of other settings: predict.py leaves them until it comes to them.
        since = target.files.modified(target.path(note))
        return {name for name in names if target.files.modified(target.path(name)) >= since}


def forget(target: Store, names: Iterable[str]) -> None:
    """Removes those of the files that are there."""
    with target.reached():
        for name in {*names}.intersection(target.names()):
            target.files.rm_file(target.path(name))


def claim(target: Store, settings: dict[str, Any], outputs: list[list[str]]) -> None:
    """Notes the settings in the output folder, and removes the maps that were made with others."""
    forget(target, (each[-1] for each in outputs))  # each says that its picture is done
    with target.reached():
        target.write(SETTINGS_FILE, json.dumps(settings, indent=1).encode())


def refuse_made_of_others(target: Store, writer: StoreWriter, jobs: list[Job]) -> None:
    """Raises CannotStartError for a label map that was made of another picture."""
    if target.is_local:
        refuse_anothers(Path(target.root), writer, jobs)
        return
    have = set(target.names())
    there = {name: job for job in jobs for name in writer.pngs(job) if name in have}
    for (name, job), head in zip(there.items(), target.heads(list(there), HEAD), strict=True):
        refuse_another(target.path(name), name, head, writer, job)


def join_pieces(target: Store, writer: StoreWriter, jobs: list[Job], report: Report) -> None:
    """faces.json out of the pieces of the pictures that are done."""
    have = set(target.names())
    done = [job for job in jobs if have.issuperset(writer.outputs(job))]
    names = [f"{FACES}/{job.name}.json" for job in done]
    with report.writing(f"{FACES}.json"):
        target.write(f"{FACES}.json", join_faces(target.read(name) for name in names))
