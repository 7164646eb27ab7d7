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


def cause(error: BaseException) -> str:
    """The line of a long text that names the cause: CUDA's own if there is one, else TorchScript's last."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    ours = [line for line in lines if line.startswith(("CUDA error", "HIP error"))]
    return (ours or lines[-1:])[0][:200]


def said(error: BaseException) -> str:
    """What a file's or a file system's error says, in one line."""
    return getattr(error, "strerror", None) or first_line(error)
