"""Examines a folder of faces: what can't be used, what is labelled wrongly, what comes twice.

    python -m lisa.data.doctor --data data/celebamask --json report.json --exclude-to exclude.txt

Exit code 0 if nothing was found, 1 if something was, 2 if the folder can't be examined.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lisa.data.checking import EXPLAINED, ignored_notes, judge_looks, notes_on
from lisa.data.doctor.duplicates import near_pairs
from lisa.data.doctor.examination import Examination, Finding, examine
from lisa.data.folders import SPLITS, has_split, match_files, split_folders, unread_notes
from lisa.data.orientation import UNDECIDED, settle_orientations
from lisa.data.pairs import IMAGE_SUFFIXES
from lisa.data.parallel import parallel_map
from lisa.data.source import FolderFlags
from lisa.errors import InputError, one_line_errors
from lisa.labels import LabelSet, read_label_set
from lisa.labels.encoding import OWN_IDS, Encoding, read_encoding
from lisa.system.files import printable, write_json, write_whole

KINDS = {
    "unpaired": "picture or mask without its partner",
    "unreadable": "file that can't be decoded",
    "size": "mask of another size than its picture",
    "orientation": "mask of which it is unknown whether EXIF turns it with its picture",
    "lossy": "mask in a format that changes ids, such as JPEG",
    "colours": "mask in colours that are not the labels'",
    "ids": "mask with ids that are no class",
    "binary": "masks with two values only: face or not",
    "rims": "mask that went through JPEG or smooth resizing",
    "scaled": "masks whose ids are multiplied, to be visible",
    "shifted": "masks whose ids are one too high or too low",
    "label-order": "masks in another label order",
    "empty": "masks without a label, or all background",
    "left-right": "left and right labels reversed",
    "missing": "large face without eyes or nose",
    "speckle": "mask with many tiny islands",
    "duplicate": "picture that comes twice in a split",
    "leak": "picture that is in two splits",
}
"""Every kind of finding, in the order of the report."""
BY_IDS = ("left-right", "missing", "speckle", "empty")
"""Kinds of findings that mean nothing if the masks are in another order."""
SHOWN = 5


@dataclass(frozen=True)
class Diagnosis:
    """All findings in a folder, and how often each class comes."""

    root: Path
    findings: list[Finding]
    pictures: dict[str, int]
    """Readable pairs per split."""
    presence: dict[str, NDArray[np.int64]]
    """Pictures that hold each class, (C,) per split."""
    pixels: dict[str, NDArray[np.int64]]
    """Pixels of each class, (C,) per split."""
    labels: LabelSet
    notes: tuple[str, ...] = ()
    """How masks were read, where that is no matter of course."""

    def to_json(self) -> dict[str, Any]:
        """Everything, with paths from the root on."""
        return {
            "root": str(self.root),
            "pictures": self.pictures,
            "notes": list(self.notes),
            "findings": [
                {"kind": finding.kind, "file": relative(finding.file, self.root), "detail": finding.detail}
                for finding in self.findings
            ],
            "classes": {
                split: {
                    name: {
                        "pictures": int(self.presence[split][index]),
                        "pixels": int(self.pixels[split][index]),
                    }
                    for index, name in enumerate(self.labels.names)
                }
                for split in self.pictures
            },
        }


def relative(path: Path, root: Path) -> str:
    """The path from the root on, with forward slashes."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def diagnose(root: Path, encoding: Encoding = OWN_IDS, workers: int | None = None) -> Diagnosis:
    """Examine every split under ``root``, in either layout.

    Raises:
        InputError: no split there.
    """
    findings: list[Finding] = []
    notes: list[str] = []
    splits = [split for split in SPLITS if has_split(root, split)]
    if not splits:
        split_folders(root, SPLITS[0])  # raises, and says where it looked
    seen: dict[str, list[Examination]] = {}
    matched = {split: match_files(root, split, encoding) for split in splits}
    for split, (pairs, misfits) in matched.items():
        if not pairs and not misfits:
            folder, _ = split_folders(root, split)
            suffixes = ", ".join(IMAGE_SUFFIXES)
            raise InputError(f"{folder}: no pictures ({suffixes}) in it; subfolders are not read")
    settled = {split: settle_orientations(pairs) for split, (pairs, _) in matched.items()}
    jobs = [pair for pairs, _ in settled.values() for pair in pairs]
    results = parallel_map(examine, jobs, "examining faces", workers)
    for split, (pairs, undecided) in settled.items():
        findings += [Finding("unpaired", misfit.path, misfit.problem) for misfit in matched[split][1]]
        findings += [Finding("orientation", pair.mask, UNDECIDED) for pair in undecided]
        seen[split] = [next(results) for _ in pairs]
        findings += _findings(seen[split], split_folders(root, split)[1], encoding)
        looks = [examination.look for examination in seen[split]]
        notes += [f"{split}: {note}" for note in notes_on(looks, encoding.labels)]
    next(results, None)  # ends the progress bar
    counts = {split: _counts(examinations) for split, examinations in seen.items()}
    findings += _copies(root, seen)
    order = list(KINDS)
    findings.sort(key=lambda finding: (order.index(finding.kind), str(finding.file)))
    classes = {split: rows[:, : len(encoding.labels)] for split, rows in counts.items()}
    return Diagnosis(
        root,
        findings,
        {split: len(rows) for split, rows in classes.items()},
        {split: (rows > 0).sum(0) for split, rows in classes.items()},
        {split: rows.sum(0) for split, rows in classes.items()},
        encoding.labels,
        (*notes, *(note for split in splits for note in unread_notes(root, split)), *ignored_notes(encoding)),
    )


