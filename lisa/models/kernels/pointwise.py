"""1x1 convolution that reaches oneDNN from a single CPU thread.

torch sends a 1x1 convolution of fewer than 16 pictures on one thread to the BLAS library, at less than half
of oneDNN's rate. A 1x1 convolution treats all pixels alike, so the same map is viewed as 16 smaller pictures,
which go to oneDNN, forward and backward. On other devices, and under TorchScript, the module is a plain
``nn.Conv2d``.
"""

import torch
from torch import Tensor, nn

from lisa.models.kernels.fast_path import eager_on_cpu

ONEDNN_BATCH = 16


class PointwiseConv2d(nn.Conv2d):
    """1x1 convolution, (B,in,H,W) to (B,out,H,W)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B,in,H,W) to (B,out,H,W)."""
        if not torch.jit.is_scripting() and self._misses_onednn(input):
            return self._as_sixteen(input)
        return self._conv_forward(input, self.weight, self.bias)

    @torch.jit.unused
    def _misses_onednn(self, input: Tensor) -> bool:
        return (
            eager_on_cpu(input)
            and input.dtype != torch.float64
            and input.shape[0] < ONEDNN_BATCH
            and input.shape[0] * input.shape[2] * input.shape[3] % ONEDNN_BATCH == 0
            and torch.get_num_threads() == 1
        )

    @torch.jit.unused
    def _as_sixteen(self, input: Tensor) -> Tensor:
        batch, channels, height, width = input.shape
        pixels = input.permute(0, 2, 3, 1).reshape(ONEDNN_BATCH, -1, 1, channels)
        output = self._conv_forward(pixels.permute(0, 3, 1, 2), self.weight, self.bias)
        return output.permute(0, 2, 3, 1).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
