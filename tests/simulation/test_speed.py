"""A simulated call is cheap: bounded by what can be counted, whatever the machine."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.kit import plain

from resilient_client.simulation import Exponential, simulate


def test_call_takes_few_turns_and_timers_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four timers (arrival, wire, service; a shared alarm) and seven turns of the loop a call at most, and one task.

    ``python -m benchmarks.simulation_speed`` measures what that comes to in calls a second.
    """
    counted = {"turns": 0, "timers": 0, "tasks": 0}

    def counting(name: str, method: str) -> None:
        original = getattr(asyncio.SelectorEventLoop, method)

        def count(self: object, *args: object, **options: object) -> object:
            counted[name] += 1
            return original(self, *args, **options)

        monkeypatch.setattr(asyncio.SelectorEventLoop, method, count)

    counting("turns", "_run_once")
    counting("timers", "call_at")
    counting("tasks", "create_task")
    calls = simulate(plain(clients=5, rate=40, duration=20, service=Exponential(mean=0.02))).totals.calls
    assert counted["turns"] <= 7 * calls
    assert counted["timers"] <= 4 * calls
    assert counted["tasks"] <= calls + 10
