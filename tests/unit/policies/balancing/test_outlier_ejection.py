"""Whether one endpoint is healthy, and how it comes back."""

import random

import pytest

from resilient_client._policies.balancing.outlier_ejection import MIN_WEIGHT, OutlierState
from resilient_client._settings.load_balancing import HealthCheck, LoadBalancing


class Low(random.Random):
    """A random generator at its lowest, so that no jitter is added."""

    def uniform(self, a: float, _b: float) -> float:
        return a


def ejections(outlier_state: OutlierState, now: float, count: int, pause: float = 0.0) -> list[float]:
    """The lengths of ejections when it fails again ``pause`` seconds after each return."""
    spans = []
    for _ in range(count):
        outlier_state.eject(now, Low())
        spans.append(outlier_state.until - now)
        now = outlier_state.until + pause
        outlier_state.readmit(outlier_state.until)
    return spans


def test_ejection_doubles_up_to_the_longest() -> None:
    """An endpoint that fails again stays away for twice as long, at most for ``max_ejection_time``."""
    settings = LoadBalancing(ejection_time=10, max_ejection_time=60)
    assert ejections(OutlierState(settings), 0.0, 5) == [
        10,
        20,
        40,
        60,
        60,
    ]


def test_ejection_starts_over_after_a_long_recovery() -> None:
    """An endpoint that was healthy for ``max_ejection_time`` seconds begins with the first span again."""
    settings = LoadBalancing(ejection_time=10, max_ejection_time=60)
    assert ejections(OutlierState(settings), 0.0, 3, pause=60) == [
        10,
        10,
        10,
    ]


def test_ejection_is_never_shorter_than_set() -> None:
    """Jitter adds up to a quarter, so that the endpoints of a fleet do not come back in step."""
    for seed in range(50):
        outlier_state = OutlierState(LoadBalancing())
        outlier_state.eject(0.0, random.Random(seed))
        assert 10 <= outlier_state.until <= 12.5


@pytest.mark.parametrize(("after", "weight"), [(0, MIN_WEIGHT), (5, 0.5), (9, 0.9), (10, 1.0), (100, 1.0)])
def test_slow_start_grows_from_a_tenth_to_a_full_share(after: float, weight: float) -> None:
    """In proportion to the time since it came back."""
    outlier_state = OutlierState(LoadBalancing(slow_start=10))
    outlier_state.start_slowly(50.0)
    assert outlier_state.weight(50.0 + after) == pytest.approx(weight)


def test_slow_start_switched_off_gives_the_full_share_at_once() -> None:
    """``slow_start=0`` is no division by zero."""
    outlier_state = OutlierState(LoadBalancing(slow_start=0))
    outlier_state.start_slowly(50.0)
    assert outlier_state.weight(50.0) == 1.0


def test_health_check_changes_after_fall_and_rise() -> None:
    """A single contrary answer starts the count over. The very first decides at once."""
    outlier_state = OutlierState(LoadBalancing(health_check=HealthCheck(rise=2, fall=3)))

    def after(*answers: bool) -> bool:
        for good in answers:
            outlier_state.checked(good, 0.0)
        return outlier_state.healthy

    assert not after(False)
    assert after(True, True)
    assert after(False, False, True, False, False)
    assert not after(False)
    assert not after(True, False, True)
    assert after(True)
