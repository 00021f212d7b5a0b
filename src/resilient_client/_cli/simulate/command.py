"""``resilient-client simulate``: its options, its steps and its exit code."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resilient_client._cli import inputs
from resilient_client._cli.errors import FAILED, OK, print_error
from resilient_client._cli.output import err, out, supports_live
from resilient_client._core.errors import ConfigurationError

if TYPE_CHECKING:
    from resilient_client._cli.simulate.experiment import Experiment, Result
    from resilient_client.simulation._files import ScenarioFile

_run_option = partial(typer.Option, rich_help_panel="Run")
_output_option = partial(typer.Option, rich_help_panel="Output")

_MAX_SEEDS = 1000
_EPILOG = "Exit code: 0 if it was run, 1 if it could not be, 2 for wrong input (nothing was run), 130 if interrupted."


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("simulate", help="Simulate a failing system in virtual time, and compare settings.", epilog=_EPILOG)(
        simulate
    )


def simulate(
    what: Annotated[
        str | None, typer.Argument(metavar="[FILE|NAME]", help="A scenario as a TOML file, or one of --list.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        _run_option(
            "--compare",
            "-c",
            metavar="WHAT=VALUE,...",
            help="Settings side by side: retry=none,naive,default, circuit_breaker=off,default, "
            "retry.max_attempts=2,5, client=default,mine.toml. Repeatable: runs every combination.",
        ),
    ] = None,
    seed: Annotated[
        int | None, _run_option("--seed", metavar="N", help="Seeds the randomness; default: the scenario's seed.")
    ] = None,
    seeds: Annotated[
        int, _run_option("--seeds", metavar="N", help="Run N seeds, and show medians with lowest and highest.")
    ] = 1,
    duration: Annotated[
        str | None, _run_option("--duration", metavar="TIME", help="Replaces the scenario's: 30, 2m.")
    ] = None,
    output: Annotated[
        str | None, _output_option("--output", "-o", metavar="FILE", help="Write a picture: .png, .svg or .html.")
    ] = None,
    json: Annotated[bool, _output_option("--json", help="Print one JSON object, in one line.")] = False,
    listed: Annotated[bool, _output_option("--list", help="List the ready scenarios; runs nothing.")] = False,
    printed: Annotated[
        bool, _output_option("--print", help="Print the scenario's file, to copy; runs nothing.")
    ] = False,
) -> int:
    """Run a scenario under one or several settings, and show the results side by side."""
    if listed:
        return _list()
    if what is None:
        raise ConfigurationError("there is no scenario; name a TOML file, or one of 'resilient-client simulate --list'")
    file = _scenario(what)
    if printed:
        sys.stdout.write(file.text)
        return OK
    draw = _picture_writer(output)
    experiment = _experiment(file, compare or [], seed, seeds, duration, _command(what, compare, seed, seeds, duration))
    results = _run(experiment)
    try:
        draw(experiment, results)
    except OSError as error:
        return print_error(f"--output: {output!r} cannot be written: {inputs.os_error_reason(error)}", FAILED)
    _show(experiment, results, json)
    return OK


def _list() -> int:
    from resilient_client.simulation._ready import READY, ready_scenario

    wide = max(map(len, READY))
    for name in READY:
        out().print(f"{name:<{wide}}  {ready_scenario(name).about}", soft_wrap=True)
    return OK


def _scenario(what: str) -> ScenarioFile:
    """Read a file if ``what`` looks like a path or is a file, else take the ready scenario of that name."""
    from resilient_client.simulation._files import read_scenario
    from resilient_client.simulation._ready import READY, ready_scenario

    if what.endswith(".toml") or "/" in what or (what not in READY and Path(what).is_file()):
        return read_scenario(what)
    return ready_scenario(what)


def _experiment(
    file: ScenarioFile, compare: list[str], seed: int | None, seeds: int, duration: str | None, command: str
) -> Experiment:
    from resilient_client._cli.simulate.experiment import Experiment
    from resilient_client._cli.simulate.variants import variants

    if not 1 <= seeds <= _MAX_SEEDS:
        raise ConfigurationError(f"--seeds is {seeds}; give 1 to {_MAX_SEEDS}")
    scenario = file.scenario
    if duration is not None:
        scenario = scenario.model_copy(update={"duration": inputs.seconds("--duration", duration)})
    first = scenario.seed if seed is None else seed
    return Experiment(scenario, file.about, variants(compare), tuple(range(first, first + seeds)), command)


def _run(experiment: Experiment) -> tuple[Result, ...]:
    from resilient_client._cli.simulate.experiment import run_all
    from resilient_client.simulation import InvariantBrokenError

    try:
        with _progress(experiment.seconds) as on_second:
            return run_all(experiment, on_second)
    except InvariantBrokenError as broken:  # a bug in the library or in a middleware: the results are wrong
        raise typer.Exit(print_error(str(broken), FAILED)) from None


@contextlib.contextmanager
def _progress(seconds: int) -> Iterator[Callable[[], object]]:
    """Show a progress bar on stderr if that is a terminal. Yield the function to call per simulated second."""
    console = err()
    if not supports_live(console):
        yield lambda: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("simulating"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=seconds)
        yield lambda: progress.advance(task)


def _show(experiment: Experiment, results: tuple[Result, ...], json: bool) -> None:
    if json:
        from resilient_client._cli.simulate.as_json import as_json

        sys.stdout.write(f"{as_json(experiment, results)}\n")
        return
    from resilient_client._cli.simulate.report import report

    console = out()
    for line in report(experiment, results, console.width):
        console.print(line, soft_wrap=True)


def _picture_writer(output: str | None) -> Callable[[Experiment, tuple[Result, ...]], None]:
    """Return the function that writes the picture, or raise before the run if that is impossible."""
    destination = inputs.checked_destination(output)
    if destination is None:
        return lambda _experiment, _results: None
    from resilient_client._cli.simulate.drawing import picture_writer

    return picture_writer(destination)


def _command(what: str, compare: list[str] | None, seed: int | None, seeds: int, duration: str | None) -> str:
    """Return the command line that repeats this run."""
    parts = ["resilient-client", "simulate", what]
    for text in compare or ():
        parts += ["--compare", text]
    parts += [] if seed is None else ["--seed", str(seed)]
    parts += [] if seeds == 1 else ["--seeds", str(seeds)]
    parts += [] if duration is None else ["--duration", duration]
    return shlex.join(parts)
