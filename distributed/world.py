"""The World of a process group: what torchrun started, on NCCL or Gloo, with signals and teardown."""

import faulthandler
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, TextIO, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from distributed.exit import STOP_SIGNALS
from distributed.gpus import unused_gpus
from distributed.sync_batchnorm import synchronise_batchnorm
from lisa.errors import InputError
from lisa.system.console import console
from lisa.system.process import die_with_parent, flush_denormals
from lisa.world import SMALL_BATCH, World

T = TypeVar("T")

TIMEOUT = "LISA_TIMEOUT"
"""Names the seconds after which a waiting collective fails; torch's default on Gloo is half an hour."""

DEFAULT_TIMEOUT = 300

PATIENCE = 0.8
"""After this share of the timeout a silent rank writes down its stacks, and one without pictures gives up."""

TELL_SECONDS = 5.0
"""A rank that works alone for long tells the others so often."""

FLIGHT_RECORDS = "2000"
"""Collectives that NCCL's flight recorder remembers on each rank."""

_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Watchdog:
    """Dumps all threads' stacks into a log whenever ``seconds`` pass without a beat.

    faulthandler's own thread does it, which needs no GIL: also while the trainer hangs inside a collective.
    """

    def __init__(self, log: TextIO, seconds: float) -> None:
        self._log, self._seconds = log, seconds
        self.beat()

    def beat(self) -> None:
        """Begins to wait anew."""
        faulthandler.dump_traceback_later(self._seconds, file=self._log)

    def stop(self) -> None:
        """Waits no more."""
        faulthandler.cancel_dump_traceback_later()


