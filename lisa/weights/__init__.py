"""The weights in the box: LISA, trained on drawn faces alone (docs/model_card.md)."""

from pathlib import Path

DRAWN = "drawn"
"""What commands call them in place of a checkpoint's path."""

DRAWN_FILE = Path(__file__).with_name("drawn.safetensors")


def resolve(checkpoint: str | Path) -> Path:
    """The path of a checkpoint; ``drawn`` names the weights in the box."""
    return DRAWN_FILE if str(checkpoint) == DRAWN else Path(checkpoint)
