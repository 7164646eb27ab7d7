"""The terminal: rich's console, as wide as a log's reader expects where it is no terminal."""

import os

from rich.console import Console

console = Console(width=None if os.environ.get("COLUMNS") or Console().is_terminal else 110)