@dataclass
class ProcessGroupWorld(World):
    """Answers for ``torch.distributed``; a World of one if there is no process group."""

    control: Any = None
    """Gloo group for flags and objects, so that they never wait for the GPU."""
    watchdog: Watchdog | None = None

    def all_sum(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all ranks, in place, on its device: NCCL or Gloo."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def all_max(self, value: int) -> int:
        """The highest of the ranks' values, by the control group."""
        return self.start_all_max(value)()

    def start_all_max(self, value: int) -> Callable[[], int]:
        """Begins all_max in one of Gloo's threads; the call of what it returns waits for it."""
        self.beat()
        if self.world_size == 1:
            return lambda: value
        seen = torch.tensor(value)
        work = dist.all_reduce(seen, op=dist.ReduceOp.MAX, group=self.control, async_op=True)
        assert work is not None

        def answer() -> int:
            work.wait()
            return int(seen)

        return answer

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's value, pickled, by the control group."""
        values: list[Any] = [value] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(values, value, group=self.control)
        return values

    def fail_together_patiently(self, action: Callable[[], T]) -> T:
        """A thread tells the others that this rank still works, whose collectives would time out."""
        done = threading.Event()

        def tell() -> None:
            while self.any(not done.is_set()):
                done.wait(TELL_SECONDS)

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            value, fault = action(), None
        except InputError as error:
            value, fault = None, error
        finally:
            done.set()
            teller.join()

        def settled() -> T:
            if fault is not None:
                raise fault
            return cast(T, value)

        return self.fail_together(settled)

    def barrier(self) -> None:
        """Returns when every rank has come here, without a wait for the GPU."""
        if self.world_size > 1:
            dist.barrier(group=self.control)

    def wrap(self, network: nn.Module, pictures_at_once: int, gradients: str = "fp32") -> nn.Module:
        """The network in DistributedDataParallel; on GPUs with SyncBatchNorm below 16 pictures at once."""
        if self.world_size == 1:
            return network
        if pictures_at_once < SMALL_BATCH:
            if self.device.type == "cuda":
                network = synchronise_batchnorm(network)
            elif self.is_main:
                console.print(
                    f"BatchNorm: each process normalises its own {pictures_at_once} pictures "
                    "(statistics span all processes on GPUs alone)",
                    highlight=False,
                    soft_wrap=True,
                )
        devices = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():
            # torch 2.15 renames broadcast_buffers; before it the new name does not exist.
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = DistributedDataParallel(
                network, devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        if gradients == "bf16":
            wrapped.register_comm_hook(None, bf16_compress_hook)
        return wrapped

    def accumulating(self, network: nn.Module) -> AbstractContextManager[object]:
        """DDP's no_sync."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()

    def average_buffers(self, network: nn.Module) -> None:
        """Running statistics become the ranks' mean, by one collective; SyncBatchNorm's are equal already."""
        if self.world_size == 1 or any(isinstance(module, nn.SyncBatchNorm) for module in network.modules()):
            return
        buffers = [buffer for name, buffer in network.named_buffers() if "running_" in name]
        mean = torch.cat([buffer.flatten() for buffer in buffers])
        dist.all_reduce(mean)
        mean /= self.world_size
        parts = mean.split([buffer.numel() for buffer in buffers])
        views = [part.view_as(buffer) for part, buffer in zip(parts, buffers, strict=True)]
        torch._foreach_copy_(buffers, views)  # pyright: ignore[reportPrivateUsage]

    def watch(self, log: TextIO | None) -> None:
        """Begins to watch for silence, or ends it; the stacks come before the others' collectives give up."""
        if self.watchdog is not None:
            self.watchdog.stop()
        self.watchdog = None if log is None else Watchdog(log, self.patience)

    def beat(self) -> None:
        """The watchdog begins to wait anew."""
        if self.watchdog is not None:
            self.watchdog.beat()


def timeout() -> timedelta:
    """How long a collective may wait. Raises InputError if LISA_TIMEOUT holds no number of seconds."""
    seconds = os.environ.get(TIMEOUT, str(DEFAULT_TIMEOUT))
    if not seconds.isdecimal() or int(seconds) < 1:
        raise InputError(f"{TIMEOUT}={seconds}: whole seconds, at least 1")
    return timedelta(seconds=int(seconds))


@contextmanager
def open_world() -> Generator[ProcessGroupWorld]:
    """The World that the environment describes, torn down at an orderly end.

    Without torchrun it is a single process. Raises InputError for a half-set environment.
    """
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if "RANK" in os.environ and missing:
        raise InputError(f"RANK is set, but not {', '.join(missing)}: start with ./launch.sh or torchrun")
    patience = timeout()
    alone = "RANK" in missing
    world = ProcessGroupWorld(
        rank=0 if alone else int(os.environ["RANK"]),
        world_size=1 if alone else int(os.environ["WORLD_SIZE"]),
        local_world_size=1 if alone else int(os.environ["LOCAL_WORLD_SIZE"]),
        device=local_device(0 if alone else int(os.environ["LOCAL_RANK"])),
        patience=PATIENCE * patience.total_seconds(),
    )
    _settle_process(world)
    if world.world_size > 1:
        if world.device.type == "cuda":
            # NCCL's flight recorder: each rank's last collectives, dumped when one times out.
            os.environ.setdefault("TORCH_FR_BUFFER_SIZE", FLIGHT_RECORDS)
            os.environ.setdefault("TORCH_FR_DUMP_ON_TIMEOUT", "1")
        backend = "nccl" if world.device.type == "cuda" else "gloo"
        device_id = world.device if world.device.type == "cuda" else None
        dist.init_process_group(backend, timeout=patience, device_id=device_id)
        world.control = dist.new_group(backend="gloo", timeout=patience)
    yield world
    # After an error nothing is torn down: NCCL would wait for peers that wait for this rank (see finish).
    if dist.is_initialized():
        # The signal handlers hold the world for ever. Its group's threads must end: where the interpreter
        # goes away under a thread that holds a tensor, the process aborts, and a finished run looks failed.
        world.control = None
        dist.destroy_process_group()


def local_device(local_rank: int) -> torch.device:
    """This rank's GPU, which has computed something, or the CPU; local rank 0 warns of GPUs left unused.

    Raises InputError for more processes than GPUs, and for a GPU that computes nothing.
    """
    if not torch.cuda.is_available():
        if local_rank == 0 and (warning := unused_gpus(os.environ)):
            print(f"warning: {warning}", file=sys.stderr, flush=True)
        if local_rank == 0 and torch.backends.mps.is_available():
            line = "Apple's GPU is not used: MPS has no float64, in which losses and counts are summed"
            print(f"warning: {line}; this runs on the CPU", file=sys.stderr, flush=True)
        return torch.device("cpu")
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if processes > gpus:
        raise InputError(f"{processes} processes for this machine's {gpus} GPUs: NPROC is at most {gpus}")
    device = torch.device("cuda", local_rank)
    try:
        torch.cuda.set_device(device)
        torch.ones(1, device=device).add(1)
    except RuntimeError as error:  # a wheel without kernels for so old a GPU, one that another process holds
        raise InputError(
            f"{device} computes nothing: {str(error).strip().splitlines()[0]} (torch {torch.__version__} has "
            f"kernels for {', '.join(torch.cuda.get_arch_list())}; a wheel for an older CUDA has others; "
            "CUDA_VISIBLE_DEVICES= trains on the CPU)"
        ) from None
    return device


def _settle_process(world: ProcessGroupWorld) -> None:
    """Signals ask for a stop, a dead agent takes its workers along, denormals count as zero."""

    def ask(signum: int, frame: FrameType | None) -> None:
        world.ask_to_stop()

    for number in STOP_SIGNALS:
        signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        # torchrun's agent killed with -9 would leave its workers training.
        die_with_parent()
    flush_denormals()
