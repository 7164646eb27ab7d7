"""Network and loss as one module: DistributedDataParallel wraps it, ``--train.compile`` compiles it.

Checkpoints hold the network inside, and evaluation runs it as it is: compiling changes no name and no weight.
"""

import subprocess

import torch
from torch import Tensor, nn

from lisa.config import Config
from lisa.errors import InputError
from lisa.face_parser import FaceParser
from lisa.losses import SegmentationLoss

BACKEND = "inductor"
"""What torch.compile writes a graph's kernels with: Triton's on a GPU, C++ on a CPU."""

MOST_GRAPHS = 64
"""Each shape is a graph of its own: a full batch and an epoch's last one, and their parts."""

ON_CPU = "--train.compile on the CPU takes torch's kernels in place of this project's, which are faster there"


class Passes(nn.Module):
    """Pictures and masks to their loss, in the run's precision; without masks, pictures to logits."""

    def __init__(self, network: nn.Module, config: Config, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.loss = SegmentationLoss(config.loss)
        self.normalise = FaceParser(nn.Identity(), config.data.size).to(device).normalise
        self.device_type = device.type
        self.bf16 = config.train.precision == "bf16"

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """(B,3,H,W) RGB in 0..255 and (B,H,W) integer ids to the loss (); without masks to logits."""
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.network(self.normalise(images))
        return logits if masks is None else self.loss(logits, masks)


def compile_passes(passes: Passes, backend: str | None = None) -> None:
    """From now on each call is one graph, compiled by ``backend`` (BACKEND) when its shape first comes.

    Shapes are static, so that the graphs of a resumed run do not depend on which shape came first.
    """
    from torch._dynamo import config as dynamo

    # DDP wraps what is compiled. Its own graph splitter would refuse checkpointed blocks, and has nothing to
    # split: the gradients of a network below 25 MB are exchanged at once.
    dynamo.optimize_ddp = False
    dynamo.recompile_limit = MOST_GRAPHS
    # Random numbers as eager steps draw them: the two forward passes of a part must draw the same.
    backend = backend or BACKEND
    options = {"fallback_random": True} if backend == "inductor" else None
    for module in (passes, passes.loss):
        module.compile(fullgraph=True, dynamic=False, backend=backend, options=options)


def require_compiler(device: torch.device) -> None:
    """Raises InputError if nothing can be compiled here: no C++ compiler, no Triton, too old a GPU."""
    from torch._dynamo.exc import TorchDynamoException

    def square(x: Tensor) -> Tensor:
        return x.square()

    try:
        torch.compile(square, backend=BACKEND, fullgraph=True)(torch.ones(8, device=device))
    except (TorchDynamoException, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"--train.compile: torch.compile does not work here: {reason[0]}") from error
