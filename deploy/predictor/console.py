"""Lines on the screen that hold paths and users' words."""

from rich.console import Console


def say(text: str, console: Console) -> None:
    """A line as it is, which no width breaks; bytes of names that are no UTF-8 are escaped."""
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    console.print(text, markup=False, highlight=False, soft_wrap=True)
