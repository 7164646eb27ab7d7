"""The weights in the box as a model file: exported on first use and kept in the user's cache."""

import hashlib
import os
import sys
from pathlib import Path

from deploy.predictor.errors import CannotStartError
from deploy.predictor.model import FORMAT


def boxed_model() -> Path:
    """The model file; the export, with its parity gate, takes some seconds once.

    ``XDG_CACHE_HOME`` moves the cache from ~/.cache. Raises CannotStartError.
    """
    import torch

    from lisa.errors import InputError
    from lisa.weights import DRAWN, DRAWN_FILE

    made_of = hashlib.sha256(DRAWN_FILE.read_bytes() + f"{torch.__version__} {FORMAT}".encode()).hexdigest()
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a container's user whom nobody has named
        raise CannotStartError("no home folder to keep the exported weights in: set XDG_CACHE_HOME") from None
    path = cache / "lisa" / f"{DRAWN}-{made_of[:16]}.ts"
    if path.exists():
        return path
    from deploy.export import export

    print(f"no --model: exporting the weights in the box once, to {path}", file=sys.stderr)
    try:
        export(Path(DRAWN), path)
    except InputError as error:
        raise CannotStartError(str(error)) from None
    return path
