from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lisa.run.tensorboard import Events


@pytest.mark.slow
def test_a_run_that_goes_on_within_the_second_hides_what_it_repeats(tmp_path: Path):
    """Twelve files: their numbers have one digit, then two, which sorts 10 before 9."""
    for part in range(12):
        events = Events(tmp_path, purge_step=part or None)
        for step in (part, part + 1):
            events.scalars({"loss": float(100 * part + step)}, step)
        events.close()
    read = EventAccumulator(str(tmp_path), {"scalars": 0})
    read.Reload()
    points = {event.step: event.value for event in read.Scalars("loss")}
    assert len(read.Scalars("loss")) == len(points)
    assert points == {**{part: 101.0 * part for part in range(12)}, 12: 1112.0}
