"""Whether a config may go on with a checkpoint's run."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lisa.config import Config, ModelConfig
from lisa.errors import InputError
from lisa.labels import LabelSet
from lisa.run.names import LAST


def require_same_run(saved: dict[str, Any], config: Config, folder: Path) -> None:
    """Raises InputError if ``saved``, the checkpoint in ``folder``, is of another network or other labels.

    Also if its masks had another encoding, or if it was trained with an option that is gone.
    """
    if saved["gone"]:
        gone = ", ".join(f"{name} = {value}" for name, value in saved["gone"].items())
        raise InputError(
            f"{folder}: trained with {gone}, which this version has not: go on with the one that began it, "
            f"or begin a new run with --init {folder / LAST}"
        )
    before = Config.from_dict(saved["config"])
    if before.model != config.model:
        raise InputError(
            f"{folder}: trained with {_changed(before.model, config.model)}: give it as before, or choose "
            "another --output"
        )
    if not _same_labels(before.labels, config.labels):
        raise InputError(
            f"{folder}: trained on {before.labels.told_from(config.labels)}, the config says "
            f"{config.labels.name}: give --labels as before, or begin a new run with --init"
        )
    if before.encoding.ids != config.encoding.ids:
        theirs, ours = (each.data.encoding or "''" for each in (before, config))
        raise InputError(
            f"{folder}: trained with --data.encoding {theirs}, the config says {ours}: give it as before, or "
            "begin a new run with --init"
        )


def _same_labels(before: LabelSet, now: LabelSet) -> bool:
    """Whether all is the same but the sets' names, and the order in which pairs are written."""
    return replace(before, name=now.name, pairs=now.pairs) == now and before.flipped_ids == now.flipped_ids


def _changed(before: ModelConfig, now: ModelConfig) -> str:
    """The settings of the network that differ, as options name them."""
    return ", ".join(
        f"model.{field.name.replace('_', '-')} {getattr(before, field.name)} (now {getattr(now, field.name)})"
        for field in fields(before)
        if getattr(before, field.name) != getattr(now, field.name)
    )
