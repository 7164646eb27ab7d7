"""--then-train after other trials were retried: the winner's weights are the winner's."""

from dataclasses import replace
from pathlib import Path

import pytest

from lisa.config import best
from lisa.errors import InputError
from tune.search import refuse_another


def test_the_training_of_another_winner_is_not_gone_on_with(tmp_path: Path):
    winner = replace(best(), output=str(tmp_path))
    refuse_another(tmp_path, winner)
    settled = replace(winner, train=replace(winner.train, accumulate=2))
    (tmp_path / "config.json").write_text(settled.to_json())
    refuse_another(tmp_path, winner)
    other = replace(winner, optim=replace(winner.optim, lr=0.5))
    with pytest.raises(InputError, match="another trial's settings: delete it, then --resume"):
        refuse_another(tmp_path, other)
