"""The defaults compared with other clients in all scenarios: the table of docs/reliability.md.

A cell has the per cent of all calls that succeed, and in brackets the requests per call, as means of many seeds. All
cells of a line have the same calls at the same times. ``python benchmarks/reliability.py [NAME ...] [--seeds N]``: with
names, only these lines are printed. The whole table with 10 seeds takes some minutes.
"""

from __future__ import annotations

import argparse
import statistics

from resilient_client import ClientConfig
from resilient_client.simulation import (
    DEFAULT,
    NAIVE,
    NONE,
    Callers,
    Errors,
    Outage,
    Scenario,
    Upstream,
    ready_scenario,
    simulate,
)
from resilient_client.simulation._ready import READY

CLIENTS = {
    "no retries, no circuit": NONE,
    "defaults, retries off": ClientConfig(retry=None),
    "defaults, circuit off": ClientConfig(circuit_breaker=None),
    "naive": NAIVE,
    "**defaults**": DEFAULT,
}


def faulty_upstream(name: str, change: Errors | Outage) -> Scenario:
    """Return a scenario of ten clients with five calls per second each, and an upstream with a fault of 30 s."""
    upstream = Upstream(name="api", service=0.05, changes=[change])
    callers = Callers(name="shop", calls="api", clients=10, arrivals=5)
    return Scenario(name=name, upstreams=[upstream], callers=[callers], duration=80)


SCENARIOS = {
    **{name: ready_scenario(name).scenario for name in READY},
    **{
        f"{rate} % fail": faulty_upstream("errors", Errors(at=20, lasting=30, rate=rate / 100))
        for rate in (20, 50, 80, 90)
    },
    "all refused": faulty_upstream("refused", Outage(at=20, lasting=30, how="refuse")),
    "all hang": faulty_upstream("hanging", Outage(at=20, lasting=30, how="hang")),
}


def cell(scenario: Scenario, config: ClientConfig, seeds: range) -> str:
    """Return the mean success and load."""
    totals = [simulate(scenario.with_config(config), seed=seed).totals for seed in seeds]
    success = statistics.mean(each.success for each in totals)
    load = statistics.mean(each.amplification for each in totals)
    return f"{100 * success:.1f} ({load:.2f})"


def main() -> None:
    """Parse the command line, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(SCENARIOS)}".replace("%", "%%"))
    parser.add_argument("--seeds", type=int, default=10, help="runs per cell (default: 10)")
    args = parser.parse_args()
    if unknown := set(args.names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    print("| | " + " | ".join(CLIENTS) + " |\n|---|" + "---|" * len(CLIENTS), flush=True)
    for name in args.names or SCENARIOS:
        cells = (cell(SCENARIOS[name], config, range(1, args.seeds + 1)) for config in CLIENTS.values())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
