"""What ends a run before it begins, and what costs one picture."""


class CannotStartError(Exception):
    """Nothing can be done: one line for the user, exit code 2."""


class DeviceLostError(Exception):
    """The device no longer computes: one line, and the run ends. What is done stays done."""


class BadPictureError(Exception):
    """This picture can't be done: one line in the report, the others go on."""


def first_line(error: BaseException) -> str:
    """Of the error's text, or its name; torch's texts go on for pages."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def said(error: BaseException) -> str:
    """What a file's or a file system's error says, in one line."""
    return getattr(error, "strerror", None) or first_line(error)
