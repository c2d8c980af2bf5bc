"""Run by its path as `python -P listing.py NAME`: lists backends as the host does.

Prints what listing the backend NAME imported that it must not, which drivers and devices it
touched, and what of the host's process it changed; nothing for a plugin as it should be. Stands
alone, so that it imports no more than the host does.
"""

import gc
import locale
import os
import signal
import sys
import threading
from importlib.metadata import entry_points

DRIVERS = ("vulkan", "amdhip", "hsa-runtime", "libcuda", "OpenCL", "ze_loader", "level_zero")
DEVICES = ("/dev/dri", "/dev/kfd", "/dev/nvidia", "/dev/accel")

touched: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note what is opened from Python."""
    if event in ("ctypes.dlopen", "open") and arguments and _forbidden(str(arguments[0])):
        touched.append(str(arguments[0]))


def _forbidden(path: str) -> bool:
    library = any(name in os.path.basename(path) for name in DRIVERS) and ".so" in path
    return library or path.startswith(DEVICES)


def held() -> list[str]:
    """What C code has mapped or opened past Python."""
    if not os.path.exists("/proc/self/maps"):  # then Python's own opening is all that is seen
        return []
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")}
    for number in os.listdir("/proc/self/fd"):
        try:
            paths.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return sorted(filter(_forbidden, paths))


def process() -> dict[str, str]:
    """What a plugin shares with the host and every other plugin."""
    signals = {s.name: str(signal.getsignal(s)) for s in signal.Signals}
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "the current folder": os.getcwd(),
        "the umask": oct(umask),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the number of threads": str(threading.active_count()),
        "the garbage collector": str(gc.isenabled()),
        "the recursion limit": str(sys.getrecursionlimit()),
        **{f"the handler of {name}": handler for name, handler in signals.items()},
        **{f"the variable {name}": value for name, value in os.environ.items()},
    }


def main() -> None:
    """List, then tell."""
    sys.addaudithook(watch)
    from forge.cli import parser
    from forge.plugins import Plugins

    before = process()
    spec = Plugins().backend(sys.argv[1])
    parser()
    registering = {entry.module for entry in entry_points(group="forge")}
    modules = {spec.factory.partition(":")[0], *spec.requires} - registering
    imported = sorted(name for name in modules if name in sys.modules)
    after = process()
    changed = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
    for line in [
        *(f"imported {name}" for name in imported),
        *touched,
        *held(),
        *(f"changed {name}" for name in changed),
    ]:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
