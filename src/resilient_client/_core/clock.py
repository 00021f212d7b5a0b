"""The clocks of the library. All of them depend on the running event loop.

Deadlines and timers use ``loop.time()``. Short durations use ``clock_of(loop)``, because the time of some loops, such
as uvloop, advances in steps of one millisecond. On a virtual-time loop both are the loop's time, so simulated runs
need no patching.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return a clock for measuring short durations on ``loop``, in seconds. Only differences are meaningful."""
    return loop.time if getattr(loop, "virtual", False) else time.perf_counter
