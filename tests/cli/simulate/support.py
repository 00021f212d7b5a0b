"""A short comparison that several tests share."""

from __future__ import annotations

from functools import cache

from resilient_client._cli.simulate.experiment import Experiment, Result, run_all
from resilient_client._cli.simulate.variants import variants
from resilient_client.simulation._files import parsed_scenario

SHORT = """
about = "an upstream that freezes"
duration = 12

[client.timeout]
attempt = 1

[upstreams.api]
service = "50ms"
changes = [{ kind = "outage", how = "error", at = 3, lasting = 3 }]

[callers.shop]
calls = "api"
clients = 2
arrivals = 10
"""


@cache
def compared(*compare: str, seeds: int = 1) -> tuple[Experiment, tuple[Result, ...]]:
    """Run the short scenario under these settings. The result is cached."""
    file = parsed_scenario(SHORT, "short.toml", "short")
    command = "resilient-client simulate short.toml"
    experiment = Experiment(file.scenario, file.about, variants(compare), tuple(range(1, 1 + seeds)), command)
    return experiment, run_all(experiment)
