"""The beginning of a run: its faces, its state (new, or the last checkpoint's), and its settled config."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lisa.config import Config
from lisa.data.arrangement import measure_arrangement
from lisa.data.checking import check_pairs, ignored_notes
from lisa.data.epoch_batches import EpochBatches
from lisa.data.folders import find_pairs, has_split, unread_notes
from lisa.data.pairs import Pair, fingerprint
from lisa.data.parallel import available_cores
from lisa.data.repair import repair_sides
from lisa.data.shared_memory import FEW_WORKERS, batch_bytes, most_workers, require_shared_memory
from lisa.evaluation.evaluate import bytes_at_once, require_room
from lisa.labels.encoding import Encoding
from lisa.models import count_parameters
from lisa.run.run import Run
from lisa.training.initial import start_network
from lisa.training.memory import find_parts, largest_share, require_memory, require_normalisable
from lisa.training.passes import ON_CPU, require_compiler
from lisa.training.state import TrainState
from lisa.training.step import Step
from lisa.world import SMALL_BATCH, World

UNTOLD = ("train.auto_batch", "labels.")
"""An option whose outcome is told, not its own value; and the label set, which a run keeps."""


MOST_WORKERS = 12
"""Decoding processes of a GPU's rank: a pair takes one core 15 to 20 ms, and a GPU a few."""


class Faces(NamedTuple):
    """What a run reads."""

    train: list[Pair]
    val: list[Pair]
    notes: list[str]
    """What the user should know of the masks."""


def settle_workers(config: Config, world: World, val: Sequence[Pair]) -> Config:
    """The config with a number of decoding processes in place of -1.

    /dev/shm has room for their training batches, and for the pictures ``val`` of an evaluation.
    """
    data = config.data
    if data.workers >= 0:
        return config
    workers = FEW_WORKERS
    if world.device.type == "cuda":
        batch = batch_bytes(config.train.batch_size, world.world_size, data.size)
        room = most_workers(max(batch, bytes_at_once(val, world)), world.local_world_size)
        share = available_cores() // world.local_world_size - 1  # the rank itself needs one
        workers = max(FEW_WORKERS, min(share, MOST_WORKERS, room))
    return replace(config, data=replace(data, workers=workers))


def load_faces(config: Config, world: World) -> tuple[Config, Faces]:
    """Training and validation pairs, every file of which has been decoded once.

    With them the config, in which the number of processes that will decode them is settled.
    """
    data = config.data
    world.fail_together(config.require_learnable)
    train, val = world.fail_together(
        lambda: [
            find_pairs(data.root, split, config.encoding, data.exclude, data.val_share)
            for split in ("train", "val")
        ]
    )
    root = Path(data.root)
    splits = [split for split in ("train", "val") if world.is_main and has_split(root, split)]
    notes = [note for split in splits for note in unread_notes(root, split)]
    if data.repair:
        before = train
        train = world.fail_together(lambda: repair_sides(before, data.repair, data.root))
        count = sum(old != new for old, new in zip(before, train, strict=True))
        notes.append(f"{data.repair}: left and right exchanged in {count} of {len(train)} training masks")
    config = settle_workers(config, world, val)
    workers, batch = config.data.workers, batch_bytes(config.train.batch_size, world.world_size, data.size)
    world.fail_together(lambda: require_shared_memory(batch, workers, world.local_world_size))
    world.fail_together(lambda: require_room(val, workers, world))
    checked = check_pairs(train, world.gather_patiently, world.rank, world.world_size)
    also = check_pairs(val, world.gather_patiently, world.rank, world.world_size)
    notes += [f"train: {note}" for note in checked.notes] + [f"val: {note}" for note in also.notes]
    notes += encoding_notes(config.encoding)
    notes += absent_notes(config, checked.class_counts)
    return config, Faces(train, val, notes)


def encoding_notes(encoding: Encoding) -> list[str]:
    """What of the masks will not be learned as it is, and which labels no mask can have."""
    notes = ignored_notes(encoding)
    if encoding.missing:
        notes.append(f"no id of the encoding is {', '.join(encoding.missing)}: they can't be learned")
    return notes


def absent_notes(config: Config, counts: NDArray[np.int64]) -> list[str]:
    """Which labels no training mask has; ``counts`` are their pixels, (C,). A flip makes left of right."""
    labels, encoding = config.labels, config.encoding
    seen = counts + (counts[list(labels.flipped_ids)] if config.augment.flip > 0 else 0)
    named = zip(labels.names, seen, strict=True)
    absent = [name for name, count in named if count == 0 and name not in encoding.missing]
    return [f"no training mask has {', '.join(absent)}: nothing to learn from"] if absent else []


