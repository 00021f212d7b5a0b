"""``probe``: what is sent, what is written, and the exit code."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.cli.background import BackgroundServer
from tests.unit.cli.support import ran
from typing_extensions import Buffer

from resilient_client import HealthState
from resilient_client._cli.board import Board
from resilient_client._cli.probe import _check as watch
from resilient_client._cli.reports import ReportWriter, as_json, as_lines
from resilient_client.health import HealthReport, Prober, ProbeResult, openmetrics
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.faults import reply


@pytest.fixture
def partly_down(upstream: BackgroundServer) -> BackgroundServer:
    """An upstream whose ``/down`` answers 503."""
    upstream.route("GET", "/down", reply(503))
    return upstream


def test_all_up_is_exit_code_zero(upstream: BackgroundServer) -> None:
    """Each target is checked once."""
    assert ran("probe", f"{upstream.url}/a", f"{upstream.url}/b").code == 0
    assert sorted(request.path for request in upstream.requests) == ["/a", "/b"]


def test_critical_and_down_is_exit_code_one(partly_down: BackgroundServer) -> None:
    """Targets are critical by default."""
    assert ran("probe", partly_down.url, f"{partly_down.url}/down").code == 1


def test_not_critical_and_down_is_exit_code_zero(partly_down: BackgroundServer) -> None:
    """A target that may be down does not fail the check, and its line says so."""
    end = ran("probe", partly_down.url, "--not-critical", f"{partly_down.url}/down")
    assert end.code == 0
    assert "not critical: status 503" in end.out


def test_targets_of_file_and_arguments_are_combined(upstream: BackgroundServer, tmp_path: Path) -> None:
    """The targets of the file come first."""
    (tmp_path / "t.toml").write_text(f'[targets]\nfile = "{upstream.url}/file"\n')
    end = ran("probe", f"{upstream.url}/argument", "-c", str(tmp_path / "t.toml"))
    assert [line.split()[1] for line in end.out.splitlines()] == ["file", f"127.0.0.1:{upstream.port}/argument"]


def test_equal_target_names_are_numbered(upstream: BackgroundServer) -> None:
    """Names hold neither scheme nor query, so the second target of a name gets a number."""
    end = ran("probe", f"{upstream.url}/?a=1", f"{upstream.url}/?a=2")
    assert [line.split()[2] for line in end.out.splitlines()] == ["200", "#2"]


def test_lines_align_wide_characters() -> None:
    """A Japanese character is two cells wide."""
    results = [ProbeResult(name, "", True, HealthState.UP, True, status=200, attempts=1) for name in ("日本", "west")]
    wide, narrow = as_lines(HealthReport(results)).splitlines()
    assert cell_len(wide) == cell_len(narrow)


def test_json_is_one_line(partly_down: BackgroundServer) -> None:
    """The object has the version of its schema, whatever the exit code is."""
    end = ran("probe", f"{partly_down.url}/down", "--json")
    printed = json.loads(end.out)
    assert (end.code, end.out.count("\n"), printed["schema"], printed["targets"][0]["status"]) == (1, 1, 1, 503)


def test_openmetrics_ends_with_eof(partly_down: BackgroundServer) -> None:
    """The format requires a final ``# EOF``."""
    end = ran("probe", f"{partly_down.url}/down", "--openmetrics")
    assert end.out.endswith("# EOF\n")
    assert any(line.startswith("probe_success{") and line.endswith(" 0") for line in end.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "there are no targets; give URLs, or a file of them with --config"),
        (["--json", "--openmetrics"], "--json and --openmetrics exclude each other"),
        (["ftp://a/"], "has the scheme 'ftp'"),
        (["http://ada:pass@a/"], "carries credentials; give an Authorization in the headers of a target in a file"),
        (["http://127.0.0.1:1/", "--not-critical", "a"], "the URL 'a' has no scheme"),
        (["http://127.0.0.1:1/", "--concurrency", "-1"], "concurrency is -1, but must be a whole number, 1 or more"),
        (["http://127.0.0.1:1/", "--timeout", "0"], "--timeout is '0'; give seconds above 0"),
        (["http://127.0.0.1:1/", "--watch", "-1"], "--watch is '-1'; give seconds above 0"),
        (["http://127.0.0.1:1/", "--watch", "1", "--fall", "0"], "fall is 0, but must be a whole number"),
        (["http://127.0.0.1:1/", "--rise", "1"], "--rise and --fall are for --watch"),
        (["--config", "none.toml"], "'none.toml' cannot be read: no such file or directory"),
    ],
)
def test_wrong_input_ends_with_one_sentence(arguments: list[str], printed: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    end = ran("probe", *arguments)
    assert (end.code, end.out) == (2, "")
    assert end.err.startswith("error: ")
    assert end.err.count("\n") == 1
    assert printed in end.err


@pytest.mark.parametrize("form", [as_lines, as_json, openmetrics])
def test_report_is_flushed_into_a_pipe(monkeypatch: pytest.MonkeyPatch, form: Callable[[HealthReport], str]) -> None:
    """The next check may be an hour away, so a report must not stay in a buffer."""
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(_Raw(pipe)), encoding="utf-8"))
    report = HealthReport([ProbeResult("late", "http://late/", True, HealthState.UNKNOWN, False)])
    ReportWriter(form).on_report(report)
    assert pipe.getvalue().decode() == form(report)


@pytest.mark.parametrize(("takes", "begins"), [(0.4, [0, 1, 2, 3]), (1.5, [0, 1.5, 3, 4.5])])
def test_watch_interval_is_from_start_to_start(takes: float, begins: list[float]) -> None:
    """The next check starts on time, or at once after a check that took too long. Missed checks are not made up."""
    began: list[float] = []

    async def target() -> None:
        began.append(asyncio.get_running_loop().time())
        if len(began) == len(begins):
            raise KeyboardInterrupt
        await asyncio.sleep(takes)

    with pytest.raises(KeyboardInterrupt):
        run_virtual(watch(Prober([target]), ReportWriter(lambda _: ""), 1.0))
    assert began == pytest.approx(begins)


def test_unchecked_target_has_neither_status_nor_time() -> None:
    """Both columns hold a dash."""
    report = HealthReport([ProbeResult("late", "http://late/", True, HealthState.UNKNOWN, False, "no time was left")])
    assert as_lines(report, dated=True) == "unknown   late    -        -  no time was left\n"


def test_board_shows_progress_then_the_summary() -> None:
    """The last line counts answers during the check and sums up after it. A single check has no history."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80, height=20)
    board = Board(console, every=None)
    unknown = ProbeResult("users", "http://users/", True, HealthState.UNKNOWN, False)
    up = unknown._replace(state=HealthState.UP, ok=True, status=200, elapsed=0.02, attempts=1)
    board.on_start([unknown])
    assert " 0 of 1 answered · " in _last_line(board)
    board.on_result(up)
    assert " 1 of 1 answered · " in _last_line(board)
    board.on_report(HealthReport([up], elapsed=0.02))
    assert _last_line(board) == "● up  1 up · 20 ms"


class _Raw(io.RawIOBase):
    """The raw end of a pipe. It receives only what is flushed."""

    def __init__(self, arrived: io.BytesIO) -> None:
        self._arrived = arrived

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        return self._arrived.write(data)


def _last_line(board: Board) -> str:
    plain = Console(file=io.StringIO(), width=80)
    plain.print(board.render())
    return str(plain.file.getvalue()).splitlines()[-1].rstrip()  # type: ignore[attr-defined]  # the StringIO above
