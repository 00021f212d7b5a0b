"""The effect of hedging on replicas with queues that continue to work for clients that have left, in pairs of runs.

Ten replicas serve one request at a time, most in 20 ms on average, one in twenty in 200 ms on average. Each seed is run
twice, with ``Hedging()`` and without, with the same calls at the same times. The table shows the mean of the logarithm
of the quotient, hedged to unhedged, in per cent: below 0 hedging helps, above 0 it harms. ``±`` is twice the standard
error of that mean. All runs are in virtual time, so a seed gives the same figures on every machine.

    python -m benchmarks.hedging_queues [--seeds N] [--first SEED] [--seconds S] [--utilisations 0.3,0.9]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys

from resilient_client import ClientConfig, ConnectionSettings, Hedging
from resilient_client.simulation import Callers, Exponential, Mixture, Poisson, Run, Scenario, Share, Upstream, simulate

SERVICE = Mixture(parts=[Share(share=0.95, of=Exponential(mean=0.02)), Share(share=0.05, of=Exponential(mean=0.2))])
MEAN = 0.95 * 0.02 + 0.05 * 0.2
REPLICAS = 10
UTILISATIONS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NOT_WORSE = ("p99", "p99.9", "mean")
"""Figures that must not be worse by more than three standard errors. With so many figures, two are often exceeded."""


def queues(utilisation: float, hedging: Hedging | None, seconds: float) -> Scenario:
    """Return the scenario at this utilisation."""
    settings = ClientConfig(hedging=hedging, connection=ConnectionSettings(pool_size=0))
    rate = utilisation * REPLICAS / MEAN
    return Scenario(
        upstreams=[Upstream(name="api", servers=1, replicas=REPLICAS, service=SERVICE)],
        callers=[Callers(name="shop", calls="api", arrivals=Poisson(rate=rate), config=settings)],
        duration=seconds,
    )


def figures(run: Run) -> dict[str, float]:
    """Return the compared figures of a run."""
    latencies = run.calls["shop"].latencies
    totals = run.totals
    return {"p50": totals.p50, "p99": totals.p99, "p99.9": totals.p999, "mean": sum(latencies) / len(latencies)}


def compare(utilisation: float, seeds: range, seconds: float) -> tuple[dict[str, tuple[float, float]], float]:
    """Return, per figure, the mean of the logarithms and twice its standard error, and the share of extra requests."""
    found: dict[str, list[float]] = {"p50": [], "p99": [], "p99.9": [], "mean": []}
    calls = requests = 0
    for seed in seeds:
        none = figures(simulate(queues(utilisation, None, seconds), seed=seed))
        run = simulate(queues(utilisation, Hedging(), seconds), seed=seed)
        for name, value in figures(run).items():
            found[name].append(math.log(value / none[name]))
        calls += run.totals.calls
        requests += run.totals.requests
    summary = {
        name: (statistics.fmean(values), 2 * statistics.stdev(values) / math.sqrt(len(values)))
        for name, values in found.items()
    }
    return summary, requests / calls - 1


def main() -> int:
    """Parse the command line, run, and print the table. Return 1 if a figure got worse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one
    parser.add_argument("--seeds", type=int, default=10, help="pairs of runs for each utilisation (default: 10)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a run (default: 30)")
    parser.add_argument("--utilisations", default=",".join(map(str, UTILISATIONS)))
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {args.seconds:g} s each\n")
    print("| utilisation | p50 | p99 | p99.9 | mean | extra requests |\n|---|---|---|---|---|---|")
    worse = []
    for utilisation in map(float, args.utilisations.split(",")):
        summary, extra = compare(utilisation, seeds, args.seconds)
        cells = " | ".join(f"{100 * mean:+.1f} ± {100 * error:.1f} %" for mean, error in summary.values())
        print(f"| {utilisation} | {cells} | {extra:.2%} |", flush=True)
        worse += [f"{name} at {utilisation}" for name in NOT_WORSE if summary[name][0] > 1.5 * summary[name][1]]
    if worse:
        print(f"\nworse: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
