"""Waiting for a permit of a bulkhead. Which waiter is next is decided by ``_policies.limits.bulkhead``."""

from __future__ import annotations

import asyncio
import math
from enum import Enum

from resilient_client._core.types import Priority
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._waiting.waiter import Waiter


class PermitWait(Enum):
    """How a wait for a permit ended."""

    GRANTED = "granted"
    QUEUE_FULL = "queue full"
    DISPLACED = "displaced"
    EXPIRED = "expired"


async def wait_for_permit(permits: Permits, priority: Priority, max_wait: float) -> PermitWait:
    """Queue for a permit, after ``permits.try_acquire()`` returned false.

    Args:
        permits: The permits of one endpoint.
        priority: The priority of the call.
        max_wait: Seconds to wait at most; may be infinite.

    Returns:
        ``GRANTED``: the caller holds a permit now and must release it. Anything else: it holds none.
    """
    waiter: Waiter[PermitWait] = Waiter()
    place = permits.enqueue(
        priority, lambda granted: waiter.wake(PermitWait.GRANTED if granted else PermitWait.DISPLACED)
    )
    if place is None:
        return PermitWait.QUEUE_FULL
    loop = asyncio.get_running_loop()
    timer = None if math.isinf(max_wait) else loop.call_later(max_wait, waiter.wake, PermitWait.EXPIRED)
    try:
        return await waiter.wait(PermitWait.GRANTED, permits.release)
    finally:
        place.leave()
        if timer is not None:
            timer.cancel()
