"""``resilient-client probe``: how many targets are, asked once or every few seconds.

On a terminal the table fills in while targets answer; through a pipe there is a line a target. The exit code is 0
while everything critical lives (degraded, or something not critical down, included), else 1.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Protocol

import typer

from resilient_client._cli import inputs
from resilient_client._cli.board import Board
from resilient_client._cli.errors import FAILED, OK
from resilient_client._cli.output import out, supports_live
from resilient_client._cli.reports import ReportWriter, as_json, as_lines
from resilient_client._cli.signals import run
from resilient_client._cli.targets import read_targets
from resilient_client._core.errors import ConfigurationError
from resilient_client.health import HealthReport, Probe, Prober, ProbeResult, openmetrics

_targets_option = partial(typer.Option, rich_help_panel="Targets")
_check_option = partial(typer.Option, rich_help_panel="The check")
_output_option = partial(typer.Option, rich_help_panel="What is shown")

_EPILOG = (
    "Exit code: 0 if everything critical lives, 1 if not, 2 for wrong input (nothing was asked), 130 when interrupted."
)
_CREDENTIALS = "give an Authorization in the headers of a target in a file, with --config"


class Screen(Protocol):
    """Where a check is shown; a context manager around all of it."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

    def on_start(self, results: Iterable[ProbeResult]) -> None:
        """These targets will be asked; nothing is known of them yet."""

    def on_result(self, result: ProbeResult) -> None:
        """A target was looked at."""

    def on_report(self, report: HealthReport) -> None:
        """A check is over."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("probe", help="Ask targets how they are, once or again and again.", epilog=_EPILOG)(probe)


def probe(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Targets; critical ones.")] = None,
    config: Annotated[
        str | None,
        _targets_option("--config", "-c", metavar="FILE", help="A TOML file of targets and their expectations."),
    ] = None,
    not_critical: Annotated[
        list[str] | None, _targets_option("--not-critical", metavar="URL", help="One more, which may be down.")
    ] = None,
    timeout: Annotated[
        str | None, _check_option("--timeout", metavar="TIME", help="For the whole check; 2 s if left out.")
    ] = None,
    concurrency: Annotated[
        int | None, _check_option("--concurrency", metavar="N", help="Targets asked at once; 100 if left out.")
    ] = None,
    watch: Annotated[
        str | None, _check_option("--watch", "-w", metavar="SECONDS", help="Check again and again.")
    ] = None,
    rise: Annotated[
        int | None,
        _check_option("--rise", metavar="N", help="With --watch: good looks in a row until up; 2 if left out."),
    ] = None,
    fall: Annotated[
        int | None,
        _check_option("--fall", metavar="N", help="With --watch: bad looks in a row until down; 3 if left out."),
    ] = None,
    json: Annotated[bool, _output_option("--json", help="One JSON object a check, in one line.")] = False,
    metrics: Annotated[bool, _output_option("--openmetrics", help="OpenMetrics text.")] = False,
) -> int:
    """Ask targets how they are."""
    if json and metrics:
        raise ConfigurationError("--json and --openmetrics exclude each other; give one")
    probes, options = _targets(urls or (), not_critical or (), config)
    if watch is None and (rise is not None or fall is not None):
        raise ConfigurationError("--rise and --fall are for --watch: a single check has nothing to compare with")
    given = {"concurrency": concurrency, "rise": rise, "fall": fall}
    options |= {name: value for name, value in given.items() if value is not None}
    if timeout is not None:
        options["timeout"] = inputs.seconds("--timeout", timeout)
    every = None if watch is None else inputs.seconds("--watch", watch)
    if every is None:
        options |= {"rise": 1, "fall": 1}
    screen = _screen(every, json=json, metrics=metrics)
    prober = Prober(probes, on_result=screen.on_result, **options)
    screen.on_start(prober.report)
    return run(_check(prober, screen, every))


def _screen(every: float | None, *, json: bool, metrics: bool) -> Screen:
    """What suits the reader: a program, a person, or a pipe."""
    console = out()
    if json or metrics:
        return ReportWriter(as_json if json else openmetrics)
    if supports_live(console):
        return Board(console, every=every)
    return ReportWriter(partial(as_lines, dated=every is not None))


async def _check(prober: Prober, screen: Screen, every: float | None) -> int:
    """Check once, or until somebody ends it, and give the exit code."""
    loop = asyncio.get_running_loop()
    with screen:
        async with prober:
            while True:
                began = loop.time()
                report = await prober.check()
                screen.on_report(report)
                if every is None:
                    return OK if report.ok else FAILED
                await asyncio.sleep(began + every - loop.time())


def _targets(
    urls: Sequence[str], not_critical: Sequence[str], config: str | None
) -> tuple[list[Probe], dict[str, Any]]:
    """All targets, each with a name of its own, and what the file says about the check."""
    probes, options = [], {}
    if config is not None:
        file = read_targets(config)
        probes, options = list(file.probes), file.options
    probes += [Probe(inputs.checked_url(url, _CREDENTIALS)) for url in urls]
    probes += [Probe(inputs.checked_url(url, _CREDENTIALS), critical=False) for url in not_critical]
    if not probes:
        raise ConfigurationError("there are no targets; give URLs, or a file of them with --config")
    return list(_with_unique_names(probes)), options


def _with_unique_names(probes: Sequence[Probe]) -> Iterator[Probe]:
    """The same targets, the second of a name called ``name #2``: a name does not hold scheme and query."""
    seen: Counter[str] = Counter()
    for each in probes:
        seen[each.name] += 1
        yield each if seen[each.name] == 1 else each.named(f"{each.name} #{seen[each.name]}")
