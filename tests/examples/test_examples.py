"""Every example runs, offline, without a warning, and says what its page promises."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from resilient_client import APIClient, GatherResult, Success
from resilient_client.testing.fault_server import FaultServer

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LIMIT = 60  # seconds a script may take at most; on a busy machine most of them go into imports
SHORT = {"fan_out.py", "fastapi_service.py", "health.py", "worker.py"}
ANSI = re.compile(r"\033\[[0-9;]*m")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}} | {
    "PYTHONPATH": str(ROOT / "src"),
    "PYTHONIOENCODING": "utf-8",
    "TERM": "xterm-256color",
}


class Run(NamedTuple):
    """What came of a script."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


def run(name: str, *arguments: str) -> Run:
    """Run an example with its output in a pipe."""
    done = subprocess.run(  # noqa: S603  # our own script, our own Python
        command(name, *arguments), env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False
    )
    return Run(done.returncode, done.stdout, done.stderr)


SCREEN = "from orders_screen import Screen; Screen({}).fact('books', 'they balance', good=True)"


def screen_on_terminal(**environment: str) -> str:
    """Let the demo's screen print a good fact on a pseudo-terminal, and give what is shown there."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(EXAMPLES)])}
    with subprocess.Popen(  # noqa: S603  # our own script, our own Python
        [sys.executable, "-c", SCREEN], env=ENVIRONMENT | paths | environment, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # how Linux says that the other side has left
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return shown.decode()


@pytest.fixture(scope="session")
def demo() -> Run:
    """The demo, run once for all tests."""
    return run("orders.py")


def test_demo_in_a_pipe_ends_well(demo: Run) -> None:
    """It balances its books, and nothing is written to stderr."""
    assert (demo.code, demo.err) == (0, "")


def test_demo_shows_one_line_for_every_call_of_every_order(demo: Run) -> None:
    """Each of the 24 orders appears once, with its three calls."""
    assert sorted(line[:3] for line in demo.lines if line.startswith("#")) == [f"#{order:02}" for order in range(1, 25)]
    for upstream in ("inventory", "payment", "logistics"):
        assert sum(line[6:16].rstrip() == upstream for line in demo.lines) == 24, upstream


@pytest.mark.parametrize(
    "pattern",
    [
        r"#16   inventory  deadline +3 .* 2\.\d\d s  headers  maybe$",
        r"payment    server_error +1 .* status   maybe$",
        r"retried: a pause of [56](\.\d+)? s does not fit into the 1\.\d+ s left$",
        r"payment    ok +2 +1\.\d\d s +1\.\d\d s$",
        r"logistics  disconnected +2 .* headers  maybe$",
        r"logistics  circuit_open +0 .* local    no$",
        r"~ #21 inventory: protocol in stage headers; next try in \d+ ms$",
        r"~ #22 payment: disconnected in stage headers; next try at once$",
        r"logistics  invalid_response +1 .* decode   maybe$",
    ],
)
def test_demo_tells_what_happened_to_a_call_and_why(demo: Run, pattern: str) -> None:
    """Each way of failing that it stages is told in its line."""
    assert re.search(pattern, demo.out, re.MULTILINE), demo.out


def test_demo_tells_the_life_of_a_circuit_in_order(demo: Run) -> None:
    """It opens, half-opens and closes, each between the orders it concerns."""
    story = [line.split("logistics ")[1].split(" ")[0] for line in demo.lines if "! the circuit of" in line]
    assert story == ["opened", "half-opened:", "closed:"]


def test_demo_sums_up_with_the_servers_as_witnesses(demo: Run) -> None:
    """What the client reports is what the servers counted, and nobody was charged twice."""
    summary = demo.out.partition("-- summary")[2]
    attempts = re.search(r"attempts  (\d+) reported by the client, (\d+) counted by the servers: equal", summary)
    assert attempts is not None
    assert attempts[1] == attempts[2]
    assert "orders    24: 15 complete, 9 partial" in summary
    assert "circuits  1 opened, 1 closed again" in summary
    assert "payments  0 double charges; 23 confirmed, 23 charged, 1 repeat known by its key" in summary


def test_demo_in_a_pipe_has_no_colours_and_fits_eighty_columns(demo: Run) -> None:
    """What goes into a file or a log is plain text."""
    assert "\033" not in demo.out
    assert max(map(len, demo.lines)) <= 80


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_demo_on_a_terminal_is_coloured_unless_told_otherwise(environment: dict[str, str], coloured: bool) -> None:
    """NO_COLOR (no-color.org) is heeded; colours take no room, for without them the text is the same."""
    shown = screen_on_terminal(**environment)
    assert ("\033[32m" in shown) is coloured
    assert ANSI.sub("", shown) == "books     they balance\r\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_demo_interrupted_ends_at_once_without_a_traceback() -> None:
    """Ctrl-C in the middle of calls: exit code 130, one word, nothing left running."""
    with subprocess.Popen(  # noqa: S603  # our own script, our own Python
        command("orders.py"), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("#"):
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (130, "")
    assert out.endswith("\ninterrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way")
def test_demo_whose_reader_leaves_ends_at_once_without_a_word() -> None:
    """``| head`` ends it with exit code 141, as SIGPIPE would, and without a traceback."""
    with subprocess.Popen(  # noqa: S603  # our own script, our own Python
        command("orders.py"), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(timeout=LIMIT), err) == (141, "")


@pytest.fixture
def demo_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.mark.usefixtures("demo_modules")
@pytest.mark.parametrize(("keys", "double"), [(("a", "a"), 0), (("a", "b"), 1)])
async def test_ledger_of_the_demo_catches_a_double_charge(
    server: FaultServer, keys: tuple[str, str], double: int
) -> None:
    """One key is one charge; without that (a new key for each attempt) the demo would say so."""
    from orders_upstreams import Ledger

    ledger = Ledger()
    server.script(ledger.pay)
    async with APIClient(server.url) as api:
        for key in keys:
            await api.post("/payments/1", json={"order": 1}, idempotency_key=key)
    assert (ledger.double_charges, ledger.repeats) == (double, 1 - double)


@pytest.mark.usefixtures("demo_modules")
@pytest.mark.parametrize(("attempts", "balance"), [(1, True), (2, False)])
async def test_books_of_the_demo_balance_only_if_the_servers_agree(
    server: FaultServer, attempts: int, balance: bool
) -> None:
    """An attempt that no server saw unbalances them."""
    from orders_books import Books
    from orders_upstreams import Ledger, Upstreams

    async with APIClient(server.url) as api:
        await api.get("/")
    answers = [Success(None, key="inventory", attempts=attempts), *(Success(None, key=None, attempts=0) for _ in "ab")]
    ledger = Ledger()
    ledger.charges.append(1)
    books = Books({1: GatherResult(answers)}, Upstreams({"inventory": server}, ledger))
    assert books.balance is balance


@pytest.mark.parametrize("name", sorted(SHORT))
def test_short_example_has_fewer_than_sixty_lines_of_text(name: str) -> None:
    """It stays something one reads in a minute; empty lines do not count."""
    assert sum(bool(line.strip()) for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def test_every_example_is_run_by_this_file() -> None:
    """A new example has to be added here."""
    parts_of_the_demo = {path.name for path in EXAMPLES.glob("orders*.py")}
    assert {path.name for path in EXAMPLES.glob("*.py")} == SHORT | parts_of_the_demo


def test_fastapi_service_maps_each_failure_of_its_upstream() -> None:
    """404 is the route's affair; overload, failure and silence become 503, 502 and 504."""
    done = run("fastapi_service.py")
    assert (done.code, done.err) == (0, "")
    assert [line[:3] for line in done.lines] == ["200", "404", "503", "502", "504"]
    assert '"kind":"server_error","attempts":3' in done.lines[3]


