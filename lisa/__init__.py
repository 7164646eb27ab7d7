"""LISA: train, tune and ship a face parser of under two million parameters.

    import lisa

    parser = lisa.load()                     # or "lisa.ts", "best.pt", the report's author's best_model.pth
    face = parser("photo.jpg")
    face.ids, face.mask("hair", "hat"), face.areas["skin"], face.overlay()

    config = lisa.RECIPES["demo"]()          # or best, report; trains on the faces in data/synthetic
    lisa.fit(config)                         # in this process alone

``import lisa`` is instant: torch is imported when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lisa.config import RECIPES, Config
    from lisa.errors import InputError
    from lisa.loading import LabelMap, Parser, load
    from lisa.training.loop import fit
    from lisa.world import World

__all__ = ["RECIPES", "Config", "InputError", "LabelMap", "Parser", "World", "fit", "load"]

_HOMES = {
    "RECIPES": "lisa.config",
    "Config": "lisa.config",
    "InputError": "lisa.errors",
    "LabelMap": "lisa.loading",
    "Parser": "lisa.loading",
    "World": "lisa.world",
    "fit": "lisa.training.loop",
    "load": "lisa.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
