"""The CPU that a loop monitor takes, as a share of one core.

On an idle loop it is the CPU time of the process with the monitor less that without it, in alternating rounds. On a
busy loop that difference would drown in the noise of the loop itself, so the two parts are measured by themselves: the
beat, by the CPU time of its thread before and after, and the watchdog, by the CPU clock of its thread.

    python -m benchmarks.loop_monitor [--seconds N] [--rounds N] [--uvloop]
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import threading
import time

from resilient_client.telemetry import LoopMonitor


class TimedMonitor(LoopMonitor):
    """A monitor that adds up the CPU time of its beats."""

    spent = 0.0

    def _beat(self) -> None:
        began = time.thread_time()
        super()._beat()
        self.spent += time.thread_time() - began


async def idle(seconds: float, *, monitored: bool) -> float:
    """Return the share of a core that this process takes while its loop only waits."""
    monitor = LoopMonitor()
    if monitored:
        monitor.start()
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    monitor.stop()
    return share


async def busy(seconds: float) -> tuple[float, float]:
    """Return the shares of a core that the beat and the watchdog take while the loop iterates without a pause."""
    async with TimedMonitor() as monitor:
        (thread,) = (each for each in threading.enumerate() if each.name == "resilient-client-loop-watchdog")
        assert thread.ident is not None
        clock, began = time.pthread_getcpuclockid(thread.ident), time.perf_counter()
        while time.perf_counter() - began < seconds:  # noqa: ASYNC110 -- iterations are what is measured
            await asyncio.sleep(0)
        took = time.perf_counter() - began
        return monitor.spent / took, time.clock_gettime(clock) / took


async def main(seconds: float, rounds: int) -> None:
    """Measure and print."""
    without, with_monitor = 0.0, 0.0
    for _ in range(rounds):
        without += await idle(seconds, monitored=False) / rounds
        with_monitor += await idle(seconds, monitored=True) / rounds
    beat, watchdog = await busy(seconds)
    print(f"idle loop:            {100 * (with_monitor - without):.2f} % of a core ({100 * without:.2f} % without)")
    print(f"busy loop, beat:      {100 * beat:.2f} % of a core")
    print(f"busy loop, watchdog:  {100 * watchdog:.2f} % of a core")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one round (5)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds on an idle loop (4)")
    parser.add_argument("--uvloop", action="store_true", help="measure on uvloop")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {'uvloop' if options.uvloop else 'asyncio'}", file=sys.stderr)
    if options.uvloop:
        import uvloop

        uvloop.run(main(options.seconds, options.rounds))
    else:
        asyncio.run(main(options.seconds, options.rounds))
