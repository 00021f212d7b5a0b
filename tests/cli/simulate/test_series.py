"""What is drawn of a run."""

from __future__ import annotations

import pytest
from tests.cli.simulate.kit import SHORT, compared

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
    """Services below one another, two groups of callers, troubles of all kinds."""
    return simulate(parsed_scenario(LAYERS, "x.toml", "x").scenario)


def test_series_are_of_the_upstream_that_trouble_befalls(layered: Run) -> None:
    """Offered is what would reach it if nobody repeated or refused: by way of services, and directly."""
    assert focus_upstream(layered.scenario) == "db"
    printed = series_of(layered, "db")
    assert sum(printed.offered) == sum(layered.calls["shop"].offered) + sum(layered.calls["jobs"].offered)
    assert {len(each) for each in printed if each is not None} == {8}


def test_series_without_a_circuit_have_none() -> None:
    """As with ``retry=none``; an empty strip would look like circuits that stay closed."""
    _, (none,) = compared("retry=none")
    assert series_of(none.runs[0], "api").open is None
    _, (quick,) = compared("circuit_breaker.window=1")
    assert max(series_of(quick.runs[0], "api").open or ()) > 0


def test_troubles_are_named_and_in_order_of_time(layered: Run) -> None:
    """What befalls the upstream, and when its callers call otherwise."""
    assert incidents_of(layered.scenario, "db") == [
        Incident("herd", 2, 3), Incident("outage", 3, 5), Incident("spike", 6, 7), Incident("lull", 7, 8),
    ]  # fmt: skip  # one a line says no more


@pytest.mark.parametrize("duration", [2.0, 0.01], ids=["before the trouble", "no calls"])
def test_run_that_ends_early_is_drawn_without_what_did_not_happen(duration: float) -> None:
    """No trouble, perhaps no call: still a report and a picture."""
    experiment, results = compared()
    scenario = parsed_scenario(SHORT, "x.toml", "x").scenario.model_copy(update={"duration": duration})
    short = (results[0]._replace(runs=(simulate(scenario),)),)
    assert incidents_of(scenario, "api") == []
    text = "\n".join(line.plain for line in report(experiment._replace(scenario=scenario), short, 80))
    assert "━" not in text
    assert "recovery, s" in text
    assert saved(figure(experiment._replace(scenario=scenario), short), "svg")
