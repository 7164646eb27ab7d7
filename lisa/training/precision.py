"""What the forward and backward pass compute in: fp32, tf32, or bf16 with weights and losses in fp32."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import torch

from lisa.config import Config, TrainConfig
from lisa.evaluation.float32 import IEEE, TF32, float32_precision
from lisa.world import World


def settle_precision(config: Config, world: World) -> Config:
    """The config with fp32 or bf16 in place of auto, which all ranks' devices decide together."""
    if config.train.precision != "auto":
        return config
    everywhere = all(world.all_gather(multiplies_bf16(world.device)))
    return replace(config, train=replace(config.train, precision="bf16" if everywhere else "fp32"))


@contextmanager
def arithmetic(train: TrainConfig, device: torch.device) -> Generator[None]:
    """Products of float32 and the choice of kernels inside are what the config says."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS demands it
        # It warns of an operation that has no such kernel: none of ours is worth losing the run for.
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with float32_precision(TF32 if train.precision == "tf32" else IEEE, device):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16 products; without them bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
