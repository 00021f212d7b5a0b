"""Decisions about a late loop, with times as plain numbers."""

from __future__ import annotations

import pytest

from resilient_client.telemetry._lateness import (
    LOG_EVERY,
    MAX_PLACES,
    BlockedPlaces,
    Repeats,
    Sample,
    Sampling,
    longest_sample,
    next_scan,
)
from resilient_client.telemetry._stack import CodePlace


def at(function: str, line: int = 1) -> CodePlace:
    return CodePlace("app.py", line, function)


def sample(function: str, late: float, line: int = 1) -> Sample:
    return Sample(0.0, late, at(function, line), (at(function, line),))


def test_loop_in_time_is_never_sampled() -> None:
    """As long as beats come, the watchdog only sleeps, and wakes no more often than the beats."""
    sampling, now, checks, beats = Sampling(0.1), 0.05, 0, 0
    while now < 10.0:
        due = (now // 0.1 + 1) * 0.1  # the beats come every 0.1 s
        wait = sampling.wait(due, now)
        assert wait > 0
        now, checks, beats = now + wait, checks + 1, int(now / 0.1)
    assert checks <= beats + 2


def test_late_loop_is_sampled_at_doubling_lateness() -> None:
    """A block of a minute costs about ten samples."""
    sampling, now, taken = Sampling(0.1), 0.0, list[float]()
    while now < 60:
        wait = sampling.wait(0.0, now)
        if wait == 0:
            taken.append(now)
            sampling.sampled(now)
        now += wait
    assert taken == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2])


def test_next_beat_starts_a_new_count() -> None:
    """After a beat, the loop has the whole limit again."""
    sampling = Sampling(0.1)
    assert sampling.wait(0.0, 0.3) == 0
    sampling.sampled(0.3)
    assert sampling.wait(0.35, 0.36) == pytest.approx(0.09)


def test_lateness_without_cpu_is_excused() -> None:
    """If the watchdog overslept and the loop used no CPU, the process did not run. The loop gets the limit again."""
    sampling = Sampling(0.1)
    assert sampling.wait(0.0, 5.0) == 0
    assert sampling.excused(5.0, overslept=4.9, cpu=0.01)
    assert sampling.wait(0.0, 5.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("overslept", "cpu"),
    [(4.9, 4.8), (0.01, 0.0), (4.9, float("inf"))],
    ids=["callback keeps the interpreter", "callback sleeps", "CPU is unknown"],
)
def test_lateness_of_a_callback_is_not_excused(overslept: float, cpu: float) -> None:
    """A callback that computes makes the watchdog late, and uses the CPU. One that sleeps does not make it late."""
    sampling = Sampling(0.1)
    assert sampling.wait(0.0, 5.0) == 0
    assert not sampling.excused(5.0, overslept, cpu)


def test_excuse_is_given_once() -> None:
    """On a machine that is always too busy, a callback that blocks is sampled all the same."""
    sampling = Sampling(0.1)
    assert sampling.wait(0.0, 1.0) == 0
    assert sampling.excused(1.0, overslept=0.9, cpu=0.0)
    assert sampling.wait(0.0, 2.0) == 0
    assert not sampling.excused(2.0, overslept=0.9, cpu=0.0)
    assert sampling.wait(3.0, 4.0) == 0
    assert sampling.excused(4.0, overslept=0.9, cpu=0.0)


def test_place_of_a_block_is_that_of_most_time() -> None:
    """The time before a sample counts for its place, and the time after the last one for that one."""
    short, long = sample("short", 0.1), sample("long", 0.2)
    assert longest_sample([short, long], 5.0) is long
    assert longest_sample([short], 5.0) is short
    assert longest_sample([sample("first", 3.0), sample("second", 3.1)], 3.2).place == at("first")  # type: ignore[union-attr]
    assert longest_sample([], 5.0) is None


def test_function_is_one_place_at_its_worst_line() -> None:
    """Two lines of a function count together. The line is that of the longest block."""
    places = BlockedPlaces()
    places.add(sample("load", 0.2, line=7), 0.2)
    places.add(sample("load", 0.9, line=8), 0.9)
    places.add(sample("load", 0.3, line=9), 0.3)
    places.add(sample("parse", 0.5), 0.5)
    assert [(blocked.place, blocked.times, blocked.longest) for blocked in places.snapshot()] == [
        (at("load", 8), 3, 0.9),
        (at("parse"), 1, 0.5),
    ]


def test_places_are_bounded() -> None:
    """A program that blocks everywhere does not fill the memory, and known places still count."""
    places = BlockedPlaces()
    for number in range(MAX_PLACES + 50):
        places.add(sample(f"f{number}", 1.0), 1.0)
    places.add(sample("f0", 1.0), 1.0)
    assert len(places.snapshot()) == MAX_PLACES
    assert next(blocked.times for blocked in places.snapshot() if blocked.place == at("f0")) == 2


def test_repeats_are_left_out_and_counted() -> None:
    """A place is logged at once, then once per period with the number of messages in between."""
    repeats = Repeats()
    assert repeats.suppressed(at("load"), 0.0) == 0
    assert repeats.suppressed(at("load", 2), 1.0) is None
    assert repeats.suppressed(at("load"), 2.0) is None
    assert repeats.suppressed(at("parse"), 3.0) == 0
    assert repeats.suppressed(at("load"), LOG_EVERY) == 2
    assert repeats.suppressed(at("load"), 2 * LOG_EVERY) == 0


def test_messages_of_many_places_share_a_bound() -> None:
    """Beyond the bound of places, all others together are logged once per period."""
    repeats = Repeats()
    logged = [repeats.suppressed(at(f"f{number}"), 0.0) for number in range(MAX_PLACES + 50)]
    assert sum(suppressed is not None for suppressed in logged) == MAX_PLACES + 1


def test_scan_of_many_calls_is_rarer() -> None:
    """Calls are listed every second, but for at most 0.1 % of a core."""
    assert next_scan(10.0, 0.0001) == 11.0
    assert next_scan(10.0, 0.02) == 30.0
