"""The same seed gives the same run, byte for byte, and another seed gives another run."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from hashlib import sha256

import pytest
from tests.simulation.support import plain

from resilient_client import CircuitBreaker, ClientConfig
from resilient_client.simulation import Callers, ClosedLoop, Errors, Outage, Scenario, Upstream, simulate

QUICK = ClientConfig(circuit_breaker=CircuitBreaker(window=1))
EVERYTHING = Scenario(
    upstreams=[
        Upstream(name="front", calls=["db"], replicas=2, servers=20, queue=5, keeps_working=False),
        Upstream(name="db", service={"kind": "lognormal", "median": 0.02}, replicas=2, error_rate=0.05),
    ],
    callers=[
        Callers(name="web", calls="front", clients=3, arrivals=10),
        Callers(name="batch", calls="db", clients=2, arrivals=ClosedLoop(workers=2, pause=0.1), config=QUICK),
    ],
    duration=12,
)
EVERYTHING = EVERYTHING.model_copy(
    update={
        "upstreams": (
            EVERYTHING.upstreams[0],
            EVERYTHING.upstreams[1].model_copy(update={"changes": (Outage(at=5, lasting=3, how="reset"),)}),
        )
    }
)


def trace_of(scenario: Scenario, seed: int = 1) -> str:
    trace = io.StringIO()
    simulate(scenario, seed=seed, trace=trace)
    return trace.getvalue()


def test_trace_of_the_same_seed_is_identical() -> None:
    """A trace with services, replicas, an outage, retries and circuits is the same in a second run."""
    first = trace_of(EVERYTHING)
    assert trace_of(EVERYTHING) == first
    for word in ("call ended", "attempt 2 ended", "will repeat", "will not repeat", "circuit of db: open"):
        assert word in first


def test_trace_of_another_seed_differs() -> None:
    """Negative control: the trace depends on the seed."""
    assert trace_of(EVERYTHING, 2) != trace_of(EVERYTHING, 1)


@pytest.mark.parametrize("hash_seed", ["0", *(pytest.param(seed, marks=pytest.mark.slow) for seed in ("1", "4711"))])
def test_trace_does_not_depend_on_the_process(hash_seed: str) -> None:
    """A new interpreter with another hash seed writes the same bytes: no order depends on a set."""
    code = (
        "from hashlib import sha256; from tests.simulation.test_determinism import EVERYTHING, trace_of; "
        "print(sha256(trace_of(EVERYTHING).encode()).hexdigest())"
    )
    result = subprocess.run(  # noqa: S603 -- our own interpreter on our own code
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == sha256(trace_of(EVERYTHING).encode()).hexdigest()


def test_trace_of_a_client_is_independent_of_others() -> None:
    """A group and an upstream that are added do not change the trace of the others, byte for byte."""
    alone = plain(Errors(at=5, lasting=5, rate=0.5), duration=15, clients=3)
    added = Upstream(name="elsewhere", error_rate=0.3)
    together = alone.model_copy(
        update={
            "upstreams": (added, *alone.upstreams),
            "callers": (Callers(name="others", calls="elsewhere", arrivals=20), *alone.callers),
        }
    )
    ours = [line for line in trace_of(together).splitlines() if " others-" not in line]
    assert ours == trace_of(alone).splitlines()


def test_on_second_is_called_for_every_second() -> None:
    """``on_second`` is called with each second of the scenario, and does not change the run."""
    seconds: list[int] = []
    with_progress = simulate(plain(duration=5), on_second=seconds.append)
    assert seconds == [1, 2, 3, 4, 5]
    assert with_progress.totals == simulate(plain(duration=5)).totals


def test_run_within_a_running_loop_is_rejected() -> None:
    """Virtual time needs its own loop. The message says that a coroutine can run it in a thread."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"await asyncio.to_thread\(simulate, ...\)"):
            simulate(plain(duration=1))
        run = await asyncio.to_thread(simulate, plain(duration=1))
        assert run.totals == simulate_outside

    simulate_outside = simulate(plain(duration=1)).totals
    asyncio.run(main())
