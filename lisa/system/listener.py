"""Whether somebody listens at an address: asked before Ray, which would try on for minutes."""

import socket

SECONDS = 10.0
"""So long an answer may take."""

LARGEST_PORT = 65535


def why_silent(address: str) -> str:
    """Why nobody answers at ``host:port`` or ``ray://host:port``, in one line; empty if somebody does.

    Also empty for an address of another kind, such as "auto": whoever resolves it says what is wrong.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or "://" in host or not port.isdecimal():
        return ""
    if int(port) > LARGEST_PORT:  # the system would take it modulo 65536, and ask somebody else
        return f"port {port}: at most {LARGEST_PORT}"
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:  # no name of a host: an empty part between its dots, or one too long
        return f"{host!r} can't be a host's name"
    return ""