def _findings(examinations: Sequence[Examination], masks: Path, encoding: Encoding) -> Iterator[Finding]:
    """All findings of a split. One on all its masks stands for those on single masks that follow from it."""
    verdict = judge_looks([examination.look for examination in examinations], encoding)
    if verdict is not None:
        yield Finding(verdict.kind, masks, verdict.detail, whole_split=True)
    for examination in examinations:
        for finding in examination.findings:
            if verdict is None or finding.kind not in (*EXPLAINED, *BY_IDS):
                yield finding


def _counts(examinations: Sequence[Examination]) -> NDArray[np.int64]:
    """Pixels per id of the readable pairs, (N, 256)."""
    rows = [examination.look.counts for examination in examinations if examination.look.fault is None]
    return np.array(rows, np.int64).reshape(-1, 256)


def _copies(root: Path, seen: dict[str, list[Examination]]) -> Iterator[Finding]:
    """Duplicates, one finding per superfluous picture. Of a leak the copy in the earlier split is at fault:
    a picture that is also in val or test must not be trained on."""
    flat = [(split, one) for split, many in seen.items() for one in many if one.fingerprint is not None]
    prints = np.array([one.fingerprint for _, one in flat], bool)
    blamed: set[int] = set()
    for first, second, bits in near_pairs(prints):
        (split, one), (other_split, other) = flat[first], flat[second]
        # Splits come in the order train, val, test, so that of a leak ``first`` is the one to leave out.
        kind, culprit, twin = ("leak", first, other) if split != other_split else ("duplicate", second, one)
        if culprit in blamed:
            continue
        blamed.add(culprit)
        likeness = "the same picture as" if bits == 0 else f"nearly ({bits} of 256 bits differ)"
        yield Finding(kind, flat[culprit][1].pair.image, f"{likeness} {relative(twin.pair.image, root)}")


