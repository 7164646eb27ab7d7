"""How often a checkpoint is due."""

import pytest

from lisa.config import TrainConfig
from lisa.config.checkpoint_every import Cadence, Every, parse_every
from lisa.errors import InputError


def test_steps_minutes_both_or_neither():
    assert parse_every("200steps") == Every(200, None)
    assert parse_every("1step") == Every(1, None)
    assert parse_every("0.5min") == Every(None, 30)
    assert parse_every("200steps, 10min") == Every(200, 600)
    assert parse_every("epoch") == Every(None, None)


@pytest.mark.parametrize("text", ["", "200", "0steps", "10 minutes", "-1min", "1min,epoch"])
def test_anything_else_is_refused(text: str):
    with pytest.raises(InputError, match=r"train\.checkpoint_every = .*: 200steps, 10min"):
        TrainConfig(checkpoint_every=text)


def test_due_counts_from_the_last_checkpoint():
    cadence = Cadence("3steps", step=5)
    assert [step for step in range(5, 10) if cadence.due(step)] == [8, 9]
    cadence.saved(9)
    assert [step for step in range(9, 14) if cadence.due(step)] == [12, 13]
    assert not Cadence("60min", step=0).due(10**6)
    assert Cadence("0.0000000001min", step=0).due(1)
    assert not Cadence("0.0000000001min", step=1).due(1)  # nothing new to save
    assert not Cadence("epoch", step=0).due(10**6)
