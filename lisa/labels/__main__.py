"""``python -m lisa.labels NAME|FILE`` prints a label set as TOML: the way to begin one of your own."""

import sys

from lisa.errors import InputError, one_line_errors
from lisa.labels.reading import BUILT_IN, read_label_set

with one_line_errors():
    if {"-h", "--help"} & {*sys.argv}:
        print(f"{__doc__}\n\nNAME is one of {', '.join(BUILT_IN)}.")
        raise SystemExit
    if len(sys.argv) != 2:
        raise InputError(f"python -m lisa.labels NAME: one of {', '.join(BUILT_IN)}, or a file")
    print(read_label_set(sys.argv[1]).to_toml(), end="")
