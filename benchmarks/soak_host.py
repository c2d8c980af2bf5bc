"""Another process of forge, which replies until it is killed: soak_host.py MODEL SEED"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))  # -P leaves it out

from soak_plan import CPU, SAMPLING, SECONDS, Trouble

from forge import Engine

model, seed = sys.argv[1:]
parent = os.getppid()
slow = Trouble("slow", "decode", 1, Random(seed).randrange(4)).spec("gpu0")
with Engine.open(model, backend=slow, fallback_to=[CPU], threads=1, seconds=SECONDS) as engine:
    while os.getppid() == parent:
        for _ in engine.generate([5, 6, 7], SAMPLING[0], max_tokens=9, stop_ids=()):
            pass
