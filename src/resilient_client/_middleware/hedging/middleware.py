"""The link of the chain: per call, inside retry, it makes each step of the retry a race of attempts.

The first attempt runs in the caller's task. Most calls end there, and have cost no task and no timer of their own.
After which delay a hedge starts, and whether it may, is decided by ``_policies.hedging.route``; what a failed attempt
leads to is decided by ``_policies.hedging.rules``.
"""

from __future__ import annotations

import asyncio

from resilient_client._core.cache import BoundedCache
from resilient_client._core.call import route_of
from resilient_client._core.deadline import SharedTimer
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._middleware.hedging.race import Race
from resilient_client._policies.hedging.budget import HedgeTokens
from resilient_client._policies.hedging.latency_histogram import LatencyHistogram
from resilient_client._policies.hedging.route import HedgingRoute
from resilient_client._policies.registry import Registry
from resilient_client._policies.retry.budget import RetryBudgets

_ROUTES = 1_000


class HedgingMiddleware:
    """Starts hedges as the call's settings say, within two budgets of its upstream."""

    __slots__ = ("_budgets", "_latencies", "_routes", "_timer", "_tokens")

    def __init__(self, budgets: RetryBudgets[Endpoint] | None) -> None:
        """Serve any number of calls.

        Args:
            budgets: The retry budgets, which hedges draw from too; ``None``: only the budget of hedges bounds them.
        """
        self._budgets = budgets
        self._tokens: Registry[Endpoint, HedgeTokens] = Registry(lambda _: HedgeTokens())
        self._latencies: Registry[tuple[Endpoint, str, str], LatencyHistogram]
        self._latencies = Registry(lambda _: LatencyHistogram(), limit=_ROUTES)
        self._routes: BoundedCache[str, HedgingRoute] = BoundedCache(_ROUTES)  # the latest by path as it was written
        self._timer: SharedTimer | None = None

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make an attempt, and another alongside when it is slow or fails."""
        context, body = request.context, request.body
        hedging = context.settings.hedging
        if hedging is None or not context.idempotent or (body is not None and not body.shareable):
            return await call_next(request)
        route = self._routes.get(context.call.path)
        if route is None or not route.matches(request):
            route = self._find_route(request)
        loop = context.client.timer.loop
        timer = self._timer
        if timer is None or timer.loop is not loop:
            # Not the client's own timer: delays end far more often than timeouts, and each end reorders what is
            # pending.
            timer = self._timer = SharedTimer(loop)
        race = Race(timer, request, call_next, hedging, route)
        try:
            try:
                response = await call_next(request)
            except APIError as error:
                race.first_failed(error)
            except asyncio.CancelledError:
                if not race.first_was_overtaken():
                    raise
            else:
                if response.status < 400 and not race.eventful:
                    route.answered(request, hedging)
                    return response
                if race.first_answered(response):
                    return response
            return await race.wait_for_winner()
        finally:
            race.close()
            if race.eventful:
                await race.cancel_losers()

    def _find_route(self, request: Request) -> HedgingRoute:
        """The route of this request; remembered by its path."""
        context, path = request.context, request.context.call.path
        latencies = self._latencies.use((request.endpoint, request.method, route_of(path)))
        route = HedgingRoute(request, latencies, self._tokens.use(context.upstream), self._budgets)
        self._routes.put(path, route)
        return route
