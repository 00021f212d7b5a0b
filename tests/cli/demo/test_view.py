"""The picture and the plain lines, drawn without a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cli.demo.support import down, rendered, snapshot, upstream

from resilient_client._cli.demo.orders import Fact
from resilient_client._cli.demo.state import Entry, Snapshot
from resilient_client._cli.demo.upstreams import UPSTREAMS, Condition, Timetable
from resilient_client._cli.demo.view import (
    MIN_SIZE,
    PLAIN_WIDTH,
    draw,
    plain_entry,
    plain_fact,
    plain_heading,
    plain_status,
    write_svg,
)
from resilient_client._policies.circuit.circuit import CircuitState

ENTRIES = tuple(Entry(float(second), "payment", "~", f"#{second} status 503", second) for second in range(40))
END = snapshot(upstream("inventory"), down("payment"), upstream("logistics"), entries=ENTRIES)


def drawn(now: Snapshot, width: int = 80, height: int = 24) -> list[str]:
    return rendered(draw(now, width, height), width)


@pytest.mark.parametrize(
    ("width", "height"), [MIN_SIZE, (80, 24), (110, 34), (149, 50), (150, 24), (200, 24), (200, 60)]
)
@pytest.mark.parametrize("now", [END, snapshot(elapsed=0.0), snapshot(elapsed=17.5)], ids=["end", "begin", "late"])
def test_picture_fits_its_size(now: Snapshot, width: int, height: int) -> None:
    """A line too wide, or one line too many, would make the terminal scroll."""
    lines = drawn(now, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_picture_of_an_open_circuit_shows_sent_fall(width: int) -> None:
    """Calls continue at their rate, while nothing reaches the unhealthy upstream."""
    lines = drawn(END, width)
    below = lines[next(number for number, line in enumerate(lines) if "payment  ✗" in line) :]
    calls, sent, circuit = (
        next(line for line in below if line.startswith(f"  {label}"))[16:].split("  ")[0]
        for label in ("calls", "sent", "circuit")
    )
    half = len(calls) // 2
    assert set(calls[:half]) == set(calls[half:]) == set(sent[:half])
    assert set(sent[half + 1 :]) == {"·"}
    assert set(circuit[:half]) == {"─"}
    assert set(circuit[half + 1 :]) == {"×"}


def test_picture_does_not_rely_on_colour() -> None:
    """Words and symbols show the condition, the circuit with its countdown, the budget and the outcomes."""
    text = "\n".join(drawn(END))
    assert "payment  ✗ down: every connection is reset ─" in text
    assert "─ circuit ○ OPEN, 1.2 s ──" in text
    assert "budget ███░░░░░░░  2.6" in text
    assert "  ok 100  circuit_open 90  disconnected 10" in text
    assert "inventory  ✓ healthy ─" in text
    assert "─ circuit ● closed ──" in text


def test_picture_marks_a_half_open_circuit() -> None:
    """Half-open has its own symbol."""
    probing = upstream(circuit=CircuitState.HALF_OPEN, states=(CircuitState.HALF_OPEN,) * 600)
    text = "\n".join(drawn(snapshot(probing)))
    assert "circuit ◐ half-open ──" in text
    assert "◐" * 37 in text


@pytest.mark.parametrize("condition", Condition)
@pytest.mark.parametrize("name", UPSTREAMS)
def test_smallest_picture_holds_every_condition(name: str, condition: Condition) -> None:
    """The condition on the left and the circuit on the right both fit into the line."""
    longest = upstream(name, condition=condition, circuit=CircuitState.OPEN, half_opens_in=60.0)
    (line,) = (line for line in drawn(snapshot(longest), *MIN_SIZE) if line.startswith(f"── {name}"))
    assert f" {condition} " in line
    assert line.endswith(" circuit ○ OPEN, 60 s ──")


@pytest.mark.parametrize("width", [1, 20, 43, 60])
def test_picture_of_a_shrunk_terminal_is_drawn(width: int) -> None:
    """It is ugly, but nothing raises."""
    assert drawn(END, width, 5)


def test_picture_totals_all_upstreams() -> None:
    """Refused calls are not counted as failed: nothing was sent."""
    recovered = upstream("inventory", recovered=3, condition=Condition.SLOW)
    lines = drawn(snapshot(recovered, down(), upstream("logistics")))
    assert "── all  200 orders, 600 calls: 500 ok (3 by a retry), 10 failed, 90 refused ─" in "\n".join(lines)


@pytest.mark.parametrize("width", [80, 200])
def test_picture_shows_the_latest_entries(width: int) -> None:
    """The newest entry is at the bottom, as in a log."""
    text = "\n".join(drawn(END, width))
    assert text.index("#38 status 503 ×38") < text.index("#39 status 503 ×39")
    assert "#1 status" not in text


def test_picture_truncates_text_but_not_counts() -> None:
    """A long entry loses its end, never its count."""
    entry = Entry(1.0, "payment", "x", "very " * 40, 17)
    (line,) = (line for line in drawn(snapshot(entries=(entry,))) if "very" in line)
    assert line.endswith("… ×17")
    assert len(line) == 80


def test_picture_shows_that_it_waits_for_calls() -> None:
    """After the last order the picture names what it waits for, as long as calls are open."""
    waiting = snapshot(upstream(outcomes={"ok": 599}), elapsed=15.5)
    over = snapshot(upstream(outcomes={"ok": 600}), elapsed=15.5)
    assert "waiting for calls" in drawn(waiting)[1]
    assert "waiting for calls" not in drawn(over)[1]


def test_picture_is_deterministic() -> None:
    """The picture depends on nothing but the snapshot and the size."""
    assert drawn(END) == drawn(END)


def test_svg_loads_nothing_from_the_network(tmp_path: Path) -> None:
    """The file holds the picture, and no reference to any other resource."""
    write_svg(END, tmp_path / "demo.svg")
    text = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg ")
    assert "logistics" in text
    assert re.findall(r"(?:url\(|href=|src=)\W*https?:", text) == []


def test_status_shows_calls_and_attempts_of_each_upstream() -> None:
    """The columns are those of the heading."""
    probing = upstream("logistics", circuit=CircuitState.HALF_OPEN, sent_per_second=3.0)
    line = plain_status(snapshot(upstream(), down(), probing, elapsed=6.04))
    assert line == "  6.0 s = 30 > 30 closed         30 >  0 open           30 >  3 half-open"
    names = plain_heading(Timetable())[-1]
    assert [names.index(name) for name in ("inventory", "payment", "logistics")] == [10, 33, 56]


def test_plain_entry_is_wrapped_and_ends_with_its_count() -> None:
    """No line is wider than 80 columns, and no word is lost."""
    lines = plain_entry(Entry(12.34, "payment", "x", "word " * 20, 12))
    assert lines[0].startswith(" 12.3 s x payment: word word")
    assert lines[-1].endswith(" (x12)")
    assert max(map(len, lines)) <= PLAIN_WIDTH
    assert " ".join(lines).split().count("word") == 20


def test_plain_entry_that_happened_once_has_no_count() -> None:
    """A count of one is left out."""
    assert plain_entry(Entry(1.0, "payment", "!", "circuit OPEN")) == ["  1.0 s ! payment: circuit OPEN"]


def test_plain_fact_is_aligned_with_its_name() -> None:
    """The second line begins where the text of the first one does."""
    assert [line[:14] for line in plain_fact(Fact("failed", "kind 10, " * 10))] == ["failed    kind", "          10, "]
