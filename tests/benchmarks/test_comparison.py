"""The comparison of ``make bench`` runs, and says the truth about what it cannot measure."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.figures.comparison import write
from benchmarks.measuring import compare
from benchmarks.payloads import BODIES
from benchmarks.report import as_markdown
from benchmarks.results import Comparison, Row, beside, interval
from benchmarks.server import serving
from benchmarks.variants import VARIANTS, Variant
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parents[2]
FEW = Workload("GET 1 KB, 2 at once", concurrency=2)


def test_ratio_of_a_slice_on_a_drifting_machine_is_that_of_the_variant() -> None:
    """A machine that gets slower evenly does not change the ratio to the neighbours."""
    assert beside(1.0, 1.5 * 2.0, 3.0) == pytest.approx(1.5)


def test_interval_of_equal_ratios_is_a_point() -> None:
    """Without spread there is no doubt."""
    assert interval([1.25] * 20, random.Random(1)) == (1.25, 1.25)


def test_interval_of_many_samples_covers_the_truth_as_often_as_it_says() -> None:
    """About 95 of 100 intervals hold the median that the samples were drawn from."""
    rng = random.Random(1)
    found = [interval([rng.gauss(1.0, 0.1) for _ in range(40)], rng) for _ in range(100)]
    assert 88 <= sum(low <= 1.0 <= high for low, high in found) <= 100
    assert statistics.mean(high - low for low, high in found) == pytest.approx(0.08, abs=0.03)


def test_bodies_have_the_sizes_of_their_names() -> None:
    """1k, 14k and 100k are that, within a tenth."""
    assert {name: len(body) for name, body in BODIES.items()} == {
        "1k": pytest.approx(1024, rel=0.1),
        "14k": pytest.approx(14 * 1024, rel=0.1),
        "100k": pytest.approx(100 * 1024, rel=0.1),
    }


def test_quick_run_gives_its_workloads_less_than_a_minute() -> None:
    """What a quick run measures, and the opening of it all, fits into 60 s."""
    assert 30 <= sum(workload.quick for workload in WORKLOADS) <= 48


@pytest.mark.one_loop
async def test_compare_a_missing_library_loses_only_its_row() -> None:
    """Who cannot be imported is not measured and says why; the others are."""
    missing = Variant("missing", "no_such_library:default", frozenset({"plain"}))
    ours = next(variant for variant in VARIANTS if variant.home == "ours:defaults")
    with serving(BODIES) as server:
        found = await compare(FEW, [missing, ours], server.url, 0)
    again, gone, default = found.rows
    assert gone.ratio is None
    assert "no_such_library" in str(gone.fault)
    assert again.ratio is not None
    assert default.ratio is not None


@pytest.mark.one_loop
async def test_compare_a_variant_that_gives_the_wrong_answer_is_not_measured() -> None:
    """Bare aiohttp does not retry: where replies fail, its calls are no success, and no figure is told of them."""
    bare = Variant("bare", "bare:default", frozenset({"failing"}))
    with serving(BODIES) as server:
        found = await compare(FEW._replace(kind="failing"), [bare], server.url, 0)
    assert "busy" in str(found.rows[-1].fault)


def test_markdown_of_a_row_without_figures_says_why() -> None:
    """The reason stands where the ratio would."""
    rows = [Row("bare aiohttp, again", 1.0, 0.99, 1.01, 100.0, 9), Row("gone", fault="ImportError: no | gone")]
    text = as_markdown({"machine": "one"}, [Comparison(FEW, "uvloop", "bare aiohttp", 100.0, rows)])
    assert "| gone | not measured: ImportError: no / gone | | | |" in text


@pytest.mark.slow
def test_benchmarks_run_from_end_to_end(tmp_path: Path) -> None:
    """The command measures bare and ours, where nothing fails, where one in ten does, and with a model."""
    figures, table, picture = tmp_path / "figures.json", tmp_path / "table.md", tmp_path / "picture.svg"
    workloads = ("GET 1 KB, 1 at once", "GET 1 KB, 32 at once, one in ten fails", "GET 1 KB to a model")
    options = ["--seconds", "0.1", "--loop", "asyncio", "--only", "the defaults"]
    options += [part for name in workloads for part in ("--workload", name)]
    run = subprocess.run(  # noqa: S603 -- our own interpreter on our own code
        [sys.executable, "-m", "benchmarks", *options, "--json", figures, "--markdown", table],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    data = json.loads(figures.read_text())
    assert {each["workload"]["kind"] for each in data["comparisons"]} == {"plain", "failing", "typed"}
    for comparison in data["comparisons"]:
        assert [row["fault"] for row in comparison["rows"]] == [None, None]
        assert comparison["loop"] == "asyncio"
        assert all(0.2 < row["low"] <= row["ratio"] <= row["high"] for row in comparison["rows"])
    assert table.read_text() in run.stdout
    write(data, picture)
    assert "resilient_client, the defaults" in picture.read_text()