def test_fan_out_shows_what_is_there_who_was_first_and_a_stream_left_early() -> None:
    """Four parts of a page under one deadline, the faster of two mirrors, and a hundred of endlessly many."""
    done = run("fan_out.py")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "title    Teapot, attempts: 1",
        "price    9.50, attempts: 2",
        "reviews  left out: deadline",
        "advice   left out: client_error",
        "mirror   2 was first, dropped: 1",
        "stream   100 taken",
    ]


def test_worker_finishes_what_is_queued_and_sorts_the_failures() -> None:
    """Told to stop early, it still does all seven jobs, and repeats the mail whose reply was lost."""
    done = run("worker.py")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "stopping: 4 more in the queue"
    assert sorted(line[:5] for line in done.lines[1:]) == [f"job-{number}" for number in range(1, 8)]
    assert "job-3: deadline, to be tried again later" in done.lines
    assert "job-5: client_error, given up" in done.lines
    assert sum(line.endswith("sent, attempts: 2") for line in done.lines) == 1


@pytest.mark.parametrize(("critical", "code"), [("users", 0), ("search", 1)])
def test_health_check_fails_only_if_something_critical_is_down(critical: str, code: int) -> None:
    """One target of four is up; the exit code depends on whether it is the one that matters."""
    done = run("health.py", critical)
    assert (done.code, done.err) == (code, "")
    assert re.fullmatch(r"[ !] users   up    200 in \d+ ms", done.lines[0])
    assert [line[2:9].strip() for line in done.lines if line.startswith("!")] == [critical]
    assert max(map(len, done.lines)) <= 80
    for line, why in zip(done.lines[1:], ("answered 503", "not done after 0.", "cannot connect"), strict=True):
        assert "DOWN" in line
        assert why in line
