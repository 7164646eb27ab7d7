"""What ends a run before it begins, and what costs one picture."""


class CannotStartError(Exception):
    """Nothing can be done: one line for the user, exit code 2."""


class BadPictureError(Exception):
    """This picture can't be done: one line in the report, the others go on."""
