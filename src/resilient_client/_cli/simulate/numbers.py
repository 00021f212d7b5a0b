"""What is compared: a few numbers of a run, and their spread over the seeds. Pure.

Over several seeds a number is told as its median, with the lowest and the highest: with so few runs, nothing finer
would be honest. ``inf`` stands for a recovery that never came, ``nan`` for what there was nothing to measure of.
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
    """One number over all seeds; all three are the same if there was one."""

    median: float
    lowest: float
    highest: float


class Measure(NamedTuple):
    """One line of the table.

    Attributes:
        key: What programs call it.
        name: What people call it.
        unit: Of what is shown; may be empty.
        of: From the totals of a run to the number.
        scale: What the number is multiplied by to be shown in ``unit``.
        places: Decimals that are shown; ``None``: three digits that count.
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
"""In the order of the table."""

LEGEND: Final = (
    "goodput: successful calls a second; amplification: requests for each that would have been made, had nobody "
    "repeated or refused any; recovery: seconds from the end of the trouble until calls succeeded as before; p50 to "
    "p99.9: of successful calls; rejected: refused by the client, nothing sent; wasted: requests done for clients that "
    "had left."
)


def value(run: Run, measure: Measure) -> float:
    """The number of one run; ``inf`` or ``nan`` as said above."""
    number = measure.of(run.totals)
    if number is not None:
        return number
    trouble = run.scenario.incident
    told = trouble is not None and run.scenario.duration - trouble[1] > WINDOW
    return math.inf if told else math.nan


def spread(result: Result, measure: Measure) -> Spread:
    """The number over all seeds. Runs with nothing to measure do not count, unless it is all of them."""
    known = [number for run in result.runs if not math.isnan(number := value(run, measure))]
    return Spread(_median(known), min(known), max(known)) if known else Spread(math.nan, math.nan, math.nan)


def shown(measure: Measure, of: Spread) -> str:
    """As a cell of a table: ``39.6``, or ``39.6 (38.9–40.1)`` if seeds differ."""
    middle, low, high = (digits(number * measure.scale, measure.places) for number in of)
    return middle if low == high else f"{middle} ({low}–{high})"


def digits(number: float, places: int | None = None) -> str:
    """A number with so many decimals; without: with three digits that count."""
    if math.isnan(number):
        return "-"
    if math.isinf(number):
        return "never"
    if places is not None:
        return f"{number:.{places}f}"
    if 99 <= number < 100:
        return f"{min(number, 99.99):.2f}"  # 99.999 % is not all
    return f"{number:.{3 if number < 1 else 2 if number < 10 else 1 if number < 100 else 0}f}"


def over_seeds(seeds: Sequence[int]) -> str:
    """How the numbers are to be read."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"median (lowest–highest) of {len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"


def _median(numbers: Sequence[float]) -> float:
    """The lower of the two in the middle if there are two: the mean of 9 and never is no number."""
    return statistics.median_low(numbers)
