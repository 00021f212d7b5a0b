"""The comparison of allocators finds those that work, and measures each in its own process."""

from __future__ import annotations

import argparse
import sys

import pytest
from benchmarks.allocators import THRESHOLDS, WORKLOADS, allocators, is_accepted, measure_in_process, table
from benchmarks.payloads import BODIES
from benchmarks.server import serving


def test_unknown_allocator_is_not_accepted() -> None:
    """Python refuses to start with an allocator that it does not know, as versions before 3.13 do with mimalloc."""
    assert is_accepted({})
    assert not is_accepted({"PYTHONMALLOC": "no_such_allocator"})


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is a feature of Linux")
def test_library_that_cannot_be_loaded_is_not_accepted() -> None:
    """The loader only warns of a missing library, and would measure the default under its name."""
    assert not is_accepted({"LD_PRELOAD": "no_such_library.so"})


def test_allocators_begin_with_the_default() -> None:
    """The first line of a table is the process as it is."""
    assert next(allocators()) == ("default", {})


def test_table_has_the_least_cpu_and_the_highest_peak() -> None:
    """Of several processes, the CPU of the least disturbed one counts."""
    runs = [
        {"bare": 100.0, "ours": 60.0, "faults": 0.0, "peak": 70.0},
        {"bare": 90.0, "ours": 61.0, "faults": 1.0, "peak": 75.0},
    ]
    assert "| default | 90 | 60 | 0.5 | 75 |" in table("GET", {"default": runs})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_allocator_is_measured_in_its_own_process() -> None:
    """The process has the variables of its allocator, and reports CPU and memory."""
    options = argparse.Namespace(seconds=0.0, loop="asyncio")
    with serving(BODIES) as server:
        result = measure_in_process(next(iter(WORKLOADS)), THRESHOLDS, server, options)
    assert all(result[key] > 0 for key in ("bare", "ours", "peak"))
    assert 0 <= result["faults"] < 10  # a body of 1 KB is not worth a page
