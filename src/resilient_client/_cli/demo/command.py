"""The command ``demo``: its options, the run, and the exit code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from resilient_client._cli import errors, inputs
from resilient_client._cli.output import out
from resilient_client._cli.signals import run
from resilient_client._core.errors import ConfigurationError

# Servers and a live screen are imported when the demo runs: the other commands should not wait for them.
if TYPE_CHECKING:
    from resilient_client._cli.demo.orders import Reconciliation
    from resilient_client._cli.demo.state import Snapshot
    from resilient_client._cli.demo.upstreams import Timetable
    from resilient_client._cli.demo.view import Renderer

_FRAME_SECONDS: Final = 0.12


def demo(
    seconds: Annotated[float, typer.Option(help="How long orders arrive, 3 to 600. The incidents scale with it.")] = 15,
    seed: Annotated[int, typer.Option(help="Seeds the randomness; the same seed gives nearly the same run.")] = 22,
    svg: Annotated[str | None, typer.Option(metavar="FILE", help="Also write the last picture to this file.")] = None,
) -> None:
    """Watch an order service whose three upstreams fail in turn: calls, attempts, budgets, circuits.

    Everything runs on this machine, on real sockets, and ends by itself.
    The exit code is 0 if the client reports exactly what the servers counted, else 1.
    """
    if not 3 <= seconds <= 600:  # also rejects NaN, which compares false
        raise ConfigurationError(f"--seconds is {seconds:g}; give 3 to 600")
    destination = inputs.checked_destination(svg, "--svg")
    from resilient_client._cli.demo.upstreams import Timetable
    from resilient_client._cli.demo.view import create_renderer, write_svg

    timetable = Timetable(seconds, seed)
    last, reconciliation = run(run_demo(timetable, create_renderer(out(), timetable)))
    if destination is not None:
        write_svg(last, destination)
    raise typer.Exit(errors.OK if reconciliation.ok else errors.FAILED)


class DemoResult(NamedTuple):
    """The last snapshot of a run, and the reconciliation of both sides."""

    last: Snapshot
    reconciliation: Reconciliation


async def run_demo(timetable: Timetable, renderer: Renderer) -> DemoResult:
    """Run the demo until the last call has ended, at most two seconds after the last order."""
    from resilient_client._cli.demo.orders import Reconciliation, make_client, place_orders, wait_for_arrivals
    from resilient_client._cli.demo.state import Observer
    from resilient_client._cli.demo.upstreams import run_upstreams

    loop = asyncio.get_running_loop()
    async with run_upstreams(timetable) as upstreams, make_client(timetable) as api:
        observer = Observer(api, timetable, upstreams.urls, upstreams.started)
        placing = asyncio.create_task(place_orders(api, timetable, upstreams.urls, observer.on_order))
        try:
            with renderer:
                while not placing.done():
                    renderer.update(observer.snapshot(loop.time()))
                    await asyncio.wait({placing}, timeout=_FRAME_SECONDS)
                last = observer.snapshot(loop.time())
                renderer.update(last)
        finally:
            # The orders are done by now, unless the renderer raised because its reader is gone.
            placing.cancel()
            await asyncio.wait({placing})
        orders = placing.result()
        await wait_for_arrivals(orders, upstreams)
        reconciliation = Reconciliation(orders, observer.counters, upstreams)
        renderer.summarise(list(reconciliation.facts()))
        return DemoResult(last, reconciliation)
