"""``resilient-client probe``: check the health of many targets, once or every few seconds.

On a terminal a table fills in while targets answer. Through a pipe there is one line per target. The exit code is 1 if
a critical target is down or unknown, else 0: a degraded target, or one that is not critical, does not change it.
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
_output_option = partial(typer.Option, rich_help_panel="Output")

_EPILOG = (
    "Exit code: 0 if no critical target is down, 1 if one is, 2 for wrong input (nothing was sent), 130 if interrupted."
)
_CREDENTIALS = "give an Authorization in the headers of a target in a file, with --config"


class Screen(Protocol):
    """Shows checks. A context manager that is entered before the first one and left after the last one."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

    def on_start(self, results: Iterable[ProbeResult]) -> None:
        """Receive the targets before the first check. Nothing is known about them yet."""

    def on_result(self, result: ProbeResult) -> None:
        """Receive the result of one target."""

    def on_report(self, report: HealthReport) -> None:
        """Receive the report of a finished check."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("probe", help="Check the health of targets, once or repeatedly.", epilog=_EPILOG)(probe)


def probe(
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", help="Critical targets.")] = None,
    config: Annotated[
        str | None,
        _targets_option("--config", "-c", metavar="FILE", help="A TOML file of targets and their expectations."),
    ] = None,
    not_critical: Annotated[
        list[str] | None,
        _targets_option("--not-critical", metavar="URL", help="A target that may be down; repeatable."),
    ] = None,
    timeout: Annotated[
        str | None, _check_option("--timeout", metavar="TIME", help="For the whole check; default 2 s.")
    ] = None,
    concurrency: Annotated[
        int | None, _check_option("--concurrency", metavar="N", help="Targets checked at once; default 100.")
    ] = None,
    watch: Annotated[
        str | None, _check_option("--watch", "-w", metavar="SECONDS", help="Check every SECONDS until Ctrl-C.")
    ] = None,
    rise: Annotated[
        int | None,
        _check_option("--rise", metavar="N", help="With --watch: good checks in a row until up; default 2."),
    ] = None,
    fall: Annotated[
        int | None,
        _check_option("--fall", metavar="N", help="With --watch: failed checks in a row until down; default 3."),
    ] = None,
    json: Annotated[bool, _output_option("--json", help="Print one JSON object per check, in one line.")] = False,
    metrics: Annotated[bool, _output_option("--openmetrics", help="Print OpenMetrics text.")] = False,
) -> int:
    """Check the health of targets, once or repeatedly."""
    if json and metrics:
        raise ConfigurationError("--json and --openmetrics exclude each other; give one")
    probes, options = _targets(urls or (), not_critical or (), config)
    if watch is None and (rise is not None or fall is not None):
        raise ConfigurationError("--rise and --fall are for --watch: a single check has no earlier ones to count")
    limits = {"concurrency": concurrency, "rise": rise, "fall": fall}
    options |= {name: value for name, value in limits.items() if value is not None}
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
    """Choose the screen: JSON or metrics for a program, a live table on a terminal, else plain lines."""
    console = out()
    if json or metrics:
        return ReportWriter(as_json if json else openmetrics)
    if supports_live(console):
        return Board(console, every=every)
    return ReportWriter(partial(as_lines, dated=every is not None))


async def _check(prober: Prober, screen: Screen, every: float | None) -> int:
    """Check once and return the exit code, or check every ``every`` seconds until cancelled."""
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
    """Return all targets under unique names, and the options of the check that the file sets."""
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
    """Yield the targets with unique names: the second target of a name becomes ``name #2``.

    Two URLs may have the same name, because a name holds neither scheme nor query.
    """
    seen: Counter[str] = Counter()
    for each in probes:
        seen[each.name] += 1
        yield each if seen[each.name] == 1 else each.named(f"{each.name} #{seen[each.name]}")
