"""The command ``simulate``: at a terminal, through a pipe, and in this process."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from tests.cli.simulate.support import SHORT
from tests.cli.terminal import Terminal, piped

from resilient_client._cli import main
from resilient_client.simulation import InvariantBrokenError
from resilient_client.simulation._ready import READY

THREE = ("--compare", "retry=none,naive,default")


@pytest.fixture
def short(tmp_path: Path) -> str:
    """The name of a file with a scenario that runs quickly."""
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return str(path)


def test_piped_simulate_is_plain_text_in_eighty_columns(short: str) -> None:
    """Table and timeline without escape sequences, nothing on stderr, exit code 0."""
    done = piped("simulate", short, *THREE)
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "── naive ─" in text


@pytest.mark.parametrize("columns", [80, 200])
def test_simulate_shows_progress_then_the_report(short: str, columns: int) -> None:
    """The progress bar disappears. The report has colours, and no line wraps."""
    with Terminal("simulate", short, *THREE, "--seeds", "9", columns=columns, rows=70) as seen:
        seen.wait_for(lambda text: "simulating" in text and "of 324 s" in text)
        assert seen.finish() == 0
    assert "simulating" not in seen.text
    assert "── naive ─" in seen.text
    assert b"\x1b[32m" in seen.raw


def test_simulate_without_colours_shows_the_same(short: str) -> None:
    """With NO_COLOR, symbols and words are sufficient."""
    with Terminal("simulate", short, rows=60, NO_COLOR="1") as seen:
        assert seen.finish() == 0
    assert re.search(rb"\x1b\[3\dm", seen.raw) is None
    assert "━ outage" in seen.text


def test_interrupted_simulate_exits_with_130(short: str) -> None:
    """In the middle of a run: one word, and the cursor is restored."""
    with Terminal("simulate", short, "--seeds", "1000") as seen:
        seen.wait_for(lambda text: "simulating" in text)
        seen.process.send_signal(signal.SIGINT)
        assert seen.finish() == 130
    assert seen.lines[-1] == "interrupted"
    assert seen.raw.rfind(b"\x1b[?25h") > seen.raw.rfind(b"\x1b[?25l")


def written(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["simulate", *arguments]) == 0
    return capsys.readouterr().out


def test_json_is_reproducible_per_seed(short: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same seed gives the same bytes, another seed does not."""
    first, again, other = (written(capsys, short, "--json", "--seed", seed) for seed in ("5", "5", "6"))
    assert first == again
    assert first != other


def test_json_holds_numbers_series_and_spread(short: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One object of schema 1. A missing value is null, never NaN."""
    printed = json.loads(written(capsys, short, "--json", *THREE, "--seeds", "2"), parse_constant=pytest.fail)
    assert (printed["schema"], printed["scenario"], printed["seeds"], printed["upstream"]) == (
        1,
        "short",
        [1, 2],
        "api",
    )
    assert printed["incidents"] == [{"name": "outage", "begins": 3.0, "ends": 6.0}]
    assert [variant["name"] for variant in printed["variants"]] == ["none", "naive", "default"]
    naive = printed["variants"][1]
    assert [run["seed"] for run in naive["runs"]] == [1, 2]
    assert set(naive["spread"]["p999"]) == {"median", "lowest", "highest"}
    run = naive["runs"][0]
    assert sum(run["series"]["attempts"]) == run["totals"]["requests"]
    assert len(run["series"]["offered"]) == 12
    assert run["failures"]["server_error"] == run["totals"]["failed"]


def test_variants_are_offered_the_same_calls(short: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are compared on equal terms."""
    printed = json.loads(written(capsys, short, "--json", *THREE))
    offered = [variant["runs"][0]["series"]["offered"] for variant in printed["variants"]]
    assert offered[0] == offered[1] == offered[2]


def test_list_names_the_ready_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per scenario, in their order, with a description."""
    printed = written(capsys, "--list").splitlines()
    assert [line.split()[0] for line in printed] == list(READY)
    assert all(len(line.split()) > 4 for line in printed)


def test_printed_scenario_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output of ``--print`` can be saved, changed and run."""
    (tmp_path / "mine.toml").write_text(written(capsys, "blip", "--print"))
    ours = json.loads(written(capsys, str(tmp_path / "mine.toml"), "--json", "--duration", "5"))
    shipped = json.loads(written(capsys, "blip", "--json", "--duration", "5s"))
    assert ours["scenario"] == "mine"
    assert ours["variants"] == shipped["variants"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "there is no scenario; name a TOML file, or one of 'resilient-client simulate --list'"),
        (("stal",), "there is no ready scenario 'stal'; did you mean 'stall'?"),
        (("no.toml",), "'no.toml' cannot be read: no such file or directory"),
        (("stall", "--compare", "rety=none"), "there is no setting 'rety'; did you mean 'retry'?"),
        (("stall", "--seeds", "0"), "--seeds is 0; give 1 to 1000"),
        (("stall", "--seeds", "x"), "invalid value for '--seeds'"),
        (("stall", "--duration", "x"), "--duration is 'x'; give seconds above 0"),
        (
            ("stall", "--output", "x.gif"),
            "--output: 'x.gif' is not a picture; name a file that ends in .png, .svg or .html",
        ),
        (("stall", "--output", "/no/such/x.png"), "--output: there is no directory '/no/such'"),
    ],
)
def test_wrong_input_is_reported_before_running(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    assert main(["simulate", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_broken_invariant_exits_with_1(
    short: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug in the simulated code is reported instead of a result."""

    def broken(*_: object) -> None:
        raise InvariantBrokenError("1 tasks are still running")

    monkeypatch.setattr("resilient_client.simulation._invariants.check", broken)
    assert main(["simulate", short]) == 1
    assert capsys.readouterr() == ("", "error: 1 tasks are still running\n")
