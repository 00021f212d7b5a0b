"""The comparison of ``make bench`` runs, and reports what it cannot measure."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from benchmarks.figures.comparison import write
from benchmarks.machine import PACKAGES
from benchmarks.measuring import Contender, compare
from benchmarks.payloads import BODIES
from benchmarks.report import as_json, as_markdown, section
from benchmarks.results import Comparison, Row, interval, ratio_to_neighbours
from benchmarks.server import certify, serving
from benchmarks.variants import VARIANTS, Variant
from benchmarks.workloads import WORKLOADS, Workload, job

from resilient_client import APIConnectionError

ROOT = Path(__file__).parents[2]
FEW = Workload("GET 1 KB, 2 at once", concurrency=2, calls=20)
OURS = [variant for variant in VARIANTS if variant.home == "ours:defaults"]


def test_ratio_cancels_the_drift_of_the_machine() -> None:
    """A machine that becomes slower at a constant rate does not change the ratio to the neighbours."""
    assert ratio_to_neighbours(1.0, 1.5 * 2.0, 3.0) == pytest.approx(1.5)


def test_interval_of_equal_ratios_is_a_point() -> None:
    """Without spread, the interval has no width."""
    assert interval([1.25] * 20, random.Random(1)) == (1.25, 1.25)


def test_interval_covers_the_median_in_95_percent() -> None:
    """About 95 of 100 intervals contain the median of the distribution."""
    rng = random.Random(1)
    found = [interval([rng.gauss(1.0, 0.1) for _ in range(40)], rng) for _ in range(100)]
    assert 88 <= sum(low <= 1.0 <= high for low, high in found) <= 100
    assert statistics.mean(high - low for low, high in found) == pytest.approx(0.08, abs=0.03)


def test_bodies_have_the_sizes_of_their_names() -> None:
    """The bodies have these sizes, within a tenth."""
    assert {name: len(body) for name, body in BODIES.items()} == {
        "1k": pytest.approx(1024, rel=0.1),
        "14k": pytest.approx(14 * 1024, rel=0.1),
        "100k": pytest.approx(100 * 1024, rel=0.1),
        "1m": pytest.approx(1024 * 1024, rel=0.1),
    }


def test_quick_run_takes_less_than_a_minute() -> None:
    """The workloads of a quick run, and the opening of all clients, fit into 60 s."""
    assert 30 <= sum(workload.quick for workload in WORKLOADS) <= 48


@pytest.mark.one_loop
async def test_compare_with_missing_library_loses_only_its_row() -> None:
    """A variant that cannot be imported is listed with the reason, and the others are measured."""
    missing = Variant("missing", "no_such_library:default", frozenset({"plain"}))
    with serving(BODIES) as server:
        found = await compare(FEW, [missing, *OURS], server, 0)
    again, gone, default = found.rows
    assert gone.ratio is None
    assert "no_such_library" in str(gone.fault)
    assert again.ratio is not None
    assert default.ratio is not None


@pytest.mark.one_loop
async def test_compare_with_wrong_results_is_not_measured() -> None:
    """Bare aiohttp does not retry, so where replies fail, its results are wrong and it is not measured."""
    bare = Variant("bare", "bare:default", frozenset({"failing"}))
    with serving(BODIES) as server:
        found = await compare(FEW._replace(kind="failing"), [bare], server, 0)
    assert "busy" in str(found.rows[-1].fault)


@pytest.mark.one_loop
async def test_compare_over_tls_trusts_only_the_authority_of_the_server(tmp_path: Path) -> None:
    """Calls over TLS return the body. With another authority, they fail: verification is part of what is measured."""
    secure = FEW._replace(kind="tls")
    with serving(BODIES, tls=True) as server:
        found = await compare(secure, OURS, server, 0)
        untrusted = server._replace(ca=certify(tmp_path / "other.pem"))
        async with AsyncExitStack() as stack:
            with pytest.raises(ExceptionGroup) as failure:
                await Contender(OURS[0], job(secure, untrusted), secure).open(stack)
    assert [row.fault for row in found.rows] == [None, None]
    assert failure.group_contains(APIConnectionError, match="no trusted TLS connection")


@pytest.mark.one_loop
async def test_compare_streams_reads_whole_bodies() -> None:
    """Every streamed call returns the length of the body: a shorter one is a fault."""
    streamed = FEW._replace(kind="streamed", size="100k", calls=4)
    with serving(BODIES) as server:
        found = await compare(streamed, OURS, server, 0)
    assert [row.fault for row in found.rows] == [None, None]
    shorter = BODIES["14k"]
    with serving({"100k": shorter}) as server:
        async with AsyncExitStack() as stack:
            with pytest.raises(ExceptionGroup) as failure:
                await Contender(OURS[0], job(streamed, server), streamed).open(stack)
    assert failure.group_contains(ValueError, match=f"returned {len(shorter)}")


def test_peers_are_pinned() -> None:
    """Each compared library that a variant imports is installed at one version, which is printed with the results."""
    homes = {variant.home.partition(":")[0] for variant in VARIANTS} - {"ours", "bare", "prometheus"}
    lines = (ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    pinned = {name.replace("-", "_") for name, equal, _ in (line.partition("==") for line in lines) if equal}
    assert homes <= pinned
    assert homes <= {name.replace("-", "_") for name in PACKAGES}


def test_markdown_of_a_failed_row_has_the_reason() -> None:
    """The reason is in the place of the ratio."""
    rows = [Row("bare aiohttp, again", 1.0, 0.99, 1.01, 100.0, 9), Row("gone", fault="ImportError: no | gone")]
    text = as_markdown({"machine": "one"}, [Comparison(FEW, "uvloop", "bare aiohttp", 100.0, rows)])
    assert "| gone | not measured: ImportError: no / gone | | | |" in text


def test_section_of_saved_results_has_a_table_per_method() -> None:
    """A section is made from JSON alone. Workloads with other variants share a table, with empty cells."""
    again, ours = Row("bare aiohttp, again", 1.0, 0.99, 1.01, 100.0, 9), Row("ours", 0.5, 0.49, 0.51, 50.0, 9)
    secure = FEW._replace(name="GET over TLS", kind="tls")
    failing = FEW._replace(name="GET that fails", kind="failing")
    comparisons = [
        Comparison(FEW, "uvloop", "bare aiohttp", 100.0, [again]),
        Comparison(secure, "uvloop", "bare aiohttp", 110.0, [again, ours]),
        Comparison(failing, "uvloop", "bare aiohttp, without retries", 120.0, [again]),
    ]
    text = section(json.loads(json.dumps(as_json({"machine": "one", "Python": "3.13.0"}, comparisons))))
    assert text.startswith("### one\n\nPython 3.13.0.\n")
    assert "| | GET over TLS | GET that fails |" in text
    assert "| the base | bare aiohttp, 110 µs | bare aiohttp, without retries, 120 µs |" in text
    assert "| ours | 0.50 |  |" in text


@pytest.mark.slow
def test_benchmarks_run_from_end_to_end(tmp_path: Path) -> None:
    """The command measures both libraries in every kind of workload."""
    figures, table, picture = tmp_path / "figures.json", tmp_path / "table.md", tmp_path / "picture.svg"
    kinds = {"plain", "failing", "typed", "tls", "streamed"}
    workloads = ("GET 1 KB, 1 at once", "in ten fails", "GET 1 KB to a model", "TLS, 32 at once", "streamed, 4 at once")
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
    assert {each["workload"]["kind"] for each in data["comparisons"]} == kinds
    for comparison in data["comparisons"]:
        assert [row["fault"] for row in comparison["rows"]] == [None, None]
        assert comparison["loop"] == "asyncio"
        assert all(0.2 < row["low"] <= row["ratio"] <= row["high"] for row in comparison["rows"])
    assert table.read_text() in run.stdout
    write(data, picture)
    drawn = picture.read_text()
    assert "resilient_client, the defaults" in drawn
    assert "CPU per call, compared with bare aiohttp" in drawn
