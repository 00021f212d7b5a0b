"""The command line: ``python -m benchmarks``; see the package for the method."""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import sys
from contextlib import ExitStack
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
"""Seconds per workload in a full run, which takes nineteen minutes in all."""
SOCKETS = 8192


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks", description="CPU per call, compared with bare aiohttp."
    )
    found.add_argument("--quick", action="store_true", help="the most important workloads, a minute in all")
    found.add_argument("--seconds", type=float, help=f"for each workload (default: {SECONDS:g})")
    found.add_argument("--only", action="append", metavar="VARIANT", help="part of a name, or a pattern; repeatable")
    found.add_argument("--workload", action="append", metavar="NAME", help="part of a name, or a pattern; repeatable")
    found.add_argument("--loop", choices=("uvloop", "asyncio"), help="all workloads on this event loop")
    found.add_argument("--compiler", default=os.environ.get("CC", "cc"), help="of the server; '' for the Python one")
    found.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    found.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables, which are also printed")
    found.add_argument("--figure", type=Path, metavar="FILE", help="draw them (.svg or .png; extra: figures)")
    return found


def is_chosen(name: str, patterns: list[str] | None) -> bool:
    """Return whether a name matches one of the patterns, or there are none."""
    return not patterns or any(fnmatchcase(name.lower(), f"*{pattern.lower()}*") for pattern in patterns)


def workloads(args: argparse.Namespace) -> list[Workload]:
    """Return the workloads of this run, each with its event loop."""
    found = [each for each in WORKLOADS if is_chosen(each.name, args.workload) and (each.quick or not args.quick)]
    if not find_spec("trustme"):
        print("without TLS, because its certificates need trustme, which is not installed", file=sys.stderr)
        found = [each for each in found if each.kind != "tls"]
    loop = args.loop or (None if find_spec("uvloop") else "asyncio")
    if loop is None:
        return found
    return [each._replace(loop=loop) for each in found if each.loop == "uvloop"]  # the others are repetitions


def measure(workload: Workload, args: argparse.Namespace, server: Server) -> Comparison:
    """Measure one workload, on a new event loop."""
    seconds = args.seconds or (workload.quick if args.quick else SECONDS)
    variants = [each for each in VARIANTS if workload.kind in each.kinds and is_chosen(each.name, args.only)]
    print(f"{workload.name}: {seconds:g} s", file=sys.stderr)
    return run(compare(workload, variants, server, seconds), workload.loop)


def allow_many_sockets() -> None:
    """Raise the limit of open files: some systems allow fewer than a dozen pools of a hundred connections need."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS if most == resource.RLIM_INFINITY else min(SOCKETS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def main() -> int:
    """Start the server, measure, and report."""
    args = parser().parse_args()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # a proxy would be in the path to the server on loopback
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of how a compared library ends TLS
    allow_many_sockets()
    own_cores = cores()
    pin(own_cores.client)
    comparisons: list[Comparison] = []
    chosen = workloads(args)
    with ExitStack() as stack:
        servers = {
            tls: stack.enter_context(serving(BODIES, own_cores.server, args.compiler or None, tls=tls))
            for tls in {each.kind == "tls" for each in chosen}
        }
        languages = sorted({each.language for each in servers.values()})
        machine = {"machine": processor(), **versions(), "server": "/".join(languages)}
        print(about(machine))
        for workload in chosen:
            comparisons.append(measure(workload, args, servers[workload.kind == "tls"]))
            print(details(comparisons[-1]), flush=True)
    print(*overviews(comparisons), sep="\n")
    data = as_json(machine, comparisons)
    if args.markdown:
        args.markdown.write_text(as_markdown(machine, comparisons))
    if args.json:
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.figure:
        from benchmarks.figures.comparison import write

        write(data, args.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
