"""A comparison as one JSON object. ``schema`` is its version: it changes only when the meaning of a field changes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._cli.simulate.numbers import MEASURES, spread
from resilient_client._cli.simulate.series import focus_upstream, incidents_of, series_of
from resilient_client.simulation import Run

SCHEMA: Final = 1


def as_json(experiment: Experiment, results: Sequence[Result]) -> str:
    """Return the object in one line."""
    scenario = experiment.scenario
    focus = focus_upstream(scenario)
    return json.dumps(
        {
            "schema": SCHEMA,
            "scenario": scenario.name,
            "about": experiment.about,
            "duration": scenario.duration,
            "seeds": experiment.seeds,
            "upstream": focus,
            "incidents": [incident._asdict() for incident in incidents_of(scenario, focus)],
            "variants": [_variant(result, focus) for result in results],
        },
        ensure_ascii=False,
        allow_nan=False,
    )


def _variant(result: Result, focus: str) -> dict[str, Any]:
    return {
        "name": result.name,
        "spread": {
            measure.key: {name: _number(value) for name, value in spread(result, measure)._asdict().items()}
            for measure in MEASURES
        },
        "runs": [_run(run, focus) for run in result.runs],
    }


def _run(run: Run, focus: str) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "totals": {name: _number(value) for name, value in asdict(run.totals).items()},
        "failures": dict(sorted(run.kinds.items())),
        "series": series_of(run, focus)._asdict(),
    }


def _number(value: float | None) -> float | None:
    """Return ``None`` for ``nan`` (nothing to measure) and ``inf`` (never), which JSON does not have."""
    return None if value is None or not math.isfinite(value) else value
