"""The typer application. Each command has its own file and is registered here."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from resilient_client._cli import errors, probe, verbs
from resilient_client._cli.demo.command import demo
from resilient_client._cli.output import out
from resilient_client._cli.simulate import command as simulate
from resilient_client._version import __version__

PROGRAM = "resilient-client"

app = typer.Typer(
    name=PROGRAM,
    help="Resilient HTTP calls from the command line: one call with everything that happened to it, or many probes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out().print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def top(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Resilient HTTP calls from the command line: one call with everything that happened to it, or many probes."""
    if context.invoked_subcommand is None:
        out().print(context.get_help())
        raise typer.Exit(errors.USAGE)


verbs.register(app)
probe.register(app)
simulate.register(app)
app.command("demo")(demo)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. typer's own error handling is bypassed: see ``errors``."""
    command = typer.main.get_command(app)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # symbols that the encoding lacks become "?"

    def invoke() -> object:
        with command.make_context(PROGRAM, list(arguments)) as context:
            return command.invoke(context)

    return errors.exit_code_of(invoke)
