"""The plain lines."""

from __future__ import annotations

from tests.cli.demo.kit import dark, snapshot, upstream

from resilient_client._cli.demo import plain
from resilient_client._cli.demo.books import Fact
from resilient_client._cli.demo.journal import Entry
from resilient_client._cli.demo.timetable import Timetable
from resilient_client._policies.circuit.circuit import CircuitState


def test_status_says_for_each_upstream_what_was_asked_and_what_was_sent() -> None:
    """The columns are those of the heading."""
    probing = upstream("logistics", circuit=CircuitState.HALF_OPEN, sent_per_second=3.0)
    line = plain.status(snapshot(upstream(), dark(), probing, elapsed=6.04))
    assert line == "  6.0 s = 30 > 30 closed         30 >  0 open           30 >  3 half-open"
    names = plain.heading(Timetable())[-1]
    assert [names.index(name) for name in ("inventory", "payment", "logistics")] == [10, 33, 56]


def test_line_of_an_entry_is_wrapped_and_ends_with_the_number_of_times() -> None:
    """80 columns, and nothing lost."""
    lines = plain.line(Entry(12.34, "payment", "x", "word " * 20, 12))
    assert lines[0].startswith(" 12.3 s x payment: word word")
    assert lines[-1].endswith(" (x12)")
    assert max(map(len, lines)) <= plain.WIDTH
    assert " ".join(lines).split().count("word") == 20


def test_line_of_something_that_happened_once_says_no_number() -> None:
    """Once is what one expects."""
    assert plain.line(Entry(1.0, "payment", "!", "circuit OPEN")) == ["  1.0 s ! payment: circuit OPEN"]


def test_fact_is_wrapped_beside_its_name() -> None:
    """The second line begins where the text of the first does."""
    assert [line[:14] for line in plain.fact(Fact("failed", "kind 10, " * 10))] == ["failed    kind", "          10, "]
