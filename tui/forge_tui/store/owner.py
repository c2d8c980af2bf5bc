"""Which program writes a reply, and whether it still runs."""

from __future__ import annotations

from forge import ProcessId, boot_id, this_process


def mine() -> str:
    """This process, told apart from a later one of the same number and from another boot's."""
    me = this_process()
    return f"{boot_id()}:{me.pid}:{me.started}"


def is_gone(owner: str) -> bool:
    """Whether nobody writes any more; also where `owner` says nothing."""
    boot, _, process = owner.partition(":")
    pid, _, started = process.partition(":")
    if boot != boot_id() or not (pid.isdecimal() and started.isdecimal()):
        return True
    return ProcessId(int(pid), int(started)).gone
