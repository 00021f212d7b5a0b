"""What importing resilient_client costs: ``python -m benchmarks.import_time``.

CPU time of fresh interpreters, in turn, the best of each: the least disturbed run. The bound is ours: all public names
at most a quarter of what they stand on, which is aiohttp, tenacity, and pydantic with one model (pydantic itself loads
most of its machinery at the first model, so a bare ``import pydantic`` would blame us for it). Where the bound is
missed, ``python -X importtime -c "from resilient_client import *"`` says who it is.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
from pathlib import Path

RUNS = 15
BOUND = 0.25  # of what the library stands on

BASE = """
import aiohttp, tenacity
from pydantic import BaseModel
class Model(BaseModel):
    field: int = 1
"""
VARIANTS = {
    "nothing": "",
    "import resilient_client": "import resilient_client",
    "the pytest plugin, in pytest": "import pytest, resilient_client.testing.plugin",
    "pytest alone": "import pytest",
    "aiohttp, tenacity, pydantic": BASE,
    "and all public names": BASE + "from resilient_client import *",
}


def cpu_time(code: str) -> float:
    """Seconds of CPU that a fresh interpreter spends on ``code``, start included."""
    code += "\nimport time; print(time.process_time())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def main() -> None:
    """Measure and tell; exit with 1 when the bound is missed."""
    compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=1)  # an import reads compiled modules
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(RUNS + 1):
        for name, code in VARIANTS.items():
            times[name].append(cpu_time(code))
    best = {name: min(runs[1:]) for name, runs in times.items()}  # the first run may have to compile
    for name, seconds in best.items():
        print(f"{name:30} {seconds * 1000:6.1f} ms")
    foundation = best["aiohttp, tenacity, pydantic"] - best["nothing"]
    ours = best["and all public names"] - best["aiohttp, tenacity, pydantic"]
    print(f"\nours: {ours * 1000:.1f} ms, {ours / foundation:.2f} of what it stands on, at most {BOUND}")
    print(f"plugin: {(best['the pytest plugin, in pytest'] - best['pytest alone']) * 1000:.1f} ms")
    sys.exit(ours > BOUND * foundation)


if __name__ == "__main__":
    main()
