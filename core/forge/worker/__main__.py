"""`python -P -m forge.worker SOCKET BOARD LIFELINE`: three inherited file descriptors."""

from __future__ import annotations

import os
import socket
import sys

from forge.messages import Hello
from forge.worker.lifeline import die_with
from forge.worker.link import HostGone, Link
from forge.worker.service import Service


def main() -> None:
    """Serve the host until it says so or goes away."""
    connection, board, lifeline = map(int, sys.argv[1:4])
    die_with(lifeline)
    link = Link(socket.socket(fileno=connection))
    try:
        link.send(Hello(os.getpid()))
        Service(link, board).serve()
    except HostGone:
        pass


if __name__ == "__main__":
    main()
