"""Between two steps: go on, save, stop, or fail together."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lisa.config import Config, DataConfig, ModelConfig, TrainConfig
from lisa.data import faces
from lisa.errors import InputError
from lisa.run import checkpoint
from lisa.training.lockstep import Order, propose, raise_first
from lisa.training.loop import fit
from lisa.world import World


def order(world: World, fault: InputError | None = None, save_due: bool = False) -> Order:
    return propose(world, fault, save_due)()


def test_a_rank_wishes_what_matters_most():
    world = World()
    assert order(world) is Order.GO_ON
    assert order(world, save_due=True) is Order.SAVE
    assert order(World(rank=1), save_due=True) is Order.GO_ON
    world.stop_asked = True
    assert order(world, save_due=True) is Order.STOP
    assert order(world, InputError("faces/2.png"), save_due=True) is Order.FAIL


def test_the_highest_wish_is_everybodys_order_and_is_waited_for_last():
    asked: list[int] = []

    class Two(World):
        def start_all_max(self, value: int) -> Callable[[], int]:
            asked.append(value)
            return lambda: asked.pop() + 2

    answer = propose(Two(), None, save_due=True)
    assert asked == [1]
    assert answer() is Order.FAIL
    assert asked == []


def test_another_ranks_fault_is_told_here():
    class Two(World):
        def all_gather(self, value: Any) -> list[Any]:
            return [value, ("rank 1 on b", "faces/9.png: truncated")]

    with pytest.raises(InputError, match=r"rank 1 on b: faces/9\.png: truncated, then go on with --resume"):
        raise_first(Two(world_size=2), None)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_the_loader_cannot_read_is_named_after_saving(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
):
    decode, read = faces.decode, list[int]()

    def damaged(pair: Any) -> Any:
        read.append(len(read))
        if len(read) == 5:
            raise InputError(f"{pair.image}: cannot identify image file")
        return decode(pair)

    monkeypatch.setattr(faces, "decode", damaged)
    config = Config(
        data=DataConfig(root=str(make_faces(train=8)), size=32, workers=workers),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        train=TrainConfig(epochs=1, batch_size=2),
        output=str(tmp_path / "run"),
    )
    with pytest.raises(InputError) as caught:
        fit(config, World())
    assert re.fullmatch(
        r"rank 0 on \S+: \S+\d\.png: cannot identify image file; .* go on with --resume", str(caught.value)
    )
    assert checkpoint.load(tmp_path / "run/last.pt")["training"]["batch"] == 2  # those that it could read
