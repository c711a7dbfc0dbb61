"""Tells systemd that this process is ready, where it was started with Type=notify."""

import contextlib
import os
import socket


def tell_ready() -> None:
    """Say so where somebody waits for it; a service manager that is gone keeps nobody from their work."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        name = "\0" + address[1:] if address.startswith("@") else address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.sendto(b"READY=1", name)
