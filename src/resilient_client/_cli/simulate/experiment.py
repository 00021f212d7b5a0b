"""Runs every variant with every seed. All variants get the same calls at the same times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from resilient_client._cli.simulate.variants import Variant
from resilient_client.simulation import Run, Scenario, simulate


class Result(NamedTuple):
    """The runs of one variant.

    Attributes:
        name: The name of the variant.
        runs: One run per seed, in the order of the seeds.
    """

    name: str
    runs: tuple[Run, ...]


class Experiment(NamedTuple):
    """A scenario with the variants and seeds to run.

    Attributes:
        scenario: The system and its incidents.
        about: The description in the scenario's file, or ``""``.
        variants: The settings to apply to the scenario.
        seeds: One seed per run of a variant.
        command: The command line that runs the experiment.
    """

    scenario: Scenario
    about: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    command: str

    @property
    def seconds(self) -> int:
        """The virtual time of all runs together, in whole seconds."""
        return int(self.scenario.duration) * len(self.variants) * len(self.seeds)


def run_all(experiment: Experiment, on_second: Callable[[], object] = lambda: None) -> tuple[Result, ...]:
    """Run an experiment.

    Args:
        experiment: The experiment.
        on_second: Called for each second of virtual time, ``experiment.seconds`` times in total.

    Raises:
        InvariantBrokenError: An invariant of the simulation does not hold.
    """
    return tuple(
        Result(variant.name, _runs(experiment.scenario.with_config(variant.config), experiment.seeds, on_second))
        for variant in experiment.variants
    )


def _runs(scenario: Scenario, seeds: Sequence[int], on_second: Callable[[], object]) -> tuple[Run, ...]:
    return tuple(simulate(scenario, seed=seed, on_second=lambda _: on_second()) for seed in seeds)
