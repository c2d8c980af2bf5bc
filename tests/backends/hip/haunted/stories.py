"""Stories from the field: what goes wrong in the driver, and what the person is to see.

Each is a fault script of tests/hipsim and what becomes of a reply. The sources are docs/hangs.md's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RADEON = "name=AMD Radeon RX 7900 XTX,arch=gfx1100"
BESIDE = f"name=AMD Radeon Graphics,arch=gfx1036,integrated=1,memory=512;{RADEON}"


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to somebody.

    settings: of the simulated driver. says: what is told of the move to the CPU, "" where the reply
    stays on HIP. late: it goes wrong
    when tokens were shown. old: the runtime is ROCm 5's. compiles: no kernel is in the cache yet.
    """

    name: str
    settings: Mapping[str, str]
    says: str = ""
    late: bool = False
    old: bool = False
    compiles: bool = False


BRISK = {"open": 1.0, "load": 1.0, "compile": 2.0, "check": 1.0}
"""Floors of budgets in seconds; the first piece of a phase has four times as long."""

NEVER = {
    "hipMalloc hangs at the fifth small allocation": "hipMalloc[<1000000]@5=hang",
    "hipMemcpy hangs on the default stream, beside another": "hipMemcpy=hang",
    "a copy hangs on the null stream": "hipMemcpyAsync[null]=hang",
    "uploads of pageable memory stall": "hipMemcpyAsync[pageable]=hang",
    "hipStreamSynchronize never returns": "hipStreamSynchronize=hang",
    "hipDeviceSynchronize never returns": "hipDeviceSynchronize=hang",
    "hipMallocAsync hangs": "hipMallocAsync=hang",
    "the driver hangs on pages that it is given": "hipHostRegister=hang",
}
"""What forge does not do, all in one run of a driver that hangs at each."""

PASSES = [
    Story("a kernel is slow, and so are those that follow", {"fault": "device[kernel]@40+=slow:2"}),
    Story("hipFree hangs at the end", {"fault": "hipFree=hang"}),
    Story("graphs cannot be captured", {"fault": "hipStreamBeginCapture=err:801"}),
    Story("an iGPU stands beside the card", {"devices": BESIDE}),
    Story("the runtime is ROCm 5's", {"version": "50731921"}, old=True),
]
"""The reply does not notice."""

HANGS = [
    Story("the count of devices hangs", {"fault": "hipGetDeviceCount=hang"}, "no progress"),
    Story("hipMalloc of an arena hangs", {"fault": "hipMalloc=hang"}, "no progress"),
    Story(
        "the upload hangs at an asynchronous copy",
        {"fault": "hipMemcpyAsync[h2d]@9=hang"},
        "no progress",
    ),
    Story(
        "the device never finishes an upload",
        {"fault": "device[h2d]@9=stall"},
        "did not finish a piece of work",
    ),
    Story(
        "compiling hangs while the graph is prepared",
        {"fault": "hiprtcCompileProgram@3=hang"},
        "no progress",
        compiles=True,
    ),
    Story(
        "the device stops in a layer",
        {"fault": "device[attention_decode]=stall"},
        "did not finish a piece of work in 3.0 s; the last that it began: layer",
        late=True,
    ),
]
"""Somebody has to notice."""

FAILURES = [
    Story(
        "the device is lost, and every later call fails",
        {"fault": "device[attention_decode]=lost"},
        "the device is lost",
        late=True,
    ),
    Story(
        "ROCr ends the process at a memory fault",
        {"fault": "device[attention_decode]=abort"},
        "SIGABRT",
        late=True,
    ),
    Story(
        "hiprtc ends the process",
        {"fault": "hiprtcCompileProgram@2=abort"},
        "SIGABRT",
        compiles=True,
    ),
    Story(
        "there is no code for the GPU",
        {"fault": "hipModuleLoadData=err:209"},
        "does not take code for this GPU",
    ),
    Story("there is no memory left", {"devices": f"{RADEON},memory=1"}, "memory"),
    Story("there is no /dev/kfd", {"devices": "0"}, "/dev/kfd"),
]
"""The driver says so, or takes the worker with it."""
