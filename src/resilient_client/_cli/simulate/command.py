"""``resilient-client simulate``: its options, and how it ends."""

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
from resilient_client._cli.errors import FAILED, OK, complain
from resilient_client._cli.output import err, lively, out
from resilient_client._core.errors import ConfigurationError

if TYPE_CHECKING:
    from resilient_client._cli.simulate.experiment import Experiment, Result
    from resilient_client.simulation._files import ScenarioFile

_which = partial(typer.Option, rich_help_panel="What is run")
_shown = partial(typer.Option, rich_help_panel="What is shown")

_MOST_SEEDS = 1000
_ENDS = "Exit code: 0 if it was run, 1 if it could not be, 2 for wrong input (nothing was run), 130 when interrupted."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", help="Order an outage at your desk: a system in trouble, in virtual time.", epilog=_ENDS)(
        simulate
    )


def simulate(
    what: Annotated[
        str | None, typer.Argument(metavar="[FILE|NAME]", help="A scenario as TOML, or one of --list.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        _which(
            "--compare",
            "-c",
            metavar="WHAT=VALUE,...",
            help="Settings side by side: retry=none,naive,default, circuit_breaker=off,default, "
            "retry.max_attempts=2,5, client=default,mine.toml. Several make every combination.",
        ),
    ] = None,
    seed: Annotated[
        int | None, _which("--seed", metavar="N", help="Where chance begins; the scenario's own if left out.")
    ] = None,
    seeds: Annotated[
        int, _which("--seeds", metavar="N", help="Run N seeds, and show medians with the lowest and highest.")
    ] = 1,
    duration: Annotated[
        str | None, _which("--duration", metavar="TIME", help="Instead of the scenario's: 30, 2m.")
    ] = None,
    output: Annotated[
        str | None, _shown("--output", "-o", metavar="FILE", help="A picture: .png, .svg or .html.")
    ] = None,
    json: Annotated[bool, _shown("--json", help="One JSON object, in one line.")] = False,
    listed: Annotated[bool, _shown("--list", help="The ready scenarios, and nothing is run.")] = False,
    printed: Annotated[bool, _shown("--print", help="The scenario's file, to copy; nothing is run.")] = False,
) -> int:
    """Run a scenario under one or several settings, and show what became of it."""
    if listed:
        return _list()
    if what is None:
        raise ConfigurationError("there is no scenario; name a TOML file, or one of 'resilient-client simulate --list'")
    file = _scenario(what)
    if printed:
        sys.stdout.write(file.text)
        return OK
    draw = _drawing(output)
    experiment = _experiment(file, compare or [], seed, seeds, duration, _command(what, compare, seed, seeds, duration))
    results = _run(experiment)
    try:
        draw(experiment, results)
    except OSError as error:
        return complain(f"--output: {output!r} cannot be written: {inputs.reason(error)}", FAILED)
    _show(experiment, results, json)
    return OK


def _list() -> int:
    from resilient_client.simulation._ready import READY, ready_scenario

    wide = max(map(len, READY))
    for name in READY:
        out().print(f"{name:<{wide}}  {ready_scenario(name).about}", soft_wrap=True)
    return OK


def _scenario(what: str) -> ScenarioFile:
    """A file if it looks like one, else a ready scenario."""
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

    if not 1 <= seeds <= _MOST_SEEDS:
        raise ConfigurationError(f"--seeds is {seeds}; give 1 to {_MOST_SEEDS}")
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
    except InvariantBrokenError as broken:  # a bug, of ours or of a middleware; nothing that follows from it is true
        raise typer.Exit(complain(str(broken), FAILED)) from None


@contextlib.contextmanager
def _progress(seconds: int) -> Iterator[Callable[[], object]]:
    """A bar on stderr while it runs, if somebody looks; it leaves nothing behind."""
    console = err()
    if not lively(console):
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


def _drawing(output: str | None) -> Callable[[Experiment, tuple[Result, ...]], None]:
    """What draws the picture at the end; whether it can be drawn is found out now, before anything is run."""
    destination = inputs.checked_destination(output)
    if destination is None:
        return lambda _experiment, _results: None
    from resilient_client._cli.simulate.drawing import drawing

    return drawing(destination)


def _command(what: str, compare: list[str] | None, seed: int | None, seeds: int, duration: str | None) -> str:
    """The command line that runs the same again."""
    parts = ["resilient-client", "simulate", what]
    for text in compare or ():
        parts += ["--compare", text]
    parts += [] if seed is None else ["--seed", str(seed)]
    parts += [] if seeds == 1 else ["--seeds", str(seeds)]
    parts += [] if duration is None else ["--duration", duration]
    return shlex.join(parts)
