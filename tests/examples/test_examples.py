"""Every example runs, offline, without a warning, and says what its page promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LIMIT = 60  # seconds a script may take at most; on a busy machine most of them go into imports
SHORT = {"fan_out.py", "fastapi_service.py", "health.py", "orders.py", "worker.py"}
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


@pytest.mark.parametrize("name", sorted(SHORT))
def test_short_example_has_fewer_than_sixty_lines_of_text(name: str) -> None:
    """It stays something one reads in a minute; empty lines do not count."""
    assert sum(bool(line.strip()) for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def test_every_example_is_run_by_this_file() -> None:
    """A new example has to be added here."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == SHORT


def test_orders_say_for_each_call_what_happened_and_why() -> None:
    """A garbled and a lost reply are healed by a retry; what cannot be is told with its reason."""
    done = run("orders.py")
    assert (done.code, done.err) == (0, "")
    assert [line for line in done.lines if line.startswith("order ")] == [
        "order 1: 3 of 3 calls succeeded",
        "order 2: 2 of 3 calls succeeded; failed: 1 server_error",
        "order 3: 1 of 3 calls succeeded; failed: 1 deadline, 1 invalid_response",
    ]
    assert "  logistics  ok, on Monday; attempts: 1" in done.lines
    assert [line for line in done.lines if line.endswith("ok; attempts: 2")] == [
        "  inventory  ok; attempts: 2",
        "  payment    ok; attempts: 2",
    ]
    assert "  inventory  deadline in stage headers, it may have acted; attempts: 1" in done.lines
    assert re.search(r"asks to wait 9 s; not retried: a pause of (9|1\d)(\.\d+)? s does not fit", done.out)


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
    """Three of six targets are down; the exit code depends on whether one of them is what matters."""
    done = run("health.py", critical)
    assert (done.code, done.err) == (code, "")
    whole, *lines = done.lines
    assert re.fullmatch(r"(degraded|DOWN): 2 up, 1 degraded, 3 down, in \d+ ms", whole)
    assert [line[2:].split()[0] for line in lines if line.startswith("!")] == [critical]
    assert max(map(len, done.lines)) <= 80
    told = {line[2:].split()[0]: line[2:].split()[1:] for line in lines}
    assert {name: words[0] for name, words in told.items()} == {
        "users": "up",
        "report": "degraded",
        "orders": "DOWN",
        "search": "DOWN",
        "mail": "DOWN",
        "database": "up",
    }
    for name, why in {
        "report": "slow: 0.",
        "orders": "expected 200-399",
        "search": "stuck in",
        "mail": "refused",
    }.items():
        assert why in " ".join(told[name])
