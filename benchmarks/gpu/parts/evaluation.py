"""Milliseconds of evaluation per picture, by decoding processes, with and without a loss."""

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import timed
from lisa.config import LossConfig, ModelConfig
from lisa.data.folders import find_pairs
from lisa.evaluation.evaluate import evaluate
from lisa.losses import SegmentationLoss
from lisa.models import build
from lisa.world import World


def run(bench: Bench) -> None:
    """A row each, after one evaluation to warm up."""
    size, world = bench.pick(512, 32), World(device=bench.device)
    pairs = find_pairs(bench.data, "val")[: bench.pick(200, 2)]
    torch.manual_seed(0)
    network = build(ModelConfig())
    loss = SegmentationLoss(LossConfig(lovasz=1)).to(bench.device)
    for workers in bench.pick((0, 2, 8), (0,)):
        for of_loss in (None, loss):
            if bench.no_time(f"{workers} workers"):
                return
            first, second = (
                timed(lambda: evaluate(network, size, pairs, world, of_loss, workers), bench.device)  # noqa: B023
                for _ in range(2)
            )
            bench.row(
                f"{len(pairs)} pictures at {size}x{size}",
                decoding_processes=float(workers),
                with_loss=of_loss is not None,
                first_ms_a_picture=1000 * first / len(pairs),
                ms_a_picture=1000 * second / len(pairs),
            )
