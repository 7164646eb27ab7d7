"""Training under torchrun: ``./launch.sh`` starts it; ``python -m distributed.train`` is one process."""

import sys
from pathlib import Path

from distributed.exit import finish, hold_stop_signals, started_before
from lisa.errors import ExitCode


def main() -> int:
    """Parses, opens the world, trains, draws the figures, closes."""
    hold_stop_signals()  # first: what follows takes seconds to import
    from lisa.config.command_line import parse_training

    arguments = parse_training(sys.argv[1:])
    from distributed.world import open_world  # torch takes seconds: a wrong argument need not wait for it
    from lisa.figures.finished_run import draw_run
    from lisa.training.loop import fit

    with open_world() as world:
        restarted = world.any(started_before())
        result = fit(arguments.config, world, resume=arguments.resume or restarted)
        if not result.finished:
            return ExitCode.STOPPED
        if world.is_main and result.best_epoch > 0:
            draw_run(Path(arguments.config.output))
    return 0


if __name__ == "__main__":
    finish(main)
