"""A bulkhead whose waiters are cancelled at random loses no permit and keeps its order."""

from __future__ import annotations

import asyncio
from random import Random
from typing import NamedTuple

import pytest

from resilient_client import APIClient, Bulkhead, Permits, Timeout
from resilient_client.events import AttemptFinished, Event
from resilient_client.testing import MockUpstream, reply, run_virtual

URL = "https://api.example.com"


class Cancelled(NamedTuple):
    """What became of a thousand callers.

    Attributes:
        served: The numbers of those that reached the upstream, in that order.
        permits: As they were in the end.
        peak: The most that were with the upstream at once.
    """

    served: list[int]
    permits: Permits
    peak: int


def cancelled_at_random(seed: int) -> Cancelled:
    """Run a thousand callers against a hundred permits in virtual time, and cancel a third of them at random.

    Half of those are cancelled at some moment of the run, half in the iteration in which a permit came back: the
    longest waiter, which may just have got it.
    """
    rng = Random(seed)

    async def main() -> Cancelled:
        upstream = MockUpstream()
        upstream.script(lambda _request: reply(delay=rng.randint(5, 15) / 10))
        bulkhead = Bulkhead(max_concurrent=100, max_queue=1000)
        async with APIClient(
            URL, transport=upstream, bulkhead=bulkhead, retry=None, timeout=Timeout(attempt=100)
        ) as api:
            tasks = [asyncio.create_task(api.get(f"/{number}")) for number in range(1000)]
            chosen = rng.sample(tasks, 333)
            for task in chosen[:166]:
                asyncio.get_running_loop().call_at(rng.uniform(0, 8), task.cancel)
            late = sorted(chosen[166:], key=tasks.index, reverse=True)

            def strike(event: Event) -> None:
                if isinstance(event, AttemptFinished) and event.record.elapsed and late:
                    late.pop().cancel()

            api.subscribe(strike)
            await asyncio.wait(tasks)
            assert all(task.cancelled() or task.exception() is None for task in tasks)
            (permits,) = api.bulkheads.values()
            return Cancelled([int(request.path[1:]) for request in upstream.requests], permits, upstream.peak)

    return run_virtual(main())


@pytest.mark.parametrize("seed", range(5))
def test_random_cancellation_loses_no_permit(seed: int) -> None:
    """In the end all 100 permits are there, and never were there more."""
    served, permits, peak = cancelled_at_random(seed)
    assert permits.idle
    assert (permits.in_use, permits.waiting, permits.limit, peak) == (0, 0, 100, 100)
    assert len(served) > 700


@pytest.mark.parametrize("seed", range(5))
def test_random_cancellation_keeps_order(seed: int) -> None:
    """The remaining waiters keep their order."""
    served = cancelled_at_random(seed).served
    assert served == sorted(served)


def careless(permits: Permits) -> None:
    """Hand permits to the head of the queue, even if it was cancelled."""
    for queue in permits._queues.values():
        while queue and permits._in_use < permits._limit:
            queue.popitem(last=False)[0].wake(True)
            permits._in_use += 1


def test_broken_handover_loses_permits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a waiter that was cancelled and has not run since takes its permit away with it."""
    monkeypatch.setattr(Permits, "_serve_waiters", careless)
    assert cancelled_at_random(0).permits.in_use > 0
