"""What the forward and backward pass compute in: fp32, or bf16 autocast with weights and losses in fp32."""

from dataclasses import replace

import torch

from lisa.config import Config
from lisa.world import World


def settle_precision(config: Config, world: World) -> Config:
    """The config with fp32 or bf16 in place of auto, which all ranks' devices decide together."""
    if config.train.precision != "auto":
        return config
    everywhere = all(world.all_gather(multiplies_bf16(world.device)))
    return replace(config, train=replace(config.train, precision="bf16" if everywhere else "fp32"))


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16 products; without them bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
