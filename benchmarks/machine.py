"""The machine under the benchmarks: its cores, its event loops, its versions."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Coroutine
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

PACKAGES = (
    *("aiohttp", "yarl", "multidict", "pydantic", "uvloop", "prometheus-client", "aiohttp-retry", "tenacity"),
    *("aiobreaker", "pyresilience", "clientwright", "httpx", "wreq"),
)
"""What the figures depend on."""


class Cores(NamedTuple):
    """Where client and server run; ``None``: anywhere, for there is only one core or no way to choose."""

    client: int | None
    server: int | None


def cores() -> Cores:
    """One core for each, where the system can."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return Cores(found[0], found[1]) if len(found) > 1 else Cores(None, None)


def pin(core: int | None, process: int = 0) -> None:
    """Keep a process, this one unless told otherwise, on one core."""
    if core is not None:
        os.sched_setaffinity(process, {core})


def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes an event loop of that name."""
    if loop == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


def run(main: Coroutine[Any, Any, T], loop: str) -> T:
    """What ``main`` gives, run on the named event loop."""
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return runner.run(main)


def versions() -> dict[str, str]:
    """The packages that are installed, and Python itself."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The model of the CPU, as well as the system knows it, and how many there are."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{named} ({platform.machine()}), {os.cpu_count()} cores, {platform.system()}"
