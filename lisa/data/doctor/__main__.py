"""Entry of ``python -m lisa.data.doctor``."""

import tyro

from lisa.data.doctor.doctor import main

tyro.cli(main, prog="python -m lisa.data.doctor")
