"""The command as people run it: at a terminal, through a pipe, interrupted, cut off."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest
from tests.cli.terminal import PATIENCE, PROGRAM, Terminal, piped

from resilient_client._cli import main

SHORT = ("demo", "--seconds", "3", "--seed", "1")


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[bytes]:
    """A short run in a pipe, once for all tests."""
    return piped(*SHORT)


@pytest.fixture(scope="module")
def lines(run: subprocess.CompletedProcess[bytes]) -> list[str]:
    return run.stdout.decode().splitlines()


def test_demo_in_a_pipe_ends_well(run: subprocess.CompletedProcess[bytes]) -> None:
    """Its books balance, and nothing is written to stderr."""
    assert (run.returncode, run.stderr) == (0, b"")


def test_demo_in_a_pipe_is_plain_text_in_eighty_columns(lines: list[str]) -> None:
    """What goes into a file or a log has no escape sequences, and nothing that a plain terminal cannot show."""
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert max(map(len, lines)) <= 80


def test_demo_in_a_pipe_tells_the_life_of_a_circuit_in_order(lines: list[str]) -> None:
    """While logistics is down its circuit opens; later it half-opens, and in the end it is closed."""
    story = [line.split("circuit ")[1].split(" ")[0].rstrip(":") for line in lines if "! logistics: circuit" in line]
    assert story[:2] == ["OPEN", "HALF-OPEN"]
    assert story[-1] == "CLOSED"


def test_demo_in_a_pipe_is_told_in_the_order_of_time(lines: list[str]) -> None:
    """A folded line, which is known later, stands where it began."""
    times = [float(match[1]) for line in lines if (match := re.match(r" *([\d.]+) s [*!~x=-] ", line))]
    assert len(times) > 20
    assert times == sorted(times)


def test_demo_in_a_pipe_says_each_second_how_much_is_asked_and_sent(lines: list[str]) -> None:
    """So that one sees the load fall without a picture."""
    statuses = [line for line in lines if " s = " in line]
    assert len(statuses) >= 2
    assert all(len(re.findall(r"\d+ > +\d+ (?:closed|open|half-open)", line)) == 3 for line in statuses)


def test_demo_in_a_pipe_sums_up_with_the_servers_as_witnesses(run: subprocess.CompletedProcess[bytes]) -> None:
    """What left the client is what the servers counted, and nobody was charged twice."""
    text = " ".join(run.stdout.decode().split())
    found = re.search(
        r"attempts (\d+) reported by the client,(?: of which (\d+) .*,)? (\d+) counted by .*: equal", text
    )
    assert found is not None, text
    assert int(found[1]) - int(found[2] or 0) == int(found[3])
    assert "payments 0 double charges; " in text


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 40)])
def test_demo_at_a_terminal_draws_a_picture_and_leaves_it_with_the_summary(columns: int, rows: int) -> None:
    """It moves on a screen of its own; the last state and the books stay."""
    with Terminal(*SHORT, columns=columns, rows=rows) as terminal:
        moving = terminal.wait_for(lambda text: "circuit ○ OPEN" in text)
        assert "logistics  ✗ down" in moving or "logistics  ✓ well" in moving
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
def test_demo_at_a_terminal_that_wants_or_bears_no_picture_prints_lines(
    columns: int, environment: dict[str, str]
) -> None:
    """NO_COLOR (no-color.org), a dumb terminal, or one too small."""
    with Terminal("demo", columns=columns, rows=40, **environment) as terminal:
        terminal.wait_for(lambda text: "each second: calls made" in text)
    assert b"\x1b" not in terminal.raw


def test_demo_interrupted_at_a_terminal_restores_it() -> None:
    """Ctrl-C: exit code 130, one word, the cursor and the screen as before, the picture so far."""
    with Terminal("demo") as terminal:
        terminal.wait_for(lambda text: "ok " in text)
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
    end = terminal.raw.decode().rpartition("\x1b[?1049l")[2]
    assert "order service" in end
    assert terminal.text.endswith("interrupted")
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")


def demo_in_a_pipe() -> subprocess.Popen[bytes]:
    command = [*PROGRAM, "demo"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603  # our own program


def test_demo_interrupted_in_a_pipe_ends_at_once_without_a_traceback() -> None:
    """In the middle of calls: exit code 130, one word on stderr, nothing left running."""
    with demo_in_a_pipe() as process:
        assert process.stdout is not None
        while b"logistics" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, b"interrupted\n")


def test_demo_whose_reader_leaves_ends_at_once_without_a_word() -> None:
    """``| head`` ends it with exit code 141, as SIGPIPE would."""
    with demo_in_a_pipe() as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(PATIENCE), err) == (141, b"")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seconds", "1"), "--seconds is 1; give 3 to 600"),
        (("--seconds", "nan"), "--seconds is nan; give 3 to 600"),
        (("--seconds", "x"), "invalid value for '--seconds'"),
        (("--seed", "1.5"), "invalid value for '--seed'"),
        (("--svg", "/no/such/directory/x.svg"), "--svg: there is no directory '/no/such/directory'"),
        (("--svg", "/"), "--svg: '/' is a directory; name a file"),
    ],
)
def test_demo_with_a_wrong_value_says_so_in_a_sentence(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing runs."""
    assert main(["demo", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1
