"""Generators of clients are seeded again in a forked process; those that are given keep their state."""

import gc
import os
import random
import subprocess
import sys

import pytest

from resilient_client import APIClient
from resilient_client._core import randomness

WORKERS = """
import asyncio, os
from resilient_client import APIClient, CircuitBreaker, Retry
from resilient_client.events import CircuitOpened, RetryScheduled
from resilient_client.testing import MockUpstream, reply

upstream = MockUpstream()
upstream.script(reply(503))
api = APIClient(
    "https://api.example.com", transport=upstream, retry=Retry(max_attempts=4, backoff={"initial": 0.001}),
    circuit_breaker=CircuitBreaker(minimum_calls=4){rng},
)
drawn = []
api.subscribe(lambda event: drawn.append(event.delay) if isinstance(event, RetryScheduled) else None)
api.subscribe(lambda event: drawn.append(event.retry_after) if isinstance(event, CircuitOpened) else None)

async def use():
    await api.post("/", files={"file": b"x"}, idempotency_key="auto", raise_for_status=False)
    sent = upstream.requests[0].headers
    print(sent["Idempotency-Key"], sent["Content-Type"].rpartition("=")[2], *drawn, flush=True)

for _ in range(3):
    if (child := os.fork()) == 0:
        asyncio.run(use())
        os._exit(0)
    os.waitpid(child, 0)
"""


def drawn_by_workers(rng=""):
    """What each of three forked workers draws: a key, a boundary, three pauses and the break of a circuit."""
    script = WORKERS.replace("{rng}", rng)
    run = subprocess.run(  # noqa: S603 - the script above
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    workers = [line.split() for line in run.stdout.splitlines()]
    assert [len(worker) for worker in workers] == [6, 6, 6]
    return workers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_workers_draw_different_numbers():
    """A client built before the fork: no two workers have a pause, a break, a key or a boundary in common."""
    assert len({value for worker in drawn_by_workers() for value in worker}) == 18


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_workers_with_a_seed_draw_the_same():
    """Negative control, and a promise: a generator that is given is used as it is, so that runs can be repeated."""
    pauses = {tuple(worker[2:]) for worker in drawn_by_workers(", rng=__import__('random').Random(1)")}
    assert len(pauses) == 1


def test_seeding_again_leaves_given_generators_alone():
    """Only generators made for clients are seeded again."""
    own, given = randomness.new_generator(), random.Random(1)
    APIClient("https://api.example.com", rng=given)
    before = own.getstate()
    randomness._seed_again()
    assert own.getstate() != before
    assert given.getstate() == random.Random(1).getstate()


def test_generators_are_not_kept_alive():
    """A process that makes many clients does not collect their generators."""
    gc.collect()
    before = len(randomness._generators)
    kept = [randomness.new_generator() for _ in range(10)]
    assert len(randomness._generators) == before + 10
    kept.clear()
    gc.collect()
    assert len(randomness._generators) == before
