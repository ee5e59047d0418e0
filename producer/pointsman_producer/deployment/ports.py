"""Ports of the loopback interface: everything the local launcher starts listens there and nowhere else."""

import socket

from pointsman_shared import errors

HOST = "127.0.0.1"


def require_free(port: int, *, needed_by: str, option: str) -> None:
    """Check that a port of the loopback interface can be listened on.

    Raises:
        SettingsError: It is taken; the message says which option chooses another.
    """
    if not is_free(port):
        msg = f"port {port}, which {needed_by} needs, is taken: choose another with {option} PORT"
        raise errors.SettingsError(msg)


def is_free(port: int) -> bool:
    """Say whether a port of the loopback interface can be listened on."""
    with socket.socket() as listener:
        # As servers do: connections that are just closing do not hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Give a port of the loopback interface that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
    return port
