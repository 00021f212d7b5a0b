"""Every example runs offline and without a warning, and prints what its docstring promises."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

import resilient_client

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LIMIT = 60  # seconds a script may take; on a busy machine most of that is imports
SHORT = {"fan_out.py", "fastapi_service.py", "health.py", "logs.py", "loop_monitor.py", "orders.py", "worker.py"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}} | {
    "PYTHONPATH": str(Path(resilient_client.__file__).parents[1]),  # the library under test, installed or not
    "PYTHONIOENCODING": "utf-8",
    "TERM": "xterm-256color",
}


class Run(NamedTuple):
    """The result of a script."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def command(name: str, *arguments: str) -> list[str]:
    """Return the command line of an example, with warnings as errors."""
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


def run(name: str, *arguments: str) -> Run:
    """Run an example with its output in a pipe."""
    done = subprocess.run(  # noqa: S603  # runs only this project's scripts
        command(name, *arguments), env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", sorted(SHORT))
def test_example_has_fewer_than_sixty_lines(name: str) -> None:
    """An example can be read in a minute. Empty lines do not count."""
    assert sum(bool(line.strip()) for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def test_every_example_is_listed_here() -> None:
    """A new example must be added to this file, so that it is run."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == SHORT


@pytest.mark.parametrize("name", sorted(SHORT))
def test_example_names_what_it_needs(name: str) -> None:
    """The ``pip install`` of its docstring installs everything that it imports."""
    code = ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))
    install = re.search(
        r"^Needs: ``pip install '?resilient-client(?:\[(\w+)\])?'?``", str(ast.get_docstring(code)), re.MULTILINE
    )
    assert install is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = project["optional-dependencies"][install[1]] if install[1] else []
    installed = {re.split(r"[\[><=]", need)[0] for need in [*project["dependencies"], *extra]}
    imported = {
        each.partition(".")[0]
        for node in ast.walk(code)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for each in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported - sys.stdlib_module_names - {"resilient_client"} <= installed


def test_orders_report_each_call_with_its_reason() -> None:
    """A retry recovers from a garbled and from a lost reply. Other failures are printed with their reason."""
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


def test_fastapi_service_maps_upstream_failures() -> None:
    """The route handles a 404. Overload, failure and silence of the upstream become 503, 502 and 504."""
    done = run("fastapi_service.py")
    assert (done.code, done.err) == (0, "")
    assert [line[:3] for line in done.lines] == ["200", "404", "503", "502", "504"]
    assert '"kind":"server_error","attempts":3' in done.lines[3]


def test_fan_out_prints_all_three_fan_outs() -> None:
    """Four parts of a page under one deadline, the faster of two mirrors, and 100 outcomes of an endless stream."""
    done = run("fan_out.py")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "title    Teapot, attempts: 1",
        "price    9.50, attempts: 2",
        "reviews  missing: deadline",
        "advice   missing: client_error",
        "mirror   2 was first, dropped: 1",
        "stream   100 taken",
    ]


def test_logs_join_the_records_of_the_failed_call() -> None:
    """The first call needs a retry. The second fails, and all its records are found by the id in its error."""
    done = run("logs.py")
    assert (done.code, done.err) == (0, "")
    retried = [f"INFO retry_scheduled /orders/{{id}} attempt={number}" for number in (1, 1, 2)]
    attempt = "  attempt_started attempt={0} request=None;  attempt_finished attempt={0} request=a7"
    pause = "  retry_scheduled attempt={0} request=a7"
    assert done.lines == [
        *retried,
        "WARNING call_failed /orders/{id} attempt=3",
        "order 2: server_error, and its records are:",
        *";".join((attempt.format(1), pause.format(1), attempt.format(2), pause.format(2), attempt.format(3))).split(
            ";"
        ),
        "  call_failed attempt=3 request=a7",
    ]


def test_worker_finishes_its_queue_before_it_stops() -> None:
    """After an early SIGTERM it still does all seven jobs, and repeats the mail whose reply was lost."""
    done = run("worker.py")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "stopping: 4 more in the queue"
    assert sorted(line[:5] for line in done.lines[1:]) == [f"job-{number}" for number in range(1, 8)]
    assert "job-3: deadline, to be tried again later" in done.lines
    assert "job-5: client_error, given up" in done.lines
    assert sum(line.endswith("sent, attempts: 2") for line in done.lines) == 1


def test_loop_monitor_names_all_three_faults() -> None:
    """The blocking function, the call that hangs, and the lost task are each named. The warning has the stack."""
    done = run("loop_monitor.py")
    assert done.code == 0
    collecting = "blocked by main"  # on a busy machine, the garbage collection of the example is a block as well
    late, long, ended, asyncio_, lost, total = (line for line in done.lines if collecting not in line)
    assert re.fullmatch(r"late:  blocked by read_catalogue \(loop_monitor\.py:\d+\)", late)
    assert long == "long:  GET /users/{id}, stage headers, waits for the server"
    assert ended == "ended: deadline"
    assert asyncio_ == "asyncio: Task was destroyed but it is pending!"
    assert lost == "lost:  a task of refresh_prices"
    assert total == "total: blocked 1, lost 1, long now 0"


@pytest.mark.parametrize(("critical", "code"), [("users", 0), ("search", 1)])
def test_health_check_fails_only_for_a_critical_target(critical: str, code: int) -> None:
    """Three of six targets are down. The exit code is 1 only if one of them is critical."""
    done = run("health.py", critical)
    assert (done.code, done.err) == (code, "")
    summary, *lines = done.lines
    assert re.fullmatch(r"(degraded|DOWN): 2 up, 1 degraded, 3 down, in \d+ ms", summary)
    assert [line[2:].split()[0] for line in lines if line.startswith("!")] == [critical]
    assert max(map(len, done.lines)) <= 80
    words_of = {line[2:].split()[0]: line[2:].split()[1:] for line in lines}
    assert {name: words[0] for name, words in words_of.items()} == {
        "users": "up",
        "report": "degraded",
        "orders": "DOWN",
        "search": "DOWN",
        "mail": "DOWN",
        "database": "up",
    }
    for name, reason in {
        "report": "slow: 0.",
        "orders": "expected 200-399",
        "search": "stuck in",
        "mail": "refused",
    }.items():
        assert reason in " ".join(words_of[name])
