"""One check of the watchdog, without its thread: what it samples, and what it excuses."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator

import pytest

from resilient_client.telemetry._lateness import Repeats
from resilient_client.telemetry._watchdog import Pulse, Watchdog

LATE_AFTER = 0.1


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pulse() -> Pulse:
    """This thread plays the loop. Its beat was due at 10 s."""
    pulse = Pulse()
    pulse.use_this_thread()
    pulse.due = 10.0
    return pulse


@pytest.fixture
def watchdog(loop: asyncio.AbstractEventLoop, pulse: Pulse) -> Watchdog:
    return Watchdog(loop, pulse, LATE_AFTER, Repeats())


def test_late_loop_is_sampled_and_checked_again(pulse: Pulse, watchdog: Watchdog) -> None:
    """The sample says how late the loop was. The next one comes when that has doubled."""
    assert watchdog._check(10.05, 0.0, 0.0) == pytest.approx(0.05)
    assert not pulse.samples
    assert watchdog._check(10.1, 0.0, 0.0) == pytest.approx(0.1)
    (sample,) = pulse.samples
    assert (sample.due, sample.late) == (10.0, pytest.approx(0.1))
    assert sample.place.function == "test_late_loop_is_sampled_and_checked_again"


def test_process_without_cpu_is_not_sampled(pulse: Pulse, watchdog: Watchdog) -> None:
    """A suspended machine is counted, and the loop gets the limit again. On a system without the clock it is blamed."""
    assert watchdog._check(15.0, 4.9, 0.001) == pytest.approx(LATE_AFTER)
    assert (pulse.starved_count, len(pulse.samples)) == (1, 0)
    pulse.due = 20.0
    watchdog._check(25.0, 4.9, math.nan)
    assert (pulse.starved_count, len(pulse.samples)) == (1, 1)


def test_sample_of_a_loop_that_runs_again_is_dropped(pulse: Pulse, watchdog: Watchdog) -> None:
    """A beat between the check and the sample means that the stack is no longer that of the block."""
    watchdog._sample(9.0, 9.5)
    assert not pulse.samples


def test_log_filter_that_raises_harms_nothing(pulse: Pulse, watchdog: Watchdog) -> None:
    """The thread goes on, and the block is counted."""

    def fail(_record: logging.LogRecord) -> bool:
        raise ValueError("no")

    logger = logging.getLogger("resilient_client.loop")
    logger.addFilter(fail)
    try:
        watchdog._check(10.1, 0.0, 0.0)
    finally:
        logger.removeFilter(fail)
    assert len(pulse.samples) == 1


def test_cpu_of_a_thread_that_has_ended_is_unknown(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the clock of the thread, its CPU time is unknown."""

    def ended(_clock: int) -> float:
        raise OSError(22, "Invalid argument")

    assert pulse.cpu_clock is None or pulse.cpu() > 0
    pulse.cpu_clock = 1
    monkeypatch.setattr(time, "clock_gettime", ended)
    assert math.isnan(pulse.cpu())
    pulse.cpu_clock = None
    assert math.isnan(pulse.cpu())
