"""`python -P -m forge.testing.remote SOCKET BOARD LIFELINE`: descriptors as `forge.worker` has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

from forge.testing.remote.messages import LARGEST, Request
from forge.testing.remote.service import Service
from forge.worker.lifeline import die_with
from forge.worker.link import HostGone, Link


def main() -> None:
    """Serve the test until it says so or goes away."""
    connection, board, lifeline = map(int, sys.argv[1:4])
    for descriptor in (connection, board, lifeline):
        os.set_inheritable(descriptor, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the host blocks it around fork
    die_with(lifeline)
    link: Link[Request] = Link(socket.socket(fileno=connection), Request, LARGEST)
    with contextlib.suppress(HostGone):
        Service(link).serve()


if __name__ == "__main__":
    main()
