"""The command and the run: at a terminal, through a pipe, interrupted, cut off, and in this process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from tests.cli.terminal import TIME_LIMIT, Terminal, errors_of, output_of, piped, started

from resilient_client._cli import main
from resilient_client._cli.demo import command
from resilient_client._cli.demo.command import run_demo
from resilient_client._cli.demo.orders import Fact, Reconciliation
from resilient_client._cli.demo.state import Snapshot
from resilient_client._cli.demo.upstreams import Condition, Timetable
from resilient_client._cli.demo.view import Renderer
from resilient_client._policies.circuit.circuit import CircuitState

SHORT = ("demo", "--seconds", "3", "--seed", "1")


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[bytes]:
    """A short run in a pipe, shared by the tests of this module."""
    return piped(*SHORT)


@pytest.fixture(scope="module")
def lines(run: subprocess.CompletedProcess[bytes]) -> list[str]:
    return run.stdout.decode().splitlines()


def test_piped_demo_succeeds(run: subprocess.CompletedProcess[bytes]) -> None:
    """The reconciliation agrees, and nothing is written to stderr."""
    assert (run.returncode, run.stderr) == (0, b"")


def test_piped_demo_is_plain_text_in_eighty_columns(lines: list[str]) -> None:
    """A file or a log gets no escape sequences, and only characters that a plain terminal can show."""
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert max(map(len, lines)) <= 80


def test_piped_demo_shows_the_circuit_states_in_order(lines: list[str]) -> None:
    """While logistics is down its circuit opens. Later it half-opens, and at the end it is closed."""
    states = [line.split("circuit ")[1].split(" ")[0].rstrip(":") for line in lines if "! logistics: circuit" in line]
    assert states[:2] == ["OPEN", "HALF-OPEN"]
    assert states[-1] == "CLOSED"


def test_piped_demo_is_ordered_by_time(lines: list[str]) -> None:
    """A folded line, whose count is known later, stands where it began."""
    times = [float(match[1]) for line in lines if (match := re.match(r" *([\d.]+) s [*!~x=-] ", line))]
    assert len(times) > 20
    assert times == sorted(times)


def test_piped_demo_has_a_status_line_per_second(lines: list[str]) -> None:
    """The status lines show the load fall without a picture."""
    statuses = [line for line in lines if " s = " in line]
    assert len(statuses) >= 2
    assert all(len(re.findall(r"\d+ > +\d+ (?:closed|open|half-open)", line)) == 3 for line in statuses)


def test_piped_demo_ends_with_the_reconciliation(run: subprocess.CompletedProcess[bytes]) -> None:
    """The client sent what the servers counted, and no order was charged twice."""
    text = " ".join(run.stdout.decode().split())
    found = re.search(
        r"attempts (\d+) reported by the client,(?: of which (\d+) .*,)? (\d+) counted by .*: equal", text
    )
    assert found is not None, text
    assert int(found[1]) - int(found[2] or 0) == int(found[3])
    assert "payments 0 double charges; " in text


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 40)])
def test_demo_at_a_terminal_leaves_picture_and_summary(columns: int, rows: int) -> None:
    """The picture moves on the alternate screen. The last one and the summary stay on the normal screen."""
    with Terminal(*SHORT, columns=columns, rows=rows) as terminal:
        moving = terminal.wait_for(lambda text: "circuit ○ OPEN" in text)
        assert "logistics  ✗ down" in moving or "logistics  ✓ healthy" in moving
        assert len(moving.splitlines()) <= rows
        assert terminal.finish() == 0
    last = terminal.raw.decode().rpartition("\x1b[?1049l")[2]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    assert "── all  " in plain
    assert "✓ 0 double charges" in plain
    assert max(map(len, plain.splitlines())) <= columns
    assert "\x1b[?25h" in terminal.raw.decode()


@pytest.mark.parametrize(
    ("columns", "environment"),
    [(80, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"}), (60, {})],
    ids=["NO_COLOR", "dumb", "narrow"],
)
def test_demo_without_a_capable_terminal_prints_lines(columns: int, environment: dict[str, str]) -> None:
    """NO_COLOR (no-color.org), a dumb terminal, and one that is too small get plain lines."""
    with Terminal("demo", columns=columns, rows=40, **environment) as terminal:
        terminal.wait_for(lambda text: "each second: calls made" in text)
    assert b"\x1b" not in terminal.raw


def test_interrupted_demo_restores_the_terminal() -> None:
    """Ctrl-C: exit code 130, one word, the cursor and the screen as before, the last picture."""
    with Terminal("demo") as terminal:
        terminal.wait_for(lambda text: "ok " in text)
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
    end = terminal.raw.decode().rpartition("\x1b[?1049l")[2]
    assert "order service" in end
    assert terminal.text.endswith("interrupted")
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")


def test_interrupted_piped_demo_ends_without_a_traceback() -> None:
    """In the middle of calls: exit code 130, one word on stderr, and the process ends."""
    with started("demo") as process:
        while b"logistics" not in output_of(process).readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIME_LIMIT)
    assert (process.returncode, err) == (130, b"interrupted\n")


def test_demo_whose_reader_exits_ends_silently() -> None:
    """``| head`` ends it with exit code 141, like a program killed by SIGPIPE."""
    with started("demo") as process:
        output_of(process).readline()
        output_of(process).close()
        err = errors_of(process).read()
        assert (process.wait(TIME_LIMIT), err) == (141, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seconds", "1"), "--seconds is 1; give 3 to 600"),
        (("--seconds", "nan"), "--seconds is nan; give 3 to 600"),
        (("--seconds", "x"), "invalid value for '--seconds'"),
        (("--seed", "1.5"), "invalid value for '--seed'"),
        (("--svg", "/no/such/directory/x.svg"), "--svg: there is no directory '/no/such/directory'"),
        (("--svg", "/"), "--svg: '/' is a directory; name a file"),
    ],
)
def test_wrong_option_is_reported(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence on stderr, exit code 2, and nothing runs."""
    assert main(["demo", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


class RecordingRenderer:
    """A renderer that keeps what it was given."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.facts: list[Fact] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def update(self, now: Snapshot) -> None:
        self.snapshots.append(now)

    def summarise(self, facts: list[Fact]) -> None:
        self.facts = facts


class BrokenRenderer(RecordingRenderer):
    """A renderer whose reader is gone."""

    def update(self, now: Snapshot) -> None:
        raise BrokenPipeError


@pytest.fixture(scope="module")
def snapshots() -> list[Snapshot]:
    """The snapshots of a short run whose reconciliation agrees."""
    renderer = RecordingRenderer()
    assert asyncio.run(run_demo(Timetable(3, seed=1), renderer)).reconciliation.ok
    assert renderer.facts
    return renderer.snapshots


def test_run_shows_the_load_fall_and_return(snapshots: list[Snapshot]) -> None:
    """While the circuit of logistics is open, calls continue, and only a few probes are sent."""
    logistics = [snapshot.upstreams[2] for snapshot in snapshots]
    assert {upstream.condition for upstream in logistics} >= {Condition.HEALTHY, Condition.DOWN}
    assert {upstream.circuit for upstream in logistics} >= {CircuitState.CLOSED, CircuitState.OPEN}
    last = logistics[-1]
    opened = [cell for cell, state in enumerate(last.states) if state is CircuitState.OPEN]
    assert sum(last.calls[cell] for cell in opened[1:-1]) > 2
    assert sum(last.sent[cell] for cell in opened[1:-1]) <= 2
    assert last.outcomes["circuit_open"] > 2
    assert (last.circuit, last.in_flight) == (CircuitState.CLOSED, 0)


def test_run_spends_and_refills_the_retry_budget(snapshots: list[Snapshot]) -> None:
    """Retries take tokens, and successes return them."""
    tokens = [snapshot.upstreams[2].budget.tokens for snapshot in snapshots]
    lowest = tokens.index(min(tokens))
    assert min(tokens) < tokens[0]
    assert max(tokens[lowest:]) > min(tokens)


async def test_run_with_a_broken_renderer_ends_at_once() -> None:
    """The renderer's exception is raised unchanged, and no order is left running."""
    with pytest.raises(BrokenPipeError):
        await run_demo(Timetable(3), BrokenRenderer())


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the run of the command."""

    async def run_briefly(timetable: Timetable, renderer: Renderer) -> command.DemoResult:
        return await run_demo(Timetable(0.2), renderer)

    monkeypatch.setattr(command, "run_demo", run_briefly)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("agree", "code", "verdict"), [(True, 0, ": equal"), (False, 1, ": NOT EQUAL")])
def test_exit_code_is_that_of_the_reconciliation(
    agree: bool, code: int, verdict: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 only if the servers counted what the client reports."""
    monkeypatch.setattr(Reconciliation, "attempts_agree", agree)
    assert main(["demo"]) == code
    assert verdict in capsys.readouterr().out


@pytest.mark.usefixtures("brief")
def test_svg_option_writes_the_last_picture(tmp_path: Path) -> None:
    """``--svg FILE`` draws the last picture into the file."""
    assert main(["demo", "--svg", str(tmp_path / "demo.svg")]) == 0
    assert "logistics" in (tmp_path / "demo.svg").read_text(encoding="utf-8")
