"""Packs the weights in the box: ``python -m lisa.weights --checkpoint runs/drawn/best.pt``."""

import hashlib
from pathlib import Path

from lisa.errors import InputError, one_line_errors
from lisa.weights import DRAWN_FILE


def main(checkpoint: tuple[Path, ...], output: Path = DRAWN_FILE) -> None:
    """Packs a checkpoint as safetensors in half precision and prints the file's SHA-256.

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

        write_packed(mean_of([load(path) for path in checkpoint]), output)
        digest = hashlib.sha256(output.read_bytes()).hexdigest()
        print(f"{output}: {output.stat().st_size / 2**20:.1f} MiB, SHA-256 {digest}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
