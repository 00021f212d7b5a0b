"""The command ``demo``: its options, and how it ends."""

from __future__ import annotations

from typing import Annotated

import typer

from resilient_client._cli import errors, inputs
from resilient_client._cli.output import out
from resilient_client._cli.signals import run
from resilient_client._core.errors import ConfigurationError


def demo(
    seconds: Annotated[float, typer.Option(help="How long orders come in, 3 to 600; the troubles follow.")] = 15,
    seed: Annotated[int, typer.Option(help="Where chance begins: one seed, about one run.")] = 22,
    svg: Annotated[str | None, typer.Option(metavar="FILE", help="Also draw the last picture into this file.")] = None,
) -> None:
    """Watch an order service whose three upstreams fail in turn: calls, attempts, budgets, circuits.

    Everything runs on this machine, on real sockets, and ends by itself:
    with exit code 0 if what the client reports is what the servers counted, else with 1.
    """
    if not 3 <= seconds <= 600:  # false for NaN, too
        raise ConfigurationError(f"--seconds is {seconds:g}; give 3 to 600")
    picture = inputs.checked_destination(svg, "--svg")
    # Imported here, where they are needed: servers and a live screen are nothing the other commands should wait for.
    from resilient_client._cli.demo.shows import show_for
    from resilient_client._cli.demo.stage import perform
    from resilient_client._cli.demo.svg import write_svg
    from resilient_client._cli.demo.timetable import Timetable

    timetable = Timetable(seconds, seed)
    last, books = run(perform(timetable, show_for(out(), timetable)))
    if picture is not None:
        write_svg(last, picture)
    raise typer.Exit(errors.OK if books.balance else errors.FAILED)