def begin(config: Config, world: World, faces: Faces, run: Run) -> tuple[Config, Step, EpochBatches]:
    """The settled config, the step with a state that is new or the last checkpoint's, and its batches."""
    train = config.train
    if train.compile:
        world.fail_together(lambda: require_compiler(world.device))
    torch.manual_seed(train.seed)
    saved, notes = run.restore(world.fail_together(lambda: fingerprint(faces.val)))
    before = None if saved is None else Config.from_dict(saved["config"])
    if before is not None:
        if train.init not in ("", before.train.init):
            notes.append(f"--init {train.init} changes nothing: the run goes on with its own weights")
        train = replace(train, init=before.train.init)
        config = replace(config, train=train)
    start = partial(start_network, config, faces.train, goes_on=before is not None)
    network, of_init, unlike = world.fail_together(start)
    network = network.to(world.device, memory_format=torch.channels_last)  # pyright: ignore
    batches = EpochBatches(
        len(faces.train), train.batch_size, train.seed, world.rank, world.world_size, train.views
    )
    state = TrainState(network, config, batches.steps, world)
    if saved is not None:
        world.fail_together(lambda: state.load_state_dict(saved["training"], str(run.folder.path), world))
    state.begun_with = state.begun_with or world.world_size
    step = Step(config, world, state)
    config = settle_parts(config, step, batches)
    if saved is not None and before is not None:
        notes += [*changes(before, config), *moved(step, saved["training"])]
    run.begin(config, state, arrangement_of(faces, config, world, saved))
    run.log.note(
        f"{config.model.name}: {count_parameters(network):,} parameters; {len(faces.train)} training and "
        f"{len(faces.val)} validation pictures; {world.world_size} x {world.device.type} in "
        f"{train.precision}; {run.folder.path}"
    )
    for note in of_init:
        run.log.note(f"{train.init}: {note}")
    if train.auto_batch:
        share = largest_share(batches, world)
        run.log.note(
            f"auto-batch: {-(-share // step.parts)} of a process's {share} pictures at a time, "
            f"accumulate = {config.train.accumulate}"
        )
    if train.compile and world.device.type == "cpu":
        notes.append(ON_CPU)
    for note in (*faces.notes, *unlike, *notes):
        run.log.warn(note)
    return config, step, batches


def arrangement_of(
    faces: Faces, config: Config, world: World, saved: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Where the parts of the training faces lie, on rank 0; a run that goes on keeps what it measured."""
    if saved is not None and "arrangement" in saved:
        return saved["arrangement"]
    return world.fail_together(
        lambda: measure_arrangement(faces.train, config.labels) if world.is_main else None
    )


def settle_parts(config: Config, step: Step, batches: EpochBatches) -> Config:
    """Cuts a rank's share of a batch into parts that fit, and joins the ranks; the config as settled.

    The parts are as large as the run began with, or smaller; with ``auto_batch`` as large as memory allows.
    Raises InputError if they don't fit into a GPU's memory.
    """
    state, world, train = step.state, step.world, config.train
    step.parts = -(-train.accumulate * state.begun_with // world.world_size)
    if train.auto_batch:
        step.parts = train.accumulate
        # Before the ranks join: SyncBatchNorm would wait for ranks without memory.
        step.parts = find_parts(step, batches, world)
        accumulate = -(-step.parts * world.world_size // state.begun_with)
        config = replace(config, train=replace(train, accumulate=accumulate, auto_batch=False))
    elif world.device.type == "cuda":
        require_memory(step, batches, world)
    step.join_ranks(max(1, train.batch_size // world.world_size // step.parts))
    smallest = batches.global_batch(batches.steps - 1) // world.world_size
    at_once = max(1, smallest // step.parts)
    world.fail_together(lambda: require_normalisable(state.network, config.data.size, at_once))
    return config


def changes(before: Config, now: Config) -> list[str]:
    """A line that names the options which are others than in the last checkpoint."""
    old, new = before.by_name(), now.by_name()
    # A checkpoint of an earlier version holds what was asked, not what was settled.
    told = [
        f"{name} {old[name]} -> {value}"
        for name, value in new.items()
        if name in old and old[name] != value and old[name] != "auto" and not name.startswith(UNTOLD)
    ]
    return [f"options changed since the last checkpoint: {', '.join(told)}"] if told else []


def moved(step: Step, saved: dict[str, Any]) -> list[str]:
    """What is not as it was in the state ``saved``: an epoch's length, the number of processes."""
    state, now, notes = step.state, step.world.world_size, list[str]()
    if state.batch != saved["batch"]:
        notes.append(
            f"an epoch has {state.steps_per_epoch} steps now: it goes on after {state.batch} of them, "
            f"where {saved['batch']} of another length were done"
        )
    if state.begun_with != now:
        notes.append(
            f"the run began with {state.begun_with} processes and goes on with {now}: batches of "
            f"{step.config.train.batch_size} as before, in {step.parts} part(s) per process"
        )
        train, device = step.config.train, step.world.device
        began = together(train.batch_size, state.begun_with, train.accumulate, device)
        goes_on = together(train.batch_size, now, step.parts, device)
        if goes_on < began:
            notes.append(
                f"BatchNorm normalises {goes_on} picture(s) at once, {began} when the run began: with "
                "--auto-batch it takes as many as memory allows"
            )
    return notes


def together(batch: int, ranks: int, parts: int, device: torch.device) -> int:
    """How many pictures BatchNorm normalises at once; :meth:`World.wrap` decides."""
    at_once = max(1, batch // ranks // parts)
    synchronised = device.type == "cuda" and at_once < SMALL_BATCH
    return at_once * ranks if synchronised else at_once
