"""What the calls of one route share for hedging: their latencies, their budgets, and the decisions based on these.

The route decides whether a hedge is worth starting and takes its tokens. It knows no task and no timer. The race of
each call (``_middleware.hedging``) reports to it how attempts ended, and asks it.
"""

from __future__ import annotations

from typing import Final

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.request import Request
from resilient_client._policies.hedging.budget import MAX_TOKENS, HedgeTokens
from resilient_client._policies.hedging.latency_histogram import LatencyHistogram
from resilient_client._policies.retry.budget import RetryBudgets, RetryTokens
from resilient_client._settings.hedging import Hedging

MIN_GAIN: Final = 2.0
"""How many times as long as a new attempt the rest of a late one must be expected to take for a hedge to be started.

A hedge saves the difference at most, and it costs the upstream the work of one more attempt, won or lost. At 1, where
latencies have no memory, it saves nothing. At 2 it saves as much as it costs. Where queueing causes the tail, the ratio
falls as the queue grows: in ``tests/simulation/test_hedging.py`` from 3.5 at a utilisation of 0.3 to 2.5 at 0.5 and to
below 2 from 0.6 on, while hedges take more time from others than they save from about 0.55 on."""


class HedgingRoute:
    """What is shared by calls with the same method and path to the same endpoint.

    The endpoints of one client share it: the slowness of an unhealthy one must not be learnt as normal.

    Attributes:
        latencies: The latencies of the route's attempts.
        tokens: The hedging tokens of the upstream.
    """

    def __init__(
        self,
        request: Request,
        latencies: LatencyHistogram,
        tokens: HedgeTokens,
        budgets: RetryBudgets[Endpoint] | None,
    ) -> None:
        """Serve the calls with the method, path and endpoint of ``request``.

        Args:
            request: The first request of the route.
            latencies: The latencies of the route.
            tokens: The hedging tokens of the upstream.
            budgets: The retry budgets, from which hedges take tokens, too. ``None``: there are none.
        """
        self._endpoint = request.endpoint
        self._method = request.method
        self._upstream = request.context.upstream
        self._budgets = budgets
        self.latencies = latencies
        self.tokens = tokens

    def matches(self, request: Request) -> bool:
        """Whether a request for the same path belongs to this route."""
        # By identity, which is enough and cheap: these are usually the same objects. A miss only costs a lookup.
        return (
            request.endpoint is self._endpoint
            and request.method is self._method
            and request.context.upstream is self._upstream
        )

    def answered(self, request: Request, hedging: Hedging) -> None:
        """Record an answer without a hedge: learn its latency and deposit."""
        self.latencies.observe(request.context.started, request.attempt.elapsed)
        tokens = self.tokens
        if tokens.available < MAX_TOKENS:
            tokens.deposit(hedging.max_extra_load)

    def ended(self, request: Request, *, complete: bool) -> None:
        """Record any other attempt that was begun, ``complete`` if it ended with an answer."""
        attempt = getattr(request, "attempt", None)
        if attempt is not None and not attempt.loop_was_late:
            self.latencies.observe(request.context.started, attempt.elapsed, complete=complete)

    def late(self, number: int, delay: float, hedging: Hedging) -> None:
        """Record that the step of this number is unanswered at the end of the delay, called once per step."""
        self.tokens.late(number, max(hedging.max_extra_load, self.latencies.outlook(delay).late))

    def is_worthwhile(self, waited: float) -> bool:
        """Whether a hedge after ``waited`` seconds saves more than it costs.

        It does if the upstream is not congested and a new attempt is expected to be far quicker than the rest of this
        one. If no attempt takes so long, or that is unknown, the hedge counts as worthwhile.
        """
        return not self.tokens.congested and self.latencies.outlook(waited).rest >= MIN_GAIN

    def try_spend(self, request: Request, now: float, cost: float) -> bool:
        """Take the tokens of a hedge from both budgets, or from neither."""
        if not self.tokens.try_spend():
            return False
        retry_tokens = self._retry_tokens(request)
        if retry_tokens is None or retry_tokens.try_spend(now, cost):
            return True
        self.tokens.refund()
        return False

    def refund(self, request: Request, cost: float) -> None:
        """Return the tokens of a hedge that was not sent to both budgets."""
        self.tokens.refund()
        if (retry_tokens := self._retry_tokens(request)) is not None:
            retry_tokens.refund(cost)

    def _retry_tokens(self, request: Request) -> RetryTokens | None:
        budgets = self._budgets
        return None if budgets is None else budgets.for_upstream(self._upstream, request.context.started)
