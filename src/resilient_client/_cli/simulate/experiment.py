"""Every variant with every seed: the same calls at the same times for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from resilient_client._cli.simulate.variants import Variant
from resilient_client.simulation import Run, Scenario, simulate


class Result(NamedTuple):
    """What became of one variant.

    Attributes:
        name: What it is called.
        runs: One for each seed, in their order.
    """

    name: str
    runs: tuple[Run, ...]


class Experiment(NamedTuple):
    """What is run, and how.

    Attributes:
        scenario: What befalls whom.
        about: What its file says of it.
        variants: The settings laid over it.
        seeds: Where chance comes from, run by run.
        command: The command that runs it.
    """

    scenario: Scenario
    about: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    command: str

    @property
    def seconds(self) -> int:
        """Of all runs together, in virtual time."""
        return int(self.scenario.duration) * len(self.variants) * len(self.seeds)


def run_all(experiment: Experiment, on_second: Callable[[], object] = lambda: None) -> tuple[Result, ...]:
    """Run it.

    Args:
        experiment: What to run.
        on_second: Is told of each second of virtual time that has passed, as many as ``experiment.seconds``.

    Raises:
        InvariantBrokenError: An invariant of the simulation does not hold.
    """
    return tuple(
        Result(variant.name, _runs(experiment.scenario.with_config(variant.config), experiment.seeds, on_second))
        for variant in experiment.variants
    )


def _runs(scenario: Scenario, seeds: Sequence[int], on_second: Callable[[], object]) -> tuple[Run, ...]:
    return tuple(simulate(scenario, seed=seed, on_second=lambda _: on_second()) for seed in seeds)
