"""Where time comes from: the running event loop, always.

Deadlines and timers use ``loop.time()``. Short durations use ``now()``, because some loops step in
milliseconds. On a virtual-time loop both are the loop's time, so simulated runs need nothing patched.
"""

from __future__ import annotations

import asyncio
import time


def now() -> float:
    """Seconds on a clock fit for measuring short durations; only differences mean anything."""
    loop = asyncio.get_running_loop()
    return loop.time() if getattr(loop, "virtual", False) else time.perf_counter()
