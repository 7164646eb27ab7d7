"""``python -m lisa.config ARGUMENTS`` checks a training command line, and does nothing else."""

import sys

from lisa.config.command_line import parse_training
from lisa.errors import one_line_errors

with one_line_errors():
    parse_training(sys.argv[1:])
