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


def resident(field: str) -> float:
    """Return a memory figure of this process, in MiB; ``VmHWM`` is the peak of ``VmRSS`` (``man 5 proc``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def processor() -> str:
    """Return the model of the CPU as far as the system reports it, and the number of cores.

    One name can stand for several generations, as "AMD EPYC" does in a virtual machine. Family and model differ.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name") or platform.processor() or platform.machine()
    generation = f", family {fields['cpu family']}, model {fields['model']}" if "cpu family" in fields else ""
    return f"{name}{generation} ({platform.machine()}), {os.cpu_count()} cores, {platform.system()}"
