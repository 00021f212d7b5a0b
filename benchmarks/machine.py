"""The machine that runs the benchmarks: its cores, its event loops, its versions."""

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
    *("aiobreaker", "pyresilience", "clientwright", "httpx", "httpx2", "aiosonic"),
    *("wreq", "ry", "pyreqwest", "httpunk"),
)
"""Packages whose versions are printed with the results."""


class Cores(NamedTuple):
    """The cores of client and server. ``None``: any core, because there is only one or it cannot be chosen."""

    client: int | None
    server: int | None


def cores() -> Cores:
    """Return one core for each, if the system has two and can pin processes."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return Cores(found[0], found[1]) if len(found) > 1 else Cores(None, None)


def pin(core: int | None, process: int = 0) -> None:
    """Pin a process to one core. The default, 0, is this process."""
    if core is not None:
        os.sched_setaffinity(process, {core})


def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the factory of the event loop of this name."""
    if loop == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


def run(main: Coroutine[Any, Any, T], loop: str) -> T:
    """Run ``main`` on the named event loop, and return its result."""
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return runner.run(main)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Return the model of the CPU as far as the system reports it, and the number of cores."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{named} ({platform.machine()}), {os.cpu_count()} cores, {platform.system()}"
