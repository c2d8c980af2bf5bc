"""The runtime's own kernel, the smallest there is: it shows that code runs."""

from __future__ import annotations

from forge_hip.runtime.compiler import Unit

NAME = "forge_ping"

UNIT = Unit(
    "ping",
    f"""extern "C" __global__ void {NAME}(
    const unsigned* given, volatile unsigned* out, unsigned number) {{
  if (threadIdx.x == 0) out[0] = given[0] + number;
}}
""",
    entries=(NAME,),
)
