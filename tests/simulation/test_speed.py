"""The cost of a simulated call, bounded by counts that do not depend on the machine."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.support import plain

from resilient_client.simulation import Exponential, simulate


def test_call_takes_few_iterations_and_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call takes at most four timers (arrival, wire, service, shared timeout), seven loop iterations and one task.

    ``python -m benchmarks.simulation_speed`` measures the resulting calls per second.
    """
    counted = {"iterations": 0, "timers": 0, "tasks": 0}

    def counting(name: str, method: str) -> None:
        original = getattr(asyncio.SelectorEventLoop, method)

        def count(self: object, *args: object, **options: object) -> object:
            counted[name] += 1
            return original(self, *args, **options)

        monkeypatch.setattr(asyncio.SelectorEventLoop, method, count)

    counting("iterations", "_run_once")
    counting("timers", "call_at")
    counting("tasks", "create_task")
    calls = simulate(plain(clients=5, rate=40, duration=20, service=Exponential(mean=0.02))).totals.calls
    assert counted["iterations"] <= 7 * calls
    assert counted["timers"] <= 4 * calls
    assert counted["tasks"] <= calls + 10
