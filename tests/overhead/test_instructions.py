"""The price of a call in instructions of the processor, which no other load on the machine changes.

valgrind's cachegrind counts them. What is counted is the difference between two runs of different length, so that
starting up does not count. The figures recorded in ``instructions.json`` are those of one build of Python; on any
other the price is compared with that of bare aiohttp there, less sharply.

    python -m tests.overhead.test_instructions    # record anew, after a change that is meant
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import aiohttp
import pytest

HERE = Path(__file__).parent
RECORDED = HERE / "instructions.json"
CALLS = str(HERE / "calls.py")
SHORT, LONG = 150, 450
BUILD = (
    " ".join((platform.machine(), platform.python_version(), *platform.python_build(), platform.python_compiler()))
    + f", aiohttp {aiohttp.__version__}"
)


@cache
def instructions(variant: str) -> float:
    """Instructions a call, the upstream's share included."""
    command = [sys.executable, CALLS, variant]
    subprocess.run([*command, "1"], check=True, timeout=60)  # noqa: S603 -- ours; it compiles what is not compiled yet
    return (_counted(command, LONG) - _counted(command, SHORT)) / (LONG - SHORT)


def _counted(command: list[str], calls: int) -> int:
    count = [str(shutil.which("valgrind")), "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    counted = subprocess.run(  # noqa: S603 -- ours
        [*count, *command, str(calls)], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    refs = next(line for line in counted.stderr.splitlines() if "refs:" in line)
    return int(refs.rpartition(":")[2].replace(",", ""))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed: apt install valgrind")
def test_default_chain_instructions() -> None:
    """To 1 % on the build of Python that was recorded; beside bare aiohttp, to 10 %, on any."""
    recorded = json.loads(RECORDED.read_text())
    ours = instructions("ours")
    assert recorded["build"] != BUILD or ours == pytest.approx(recorded["ours"], rel=0.01)
    assert ours / instructions("bare") == pytest.approx(recorded["ours"] / recorded["bare"], rel=0.1)


if __name__ == "__main__":
    RECORDED.write_text(
        json.dumps({"build": BUILD} | {name: round(instructions(name)) for name in ("bare", "ours")}, indent=2) + "\n"
    )
