"""The whole demo in this process, watched by the test."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from resilient_client._cli import main
from resilient_client._cli.demo import stage
from resilient_client._cli.demo.books import Books, Fact
from resilient_client._cli.demo.shows import Show
from resilient_client._cli.demo.snapshot import Snapshot
from resilient_client._cli.demo.stage import perform
from resilient_client._cli.demo.timetable import Condition, Timetable
from resilient_client._policies.circuit.circuit import CircuitState


class Memory:
    """A show that keeps what it is told."""

    def __init__(self) -> None:
        self.moments: list[Snapshot] = []
        self.summary: list[Fact] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def moment(self, now: Snapshot) -> None:
        self.moments.append(now)

    def facts(self, facts: list[Fact]) -> None:
        self.summary = facts


class Leaving(Memory):
    """A show whose spectator leaves."""

    def moment(self, now: Snapshot) -> None:
        raise BrokenPipeError


@pytest.fixture(scope="module")
def moments() -> list[Snapshot]:
    """The moments of a short run whose books balance."""
    show = Memory()
    assert asyncio.run(perform(Timetable(3, seed=1), show)).books.balance
    return show.moments


def test_performance_shows_the_load_fall_and_come_back(moments: list[Snapshot]) -> None:
    """While logistics is down and its circuit open, calls go on, and what is sent falls to a few probes."""
    logistics = [moment.upstreams[2] for moment in moments]
    assert {upstream.condition for upstream in logistics} >= {Condition.WELL, Condition.DOWN}
    assert {upstream.circuit for upstream in logistics} >= {CircuitState.CLOSED, CircuitState.OPEN}
    last = logistics[-1]
    dark = [cell for cell, state in enumerate(last.states) if state is CircuitState.OPEN]
    assert sum(last.calls[cell] for cell in dark[1:-1]) > 2
    assert sum(last.sent[cell] for cell in dark[1:-1]) <= 2
    assert last.outcomes["circuit_open"] > 2
    assert (last.circuit, last.in_flight) == (CircuitState.CLOSED, 0)


def test_performance_spends_and_refills_the_retry_budget(moments: list[Snapshot]) -> None:
    """Retries take tokens; what succeeds brings them back."""
    tokens = [moment.upstreams[2].budget.tokens for moment in moments]
    lowest = tokens.index(min(tokens))
    assert min(tokens) < tokens[0]
    assert max(tokens[lowest:]) > min(tokens)


async def test_performance_whose_spectator_leaves_ends_at_once() -> None:
    """Whatever the show raises comes out as it is, and no order is left behind."""
    with pytest.raises(BrokenPipeError):
        await perform(Timetable(3), Leaving())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command run for a moment only."""

    async def perform_quickly(timetable: Timetable, show: Show) -> stage.Performance:
        return await perform(Timetable(0.2), show)

    monkeypatch.setattr(stage, "perform", perform_quickly)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("agree", "code", "words"), [(True, 0, ": equal"), (False, 1, ": NOT EQUAL")])
def test_command_ends_as_the_books_say(
    agree: bool, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 only if the servers saw what the client reports."""
    monkeypatch.setattr(Books, "attempts_agree", agree)
    assert main(["demo"]) == code
    assert words in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_command_draws_its_last_picture_into_a_file_that_needs_no_network(tmp_path: Path) -> None:
    """An SVG with the upstreams in it, that loads nothing from anywhere."""
    path = tmp_path / "demo.svg"
    assert main(["demo", "--svg", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<svg ")
    assert "logistics" in text
    assert re.findall(r"(?:url\(|href=|src=)\W*https?:", text) == []
