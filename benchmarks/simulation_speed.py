"""Simulated calls per second of CPU time on one core, through the full default chain.

A fleet calls a healthy upstream with a queue. A second scenario has an outage in the middle, in which calls fail, are
repeated, and are refused. The time is CPU time, not wall time, because the simulation never waits.

    python -m benchmarks.simulation_speed [--rounds N] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import platform
import pstats
import statistics
import time

from resilient_client.simulation import Callers, Exponential, Outage, Scenario, Upstream, simulate


def fleet(*changes: Outage) -> Scenario:
    """Return a scenario of 20 clients with 100 calls per second each, for 10 seconds."""
    return Scenario(
        upstreams=[Upstream(name="api", service=Exponential(mean=0.05), servers=200, changes=changes)],
        callers=[Callers(name="shop", calls="api", clients=20, arrivals=100)],
        duration=10,
    )


SCENARIOS = {"healthy": fleet(), "outage of 5 s": fleet(Outage(at=3, lasting=5, how="error"))}


def measure(scenario: Scenario) -> float:
    """Return the simulated calls per second of CPU time."""
    began = time.process_time()
    calls = simulate(scenario).totals.calls
    return calls / (time.process_time() - began)


def main() -> None:
    """Parse the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print a profile instead")
    args = parser.parse_args()
    if args.profile:
        with cProfile.Profile() as profile:
            simulate(SCENARIOS["healthy"])
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    print(f"Python {platform.python_version()}, {args.rounds} rounds of {sum(map(_calls, SCENARIOS.values()))} calls")
    for name, scenario in SCENARIOS.items():
        rounds = [measure(scenario) for _ in range(args.rounds)]
        print(
            f"{name:15} {statistics.median(rounds):8,.0f} calls per second ({min(rounds):,.0f} to {max(rounds):,.0f})"
        )


def _calls(scenario: Scenario) -> int:
    return simulate(scenario).totals.calls


if __name__ == "__main__":
    main()
