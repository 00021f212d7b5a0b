"""Where time comes from: the running event loop, always.

Deadlines and timers use ``loop.time()``. Short durations use ``clock_of(loop)``, because some loops step in
milliseconds. On a virtual-time loop both are the loop's time, so simulated runs need nothing patched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The clock fit for measuring short durations under ``loop``, in seconds; only differences mean anything."""
    return loop.time if getattr(loop, "virtual", False) else time.perf_counter
