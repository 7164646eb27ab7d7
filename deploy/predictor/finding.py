"""The finder inside a model file: its second network, or its only one."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from .errors import CannotStartError
from .faces.arrangement import Arrangement
from .faces.finder import Finder
from .model import ExportedModel, load_script

FINDER_FILE = "finder.ts"
"""The second network, in the model file's archive: float16 weights, run in the first one's precision."""

UNSAID = "its file says nothing of how to find them: export it again, as .ts"


def reason_against(metadata: dict[str, Any]) -> str:
    """Why a model can't find faces; empty if it can."""
    return str(metadata.get("faces", {"reason": UNSAID}).get("reason", ""))


def open_finder(model: ExportedModel, path: Path) -> Finder | None:
    """The model's finder, on the model's device; None if it has none. Raises CannotStartError."""
    if reason_against(model.metadata):
        return None
    content = model.metadata["faces"]
    script = model.engine
    if not content["own"]:
        try:
            with zipfile.ZipFile(path) as archive:
                file = io.BytesIO(archive.read(FINDER_FILE))
            script = load_script(file, model.device, model.precision)
            script.dense  # noqa: B018 - another program's network has none
        except (AttributeError, RuntimeError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CannotStartError(f"{path}: its finder can't be loaded ({error})") from None

    def dense(images: torch.Tensor) -> torch.Tensor:
        with model.turn:
            return script.dense(images.to(model.device))

    arrangement = Arrangement.from_metadata(content)
    return Finder(dense, arrangement, int(content["size"]), int(content["window"]))
