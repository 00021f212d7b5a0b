"""The CPU time of importing resilient_client: ``python -m benchmarks.import_time``.

New interpreters run the variants in turn, and the best run of each counts, since it was disturbed least. All public
names may cost at most a quarter of their dependencies: aiohttp, tenacity, and pydantic with one model. (Pydantic loads
most of its code at the first model, so a bare ``import pydantic`` would charge that to this library.) If the bound is
missed, ``python -X importtime -c "from resilient_client import *"`` shows the cause.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
from pathlib import Path

RUNS = 15
BOUND = 0.25  # of the time of the dependencies

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
    """Return the CPU seconds that a new interpreter spends on ``code``, its start included."""
    code += "\nimport time; print(time.process_time())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def main() -> None:
    """Measure and report. Exit with 1 if the bound is missed."""
    compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=1)  # imports usually read compiled modules
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(RUNS + 1):
        for name, code in VARIANTS.items():
            times[name].append(cpu_time(code))
    best = {name: min(runs[1:]) for name, runs in times.items()}  # the first run may have to compile
    for name, seconds in best.items():
        print(f"{name:30} {seconds * 1000:6.1f} ms")
    dependencies = best["aiohttp, tenacity, pydantic"] - best["nothing"]
    ours = best["and all public names"] - best["aiohttp, tenacity, pydantic"]
    print(f"\nours: {ours * 1000:.1f} ms, {ours / dependencies:.2f} of the dependencies, at most {BOUND}")
    print(f"plugin: {(best['the pytest plugin, in pytest'] - best['pytest alone']) * 1000:.1f} ms")
    sys.exit(ours > BOUND * dependencies)


if __name__ == "__main__":
    main()
