"""Recipes: whole configs under a name, the command line's first word."""

from collections.abc import Callable

from lisa.config.schema import (
    AugmentConfig,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)

BOUND = 8.0
"""model.bound of our recipes: no photograph explodes, and networks learn as well (docs/results.md)."""


def report() -> Config:
    """The report's recipe (Section 3.1 and the published training script).

    Its 30,000 pictures, made offline from 5,000, are six augmented views per epoch here.
    """
    return Config(
        optim=OptimConfig(
            name="adam", lr=1e-3, weight_decay=1e-4, schedule="plateau", min_lr=0, clip_norm=0, ema_decay=0
        ),
        train=TrainConfig(epochs=100, batch_size=40, views=6, patience=20),
    )


def best() -> Config:
    """Ours: Muon, warm-up and cosine, EMA, Lovasz, stronger geometry, noise, pasted accessories, bounds.

    docs/results.md has what was measured of its parts. LISA multiplies features in each block: without the
    noise it fails on photographs with a grain that the eye hardly sees, without bounds on one of hundreds.
    """
    return Config(
        model=ModelConfig(bound=BOUND),
        augment=AugmentConfig(rotation=15, scale=0.2, shift=0.05, hue=0.05, noise=0.05, paste=0.5),
        loss=LossConfig(lovasz=1.0),
        optim=OptimConfig(name="muon", lr=4e-3),
        train=TrainConfig(epochs=300, batch_size=8, patience=60),
    )


def demo() -> Config:
    """A few minutes on two CPU cores, on synthetic faces, from the weights in the box.

    From nothing, minutes make a network that is poor on photographs.
    """
    return Config(
        data=DataConfig(size=128, workers=1),
        model=ModelConfig(bound=BOUND),
        augment=AugmentConfig(hue=0.05, noise=0.05, texture=0.3),
        loss=LossConfig(lovasz=1.0),
        optim=OptimConfig(name="muon", lr=2.5e-4, ema_decay=0.98),
        train=TrainConfig(init="drawn", epochs=1, batch_size=8),
        output="runs/demo",
    )


def finder() -> Config:
    """A small network that finds faces in whole photographs, for ``deploy.export --finder``.

    A quarter of the faces stay aligned, so that the best epoch on aligned val faces is the best finder's.
    """
    return Config(
        data=DataConfig(size=96),
        model=ModelConfig(bound=BOUND),
        augment=AugmentConfig(rotation=10, scale=0.1, hue=0.05, noise=0.05, wide=0.7, negatives=0.08),
        loss=LossConfig(lovasz=1.0),
        optim=OptimConfig(name="muon", lr=4e-3),
        train=TrainConfig(epochs=24, batch_size=8),
        output="runs/finder",
    )


def drawn() -> Config:
    """The weights in the box: drawn faces alone, whose drawing varies far beyond what photographs show.

    A third of them lie anywhere on clutter, so that the network finds faces in whole photographs too.
    docs/model_card.md has its commands and figures.
    """
    return Config(
        data=DataConfig(root="data/drawn", size=96, workers=1),
        model=ModelConfig(bound=BOUND),
        augment=AugmentConfig(
            rotation=12, scale=0.15, shift=0.04, hue=0.08, blur=1.0, noise=0.05, wide=0.3, negatives=0.04
        ),
        loss=LossConfig(lovasz=1.0),
        optim=OptimConfig(name="muon", lr=4e-3),
        train=TrainConfig(epochs=2, batch_size=8),
        output="runs/drawn",
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "report": report,
    "best": best,
    "demo": demo,
    "finder": finder,
    "drawn": drawn,
}
"""What the command line's first word may be."""
