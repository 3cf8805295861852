"""What the plugin adds to the start of a process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

ROUNDS = 7
IMPORTS = {"ultralytics": "from ultralytics import YOLO", "yolo_attn": "from ultralytics import YOLO; import yolo_attn"}
MEASURED = "import time; t = time.perf_counter(); {}; print(1e3 * (time.perf_counter() - t))"


def import_ms() -> dict[str, float]:
    """Median time in fresh processes, in turn, of importing Ultralytics' YOLO alone and with the plugin."""
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # pip compiles, too
    for _ in range(1 + ROUNDS):  # the first one compiles, and reads files that the others find in memory
        for name, code in IMPORTS.items():
            done = subprocess.run(
                [sys.executable, "-c", MEASURED.format(code)],
                env={**environment, "YOLO_ATTN_AUTOLOAD": "0"},
                capture_output=True,
                text=True,
                check=True,
            )
            taken[name].append(float(done.stdout.split()[-1]))
    return {name: statistics.median(ms[1:]) for name, ms in taken.items()}
