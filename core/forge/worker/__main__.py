"""`python -P -m forge.worker SOCKET BOARD LIFELINE`: three inherited file descriptors."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys

from forge.worker.janitor import leave_behind


def main() -> None:
    """Serve the host until it says so or goes away."""
    connection, board, lifeline = map(int, sys.argv[1:4])
    leave_behind(lifeline, (connection, board))  # before numpy starts threads

    from forge.messages import Hello, Request
    from forge.process import STACK_SIGNAL
    from forge.worker.lifeline import die_with
    from forge.worker.link import HostGone, Link
    from forge.worker.service import Service

    for descriptor in (connection, board, lifeline):
        os.set_inheritable(descriptor, False)  # what a driver starts must not keep them open
    faulthandler.register(STACK_SIGNAL, all_threads=True, chain=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the host blocks it around fork
    die_with(lifeline)
    link: Link[Request] = Link(socket.socket(fileno=connection))
    try:
        link.send(Hello(os.getpid()))
        Service(link, board).serve()
    except HostGone:
        pass
    # The device was given back; what is left to do costs a tenth of a second, or hangs in a driver.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
