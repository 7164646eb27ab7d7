"""Figures from the command line.

python -m lisa.figures compare --checkpoints lisa.pt unet.pt --data faces --output figure4.png
python -m lisa.figures grid --checkpoint lisa.pt --data faces --output figure5.png
python -m lisa.figures augmentation --data faces --output sheet.png
"""

from pathlib import Path

import tyro

from lisa.config import RECIPES
from lisa.data.source import SourceFlags
from lisa.errors import InputError, one_line_errors
from lisa.figures.comparison import compare, grid
from lisa.figures.png_files import require_figure
from lisa.labels import read_label_set


def augmentation(
    source: SourceFlags,
    output: Path,
    recipe: str = "best",
    size: int = 192,
    seed: int = 0,
    labels: str = "celebamask",
) -> None:
    """Draws six training pictures, each as it is and then augmented, every second view with its labels.

    Args:
        source: Which pictures; those of the training split are drawn.
        output: The PNG to write.
        recipe: Whose augmentation is drawn.
        size: Side of each picture, in pixels.
        seed: Seed of the views.
        labels: Label set of the masks: a built-in one, or a .toml or .json file, as --labels in training.
    """
    if recipe not in RECIPES:
        raise InputError(f"--recipe {recipe}: one of {', '.join(RECIPES)}")
    if size < 16:
        raise InputError(f"--size {size}: 16 pixels or more")
    require_figure(output)
    config = RECIPES[recipe]().augment
    pairs = source.pairs_of("train", read_label_set(labels))
    import torch  # takes seconds: --help and a wrong argument need not wait for it

    from lisa.figures.augmentation_sheet import draw_sheet

    torch.manual_seed(seed)
    draw_sheet(config, pairs, output, size)


def main() -> None:
    """Entry of ``python -m lisa.figures``."""
    with one_line_errors():
        commands = {"compare": compare, "grid": grid, "augmentation": augmentation}
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m lisa.figures")


if __name__ == "__main__":
    main()