def show(diagnosis: Diagnosis, console: Console) -> None:
    """The findings by kind with some examples, and the classes of each split."""
    table = Table(title=escape(printable(f"findings in {diagnosis.root}")), show_lines=True)
    table.add_column("kind")
    table.add_column("files", justify="right")
    table.add_column("what it means")
    table.add_column("examples", overflow="fold")
    by_kind = Counter(finding.kind for finding in diagnosis.findings)
    for kind, meaning in KINDS.items():
        examples = [finding for finding in diagnosis.findings if finding.kind == kind]
        shown = [f"{relative(item.file, diagnosis.root)}: {item.detail}" for item in examples[:SHOWN]]
        more = [f"... and {len(examples) - SHOWN} more"] if len(examples) > SHOWN else []
        table.add_row(kind, str(by_kind[kind]), meaning, escape(printable("\n".join(shown + more))))
    console.print(table)
    for note in diagnosis.notes:
        console.print(escape(printable(note)))
    classes = Table(title="classes: % of the split's pictures, % of its pixels")
    classes.add_column("class")
    for split, count in diagnosis.pictures.items():
        classes.add_column(f"{split} ({count:,})", justify="right")
    for index, name in enumerate(diagnosis.labels.names):
        cells = [
            f"{100 * diagnosis.presence[split][index] / max(count, 1):5.1f} "
            f"{100 * diagnosis.pixels[split][index] / max(diagnosis.pixels[split].sum(), 1):6.2f}"
            for split, count in diagnosis.pictures.items()
        ]
        classes.add_row(name, *cells)
    console.print(classes)


def exclusions(diagnosis: Diagnosis) -> str:
    """The list that ``data.exclude`` takes: all files at fault."""
    # Without a whole split nothing would be left.
    found = [finding for finding in diagnosis.findings if not finding.whole_split]
    return file_list(found, diagnosis.root, "to leave out")


def repairs(diagnosis: Diagnosis) -> str:
    """The list that ``data.repair`` takes: faces that an exchange of left and right makes right.

    Where only the ears are reversed, say, it would reverse the eyes.
    """
    found = [finding for finding in diagnosis.findings if finding.mended_by_swap]
    return file_list(found, diagnosis.root, "with left and right reversed")


def file_list(findings: Sequence[Finding], root: Path, purpose: str) -> str:
    """Each file once, its reasons as comments above it."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        reasons.setdefault(relative(finding.file, root), []).append(f"{finding.kind}: {finding.detail}")
    lines = [f"# {len(reasons)} files {purpose}, found by lisa.data.doctor"]
    for file, why in sorted(reasons.items()):
        lines += [*(f"# {reason}" for reason in why), file]
    return "\n".join(lines) + "\n"


def write_list(path: Path, content: str) -> None:
    """Names in it may be no UTF-8. Raises InputError if it can't be written."""
    write_whole(path, content.encode("utf-8", "surrogateescape"))


def main(
    folder: FolderFlags,
    json: Path | None = None,
    exclude_to: Path | None = None,
    repair_to: Path | None = None,
    workers: int | None = None,
    labels: str = "celebamask",
) -> None:
    """Examine a folder of faces.

    Args:
        folder: Which faces.
        json: Write all findings and class counts to this file.
        exclude_to: Write the files at fault to this list, for training with --data.exclude.
        repair_to: Write the masks with left and right reversed to this list, for training with --data.repair,
            which exchanges them.
        workers: Processes; all available cores by default.
        labels: Label set of the masks: a built-in one, or a .toml or .json file, as --labels in training.
    """
    with one_line_errors():
        encoding = read_encoding(folder.encoding, read_label_set(labels))
        for path in filter(None, (json, exclude_to, repair_to)):  # the examination takes minutes
            if path.is_dir() or not path.parent.is_dir():
                raise InputError(f"can't write {path}: {'a folder' if path.is_dir() else 'no such folder'}")
            if not os.access(path.parent, os.W_OK):
                raise InputError(f"can't write {path}: Permission denied")
        diagnosis = diagnose(folder.data, encoding, workers)
        show(diagnosis, Console())
        if json is not None:
            write_json(json, diagnosis.to_json())
        if exclude_to is not None:
            write_list(exclude_to, exclusions(diagnosis))
        if repair_to is not None:
            write_list(repair_to, repairs(diagnosis))
        sys.exit(1 if diagnosis.findings else 0)
