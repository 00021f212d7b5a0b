"""The measures that are compared, and their spread over the seeds. Pure functions.

Over several seeds a measure is shown as its median, lowest and highest value: the runs are too few for quantiles.
``inf`` is a recovery that never came. ``nan`` means that there was nothing to measure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from resilient_client._cli.simulate.experiment import Result
from resilient_client.simulation import Run
from resilient_client.simulation._report import WINDOW, Totals


class Spread(NamedTuple):
    """The values of a measure over all seeds. All three are equal for a single seed."""

    median: float
    lowest: float
    highest: float


class Measure(NamedTuple):
    """A measure: one line of the table.

    Attributes:
        key: The name in JSON.
        name: The name in the table.
        unit: The unit in which it is shown, or ``""``.
        of: Takes the value from the totals of a run.
        scale: Converts the value to ``unit``, as a factor.
        places: Decimals that are shown, or ``None`` for three significant digits.
    """

    key: str
    name: str
    unit: str
    of: Callable[[Totals], float | None]
    scale: float = 1.0
    places: int | None = None


MEASURES: Final = (
    Measure("goodput", "goodput", "calls/s", lambda t: t.goodput, places=1),
    Measure("success", "success", "%", lambda t: t.success, 100.0),
    Measure("amplification", "amplification", "×", lambda t: t.amplification, places=2),
    Measure("peak_load", "peak load", "requests/s", lambda t: t.peak_load, places=0),
    Measure("recovery", "recovery", "s", lambda t: t.recovery, places=0),
    Measure("p50", "p50", "s", lambda t: t.p50),
    Measure("p99", "p99", "s", lambda t: t.p99),
    Measure("p999", "p99.9", "s", lambda t: t.p999),
    Measure("rejected", "rejected", "calls", lambda t: t.rejected, places=0),
    Measure("wasted", "wasted", "requests", lambda t: t.wasted, places=0),
)
"""The measures, in the order of the table."""

LEGEND: Final = (
    "goodput: successful calls per second; amplification: requests made for each request that would be needed without "
    "retries and refusals; recovery: seconds from the end of the incident until calls succeed as before; p50 to p99.9: "
    "of successful calls; rejected: refused by the client, nothing sent; wasted: requests completed after their client "
    "had given up."
)


def value(run: Run, measure: Measure) -> float:
    """Return a measure of one run, which may be ``inf`` or ``nan`` (see the module's docstring)."""
    number = measure.of(run.totals)
    if number is not None:
        return number
    # Only the recovery can be None: it never came, or the run ended too soon after the incident to see it.
    incident = run.scenario.incident
    observed = incident is not None and run.scenario.duration - incident[1] > WINDOW
    return math.inf if observed else math.nan


def spread(result: Result, measure: Measure) -> Spread:
    """Return the spread of a measure over all seeds. Runs with nothing to measure are left out, unless all are."""
    known = [number for run in result.runs if not math.isnan(number := value(run, measure))]
    return Spread(_median(known), min(known), max(known)) if known else Spread(math.nan, math.nan, math.nan)


def format_spread(measure: Measure, of: Spread) -> str:
    """Format a cell of the table: ``39.6``, or ``39.6 (38.9–40.1)`` if the seeds differ."""
    middle, low, high = (format_number(number * measure.scale, measure.places) for number in of)
    return middle if low == high else f"{middle} ({low}–{high})"


def format_number(number: float, places: int | None = None) -> str:
    """Format a number with this many decimals, or with three significant digits."""
    if math.isnan(number):
        return "-"
    if math.isinf(number):
        return "never"
    if places is not None:
        return f"{number:.{places}f}"
    if 99 <= number < 100:
        return f"{min(number, 99.99):.2f}"  # 99.999 % must not be shown as 100
    return f"{number:.{3 if number < 1 else 2 if number < 10 else 1 if number < 100 else 0}f}"


def describe_seeds(seeds: Sequence[int]) -> str:
    """Describe which seeds the numbers are from, and what is shown of them."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"median (lowest–highest) of {len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"


def _median(numbers: Sequence[float]) -> float:
    """Return the median, or the lower middle value of an even number: the mean of 9 and ``inf`` means nothing."""
    return statistics.median_low(numbers)
