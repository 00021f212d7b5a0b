"""The demo as plain lines in 80 columns, for pipes, files and terminals that want no colours. Pure."""

from __future__ import annotations

import textwrap
from typing import Final

from resilient_client._cli.demo.books import Fact
from resilient_client._cli.demo.journal import Entry
from resilient_client._cli.demo.snapshot import Snapshot, UpstreamNow
from resilient_client._cli.demo.timetable import UPSTREAMS, Timetable

WIDTH: Final = 80
_CELL: Final = 23  # columns of one upstream


def heading(timetable: Timetable) -> list[str]:
    """What comes before everything else."""
    return [
        f"order service: {timetable.rate:g} orders a second for {timetable.seconds:g} s, seed {timetable.seed}",
        "each second: calls made > attempts sent, and the circuit",
        "",
        " " * 10 + "".join(name.ljust(_CELL) for name in UPSTREAMS).rstrip(),
    ]


def status(now: Snapshot) -> str:
    """One line about the second before ``now``."""
    return f"{now.elapsed:5.1f} s = " + "".join(_flow(upstream).ljust(_CELL) for upstream in now.upstreams).rstrip()


def line(entry: Entry) -> list[str]:
    """An entry of the journal, wrapped."""
    times = f" (x{entry.count})" if entry.count > 1 else ""
    begin = f"{entry.at:5.1f} s {entry.mark} {entry.upstream}: "
    return textwrap.wrap(f"{entry.text}{times}", WIDTH, initial_indent=begin, subsequent_indent=" " * 12)


def fact(fact: Fact) -> list[str]:
    """A line of the summary, wrapped."""
    return textwrap.wrap(fact.text, WIDTH, initial_indent=fact.name.ljust(10), subsequent_indent=" " * 10)


def _flow(upstream: UpstreamNow) -> str:
    state = upstream.circuit.replace("_", "-")
    return f"{upstream.calls_per_second:2.0f} > {upstream.sent_per_second:2.0f} {state}"
