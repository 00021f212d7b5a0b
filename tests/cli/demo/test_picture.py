"""The picture, without a terminal."""

from __future__ import annotations

import pytest
from tests.cli.demo.kit import dark, drawn, snapshot, upstream

from resilient_client._cli.demo.journal import Entry
from resilient_client._cli.demo.picture import SMALLEST, picture
from resilient_client._cli.demo.snapshot import Snapshot
from resilient_client._cli.demo.timetable import UPSTREAMS, Condition
from resilient_client._policies.circuit.circuit import CircuitState

ENTRIES = tuple(Entry(float(second), "payment", "~", f"#{second} status 503", second) for second in range(40))
MOMENT = snapshot(upstream("inventory"), dark("payment"), upstream("logistics"), entries=ENTRIES)


def shown(moment: Snapshot, width: int = 80, height: int = 24) -> list[str]:
    return drawn(picture(moment, width, height), width)


@pytest.mark.parametrize(
    ("width", "height"), [SMALLEST, (80, 24), (110, 34), (149, 50), (150, 24), (200, 24), (200, 60)]
)
@pytest.mark.parametrize(
    "moment", [MOMENT, snapshot(elapsed=0.0), snapshot(elapsed=17.5)], ids=["end", "begin", "late"]
)
def test_picture_of_any_size_fits_into_it(moment: Snapshot, width: int, height: int) -> None:
    """A line too long or too many would make the terminal scroll."""
    lines = shown(moment, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_picture_of_an_open_circuit_shows_calls_going_on_and_attempts_ceasing(width: int) -> None:
    """The point of it all: what is asked for stays, what reaches the sick upstream falls to nothing."""
    lines = shown(MOMENT, width)
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


def test_picture_says_in_words_and_symbols_what_it_says_in_colours() -> None:
    """Condition, state of the circuit with its countdown, budget, outcomes."""
    text = "\n".join(shown(MOMENT))
    assert "payment  ✗ down: every connection is reset ─" in text
    assert "─ circuit ○ OPEN, 1.2 s ──" in text
    assert "budget ███░░░░░░░  2.6" in text
    assert "  ok 100  circuit_open 90  disconnected 10" in text
    assert "inventory  ✓ well ─" in text
    assert "─ circuit ● closed ──" in text


def test_picture_of_a_half_open_circuit_shows_a_symbol_of_its_own() -> None:
    """Probing is neither open nor closed."""
    probing = upstream(circuit=CircuitState.HALF_OPEN, states=(CircuitState.HALF_OPEN,) * 600)
    text = "\n".join(shown(snapshot(probing)))
    assert "circuit ◐ half-open ──" in text
    assert "◐" * 37 in text


@pytest.mark.parametrize("condition", Condition)
@pytest.mark.parametrize("name", UPSTREAMS)
def test_picture_of_the_smallest_size_has_room_for_the_words_of_every_state(name: str, condition: Condition) -> None:
    """How an upstream is stands left, its circuit right; neither pushes the other out."""
    worst = upstream(name, condition=condition, circuit=CircuitState.OPEN, opens_in=60.0)
    (line,) = (line for line in shown(snapshot(worst), *SMALLEST) if line.startswith(f"── {name}"))
    assert f" {condition} " in line
    assert line.endswith(" circuit ○ OPEN, 60 s ──")


@pytest.mark.parametrize("width", [1, 20, 43, 60])
def test_picture_of_a_terminal_that_shrank_can_still_be_drawn(width: int) -> None:
    """It is a sight, but nothing breaks."""
    assert shown(MOMENT, width, 5)


def test_picture_sums_up_all_upstreams() -> None:
    """Refused is not failed: nothing was sent."""
    healed = upstream("inventory", healed=3, condition=Condition.SLOW)
    lines = shown(snapshot(healed, dark(), upstream("logistics")))
    assert "── all  200 orders, 600 calls: 500 ok (3 by a retry), 10 failed, 90 refused ─" in "\n".join(lines)


@pytest.mark.parametrize("width", [80, 200])
def test_picture_shows_the_latest_news_and_how_often(width: int) -> None:
    """The newest at the bottom, as in a log."""
    text = "\n".join(shown(MOMENT, width))
    assert text.index("#38 status 503 ×38") < text.index("#39 status 503 ×39")
    assert "#1 status" not in text


def test_picture_cuts_long_news_but_never_their_number() -> None:
    """How often something happened is the last thing to leave out."""
    entry = Entry(1.0, "payment", "x", "very " * 40, 17)
    (line,) = (line for line in shown(snapshot(entries=(entry,))) if "very" in line)
    assert line.endswith("… ×17")
    assert len(line) == 80


def test_picture_late_says_what_it_waits_for_only_while_it_does() -> None:
    """After the last order there are calls to end; after these there is nothing to wait for."""
    waiting = snapshot(upstream(outcomes={"ok": 599}), elapsed=15.5)
    over = snapshot(upstream(outcomes={"ok": 600}), elapsed=15.5)
    assert "the last calls end" in shown(waiting)[1]
    assert "the last calls end" not in shown(over)[1]


def test_picture_of_the_same_moment_is_the_same() -> None:
    """It depends on nothing else."""
    assert shown(MOMENT) == shown(MOMENT)
