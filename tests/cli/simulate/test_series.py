"""The series and incidents that are drawn of a run."""

from __future__ import annotations

import pytest
from tests.cli.simulate.support import SHORT, compared

from resilient_client._cli.simulate.figure import figure, saved
from resilient_client._cli.simulate.report import report
from resilient_client._cli.simulate.series import Incident, focus_upstream, incidents_of, series_of
from resilient_client.simulation import Run, simulate
from resilient_client.simulation._files import parsed_scenario

LAYERS = """
duration = 8
[upstreams.front]
calls = ["db", "db2"]
[upstreams.db2]
[upstreams.db]
changes = [{ kind = "outage", how = "error", at = 3, lasting = 2 }]
[callers.shop]
calls = "front"
clients = 2
arrivals = { kind = "poisson", rate = 5, changes = [{ at = 6, lasting = 1, rate = 9 }, { at = 7, rate = 1 }] }
[callers.jobs]
calls = "db"
arrivals = { kind = "herd", at = 2 }
"""


@pytest.fixture(scope="module")
def layered() -> Run:
    """A run of services that call each other, with two groups of callers and all kinds of incidents."""
    return simulate(parsed_scenario(LAYERS, "x.toml", "x").scenario)


def test_series_are_of_the_affected_upstream(layered: Run) -> None:
    """Offered calls are those that would reach it without retries and refusals, directly or through other services."""
    assert focus_upstream(layered.scenario) == "db"
    series = series_of(layered, "db")
    assert sum(series.offered) == sum(layered.calls["shop"].offered) + sum(layered.calls["jobs"].offered)
    assert {len(each) for each in series if each is not None} == {8}


def test_series_without_a_circuit_have_none() -> None:
    """As with ``retry=none``: an empty strip would look like circuits that stay closed."""
    _, (none,) = compared("retry=none")
    assert series_of(none.runs[0], "api").open is None
    _, (quick,) = compared("circuit_breaker.window=1")
    assert max(series_of(quick.runs[0], "api").open or ()) > 0


def test_incidents_are_named_and_in_order(layered: Run) -> None:
    """Changes of the upstream and of its callers' rates are listed."""
    assert incidents_of(layered.scenario, "db") == [
        Incident("herd", 2, 3), Incident("outage", 3, 5), Incident("spike", 6, 7), Incident("lull", 7, 8),
    ]  # fmt: skip  # one a line says no more


@pytest.mark.parametrize("duration", [2.0, 0.01], ids=["before the incident", "no calls"])
def test_short_run_has_no_incident(duration: float) -> None:
    """Without an incident, or even a call, there is still a report and a picture."""
    experiment, results = compared()
    scenario = parsed_scenario(SHORT, "x.toml", "x").scenario.model_copy(update={"duration": duration})
    short = (results[0]._replace(runs=(simulate(scenario),)),)
    assert incidents_of(scenario, "api") == []
    text = "\n".join(line.plain for line in report(experiment._replace(scenario=scenario), short, 80))
    assert "━" not in text
    assert "recovery, s" in text
    assert saved(figure(experiment._replace(scenario=scenario), short), "svg")
