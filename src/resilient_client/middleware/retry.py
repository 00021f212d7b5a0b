"""Retry: the only repeater. The first attempt runs bare; tenacity is engaged from the first failure on.

Per call, around the attempts. Whether and when is decided by ``policies.retry``; tenacity runs the loop and the
sleeps. Its object is made afresh for each call that failed once: shared between tasks, it would mix them up. All
callbacks given to it are synchronous, and only ``Exception`` is ever caught, so a cancellation goes straight through.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState

from resilient_client.core.endpoint import Endpoint
from resilient_client.core.errors import APIError, ConfigurationError
from resilient_client.core.events import RetryRefused, RetryScheduled
from resilient_client.core.protocols import Handler
from resilient_client.core.request import Request
from resilient_client.core.response import Response
from resilient_client.policies.backoff import pause
from resilient_client.policies.classify import Fault, fault_of
from resilient_client.policies.retry import Again, Enough, Situation, decide
from resilient_client.policies.retry_after import retry_after
from resilient_client.policies.retry_budget import RetryBudgets, RetryTokens
from resilient_client.settings.retry import Backoff, Retry


class RetryMiddleware:
    """Repeats failed attempts as the call's settings say, within the budget of its upstream."""

    __slots__ = ("_budgets", "_wall_clock")

    def __init__(
        self, budgets: RetryBudgets[Endpoint] | None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Serve any number of calls.

        Args:
            budgets: The retry budgets, one an upstream; ``None``: retries are not bounded by one.
            wall_clock: Gives the time of day in seconds, for dates in ``Retry-After``.
        """
        self._budgets = budgets
        self._wall_clock = wall_clock

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make the first attempt, and more if it fails in a way that another may heal."""
        context = request.context
        retry = context.retry
        if retry is None:
            return await call_next(request)
        outcome: Response | APIError
        try:
            outcome = await call_next(request.copy())
        except APIError as error:
            outcome = error
        if (fault := fault_of(outcome, retry.statuses)) is None:
            self._deposit(context.upstream)
            return _give(outcome)
        try:
            return await _Repeater(request, retry, self._tokens(context.upstream), self._wall_clock).run(
                outcome, call_next
            )
        finally:
            del outcome, fault
