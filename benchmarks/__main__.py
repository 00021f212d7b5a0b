"""The command line: ``python -m benchmarks``; see the package for the method."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import cores, pin, processor, run, versions
from benchmarks.measuring import compare
from benchmarks.payloads import BODIES
from benchmarks.report import about, as_json, as_markdown, details, overviews
from benchmarks.results import Comparison
from benchmarks.server import Server, serving
from benchmarks.variants import VARIANTS
from benchmarks.workloads import WORKLOADS, Workload

SECONDS = 48.0
"""For each workload of a full run, which so takes a quarter of an hour."""
SOCKETS = 8192


def parser() -> argparse.ArgumentParser:
    """What may be given."""
    found = argparse.ArgumentParser(prog="python -m benchmarks", description="CPU per call, beside bare aiohttp.")
    found.add_argument("--quick", action="store_true", help="the most telling workloads, a minute in all")
    found.add_argument("--seconds", type=float, help=f"for each workload (default: {SECONDS:g})")
    found.add_argument("--only", action="append", metavar="VARIANT", help="part of a name, or a pattern; repeatable")
    found.add_argument("--workload", action="append", metavar="NAME", help="part of a name, or a pattern; repeatable")
    found.add_argument("--loop", choices=("uvloop", "asyncio"), help="all workloads on this event loop")
    found.add_argument("--compiler", default=os.environ.get("CC", "cc"), help="of the server; '' for the Python one")
    found.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    found.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables, which are printed anyway")
    found.add_argument("--figure", type=Path, metavar="FILE", help="draw them (.svg or .png; extra: figures)")
    return found


def chosen(name: str, patterns: list[str] | None) -> bool:
    """Whether a name is wanted."""
    return not patterns or any(fnmatchcase(name.lower(), f"*{pattern.lower()}*") for pattern in patterns)


def workloads(given: argparse.Namespace) -> list[Workload]:
    """Those of this run, each on the loop it will have."""
    found = [each for each in WORKLOADS if chosen(each.name, given.workload) and (each.quick or not given.quick)]
    if given.loop:
        return [each._replace(loop=given.loop) for each in found]
    return found if find_spec("uvloop") else [each._replace(loop="asyncio") for each in found]


def measure(workload: Workload, given: argparse.Namespace, server: Server) -> Comparison:
    """One workload, on an event loop of its own."""
    seconds = given.seconds or (workload.quick if given.quick else SECONDS)
    variants = [each for each in VARIANTS if workload.kind in each.kinds and chosen(each.name, given.only)]
    print(f"{workload.name}: {seconds:g} s", file=sys.stderr)
    return run(compare(workload, variants, server.url, seconds), workload.loop)


def allow_many_sockets() -> None:
    """A dozen pools of a hundred connections each are more than a process may have open on some systems."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS if most == resource.RLIM_INFINITY else min(SOCKETS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def main() -> int:
    """Start the server, measure, tell."""
    given = parser().parse_args()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # nothing stands between us and our own loopback
    allow_many_sockets()
    places = cores()
    pin(places.client)
    comparisons: list[Comparison] = []
    with serving(BODIES, places.server, given.compiler or None) as server:
        machine = {"machine": processor(), **versions(), "server": server.language}
        print(about(machine))
        for workload in workloads(given):
            comparisons.append(measure(workload, given, server))
            print(details(comparisons[-1]), flush=True)
    print(*overviews(comparisons), sep="\n")
    data = as_json(machine, comparisons)
    if given.markdown:
        given.markdown.write_text(as_markdown(machine, comparisons))
    if given.json:
        given.json.write_text(json.dumps(data, indent=1) + "\n")
    if given.figure:
        from benchmarks.figures.comparison import write

        write(data, given.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
