"""Packs the weights in the box: ``python -m lisa.weights --checkpoint runs/drawn/best.pt``."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from lisa.errors import InputError, one_line_errors
from lisa.weights import DRAWN_FILE

FACES = 64
"""Drawn faces whose products are measured."""


def main(checkpoint: tuple[Path, ...], output: Path = DRAWN_FILE) -> None:
    """Packs a checkpoint as safetensors in half precision and prints the file's SHA-256.

    A LISA that was trained without a narrow bound is rescaled (lisa.models.rescale), so that a run can begin
    with it within the bound of random weights, where no photograph explodes.

    Args:
        checkpoint: best.pt of a run, or drawn: the weights in the box. Of several, each begun from the one
            before, the mean of their weights is packed (Wortsman et al., ICML 2022), all else is the last's.
        output: The file to write; by default the weights in the box.
    """
    with one_line_errors():
        if not checkpoint:
            raise InputError("--checkpoint: name one or more")
        from lisa.run.checkpoint import load
        from lisa.weights.packed import mean_of, write_packed

        write_packed(_within_bounds(mean_of([load(path) for path in checkpoint])), output)
        digest = hashlib.sha256(output.read_bytes()).hexdigest()
        print(f"{output}: {output.stat().st_size / 2**20:.1f} MiB, SHA-256 {digest}")


def _within_bounds(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The same network within NARROW_BOUND; half of it is what drawn faces reach."""
    import torch

    from lisa.config import Config
    from lisa.config.schema import NARROW_BOUND
    from lisa.data.synthetic import draw_face
    from lisa.face_parser import FaceParser
    from lisa.models import build
    from lisa.models.lisa import LISA
    from lisa.models.rescale import rescale
    from lisa.run.checkpoint import load_weights

    config = Config.from_dict(checkpoint["config"])
    free, size = replace(config.model, bound=0.0), config.data.size
    network = build(free, len(config.labels)).eval()
    if not isinstance(network, LISA) or 0 < config.model.within(NARROW_BOUND).bound <= NARROW_BOUND:  # pyright: ignore
        return checkpoint
    load_weights(network, checkpoint["weights"], "checkpoint")
    parser = FaceParser(network, size)
    faces = (torch.from_numpy(draw_face(seed, size)[0].copy()) for seed in range(FACES))
    pictures = (parser.normalise(face.permute(2, 0, 1)[None]) for face in faces)
    rescale(network, pictures, NARROW_BOUND / 2)
    config = replace(config, model=replace(free, bound=NARROW_BOUND))
    return {**checkpoint, "weights": network.state_dict(), "config": config.to_dict()}


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
