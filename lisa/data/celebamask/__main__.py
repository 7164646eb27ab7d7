"""Entry of ``python -m lisa.data.celebamask``."""

import tyro

from lisa.data.celebamask.convert import main

tyro.cli(main, prog="python -m lisa.data.celebamask")
