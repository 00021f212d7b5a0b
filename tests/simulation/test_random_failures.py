"""Random failures of a healthy upstream, which retries are made for."""

from __future__ import annotations

import pytest
from tests.simulation.support import plain

from resilient_client import ClientConfig, RetryBudget
from resilient_client.simulation import NONE, Totals, simulate

pytestmark = pytest.mark.slow


def with_failures(rate: float, over: ClientConfig | None = None) -> Totals:
    """Run 10 clients with 10 calls per second for 5 minutes; this share of their requests fails."""
    scenario = plain(clients=10, rate=10, duration=300, error_rate=rate)
    return simulate(scenario if over is None else scenario.with_config(over)).totals


@pytest.mark.parametrize(("rate", "success", "load"), [(0.01, 0.9999, 1.02), (0.05, 0.999, 1.06), (0.20, 0.94, 1.2)])
def test_random_failures_are_retried_at_little_load(rate: float, success: float, load: float) -> None:
    """With 1, 5 and 20 % failures, 99.99, 99.9 and 94 % of calls succeed, at 1.02, 1.06 and 1.2 times the load."""
    totals = with_failures(rate)
    assert totals.success >= success
    assert totals.amplification <= load


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.20])
def test_random_failures_without_retries_reach_callers(rate: float) -> None:
    """Negative control: without retries, the share of failed calls is that of failed requests."""
    totals = with_failures(rate, NONE)
    assert totals.success == pytest.approx(1 - rate, abs=0.005)
    assert totals.amplification == 1


def test_random_failures_without_budget_cost_more() -> None:
    """Negative control: without a budget, the load is above 1.2 with 20 % failures."""
    assert with_failures(0.20, ClientConfig(retry_budget=None)).amplification > 1.2


def test_random_failures_with_small_budget_fail_calls() -> None:
    """Negative control: with half of the deposit, more than a tenth of the calls fail with 20 % failures."""
    assert with_failures(0.20, ClientConfig(retry_budget=RetryBudget(max_extra_load=0.1))).success < 0.90
