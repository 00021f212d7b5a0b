"""What the calls of one route share for their hedges: how long they take, what is in the budgets, and what follows.

Decides whether a hedge is worth starting and can be paid for; never knows a task or a timer. The race of each call
(``_middleware.hedging``) tells it how attempts ended, and asks.
"""

from __future__ import annotations

from typing import Final

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.request import Request
from resilient_client._policies.hedging.budget import MOST, HedgeTokens
from resilient_client._policies.hedging.latency_histogram import LatencyHistogram
from resilient_client._policies.retry.budget import RetryBudgets, RetryTokens
from resilient_client._settings.hedging import Hedging

GAIN: Final = 2.0
"""How many times longer than a new attempt the rest of a late one must take for a hedge to be started.

A hedge saves the difference at most, and costs the upstream the work of one more attempt, won or lost. At 1, where
times have no memory, it saves nothing; at 2, as much as it costs. Where the queue is what makes the tail, the ratio
falls as the queue grows: in ``tests/simulation/test_hedging.py`` from 3.5 at a utilisation of 0.3 to 2.5 at 0.5 and to
below 2 from 0.6 on, while hedges take more time from others than they save from about 0.55 on."""


class HedgingRoute:
    """What is shared by calls with the same method and path to the same endpoint.

    Several endpoints behind one client share it, too: a sick one must not teach that its slowness is normal.

    Attributes:
        latencies: How long attempts take.
        tokens: Of the upstream, for hedges alone.
    """

    def __init__(
        self,
        request: Request,
        latencies: LatencyHistogram,
        tokens: HedgeTokens,
        budgets: RetryBudgets[Endpoint] | None,
    ) -> None:
        """Serve calls like this one.

        Args:
            request: The first of them.
            latencies: Of its route.
            tokens: Of its upstream.
            budgets: The retry budgets, of which hedges take, too; ``None``: there are none.
        """
        self._endpoint = request.endpoint
        self._method = request.method
        self._upstream = request.context.upstream
        self._budgets = budgets
        self.latencies = latencies
        self.tokens = tokens

    def matches(self, request: Request) -> bool:
        """Whether a request for the same path is one of this route: a look at what is usually the same object."""
        return (
            request.endpoint is self._endpoint
            and request.method is self._method
            and request.context.upstream is self._upstream
        )

    def answered(self, request: Request, hedging: Hedging) -> None:
        """Learn from an answer that came in good time, and deposit."""
        self.latencies.observe(request.context.started, request.attempt.elapsed)
        tokens = self.tokens
        if tokens.available < MOST:
            tokens.deposit(hedging.max_extra)

    def ended(self, request: Request, *, complete: bool) -> None:
        """Learn from any other attempt, if it had begun at all; ``complete``: it has its answer."""
        attempt = getattr(request, "attempt", None)
        if attempt is not None:
            self.latencies.observe(request.context.started, attempt.elapsed, complete=complete)

    def late(self, number: int, delay: float, hedging: Hedging) -> None:
        """Learn that the ``number``-th step still waits at the end of the delay; once for each."""
        self.tokens.late(number, max(hedging.max_extra, self.latencies.outlook(delay).late))

    def is_worthwhile(self, waited: float) -> bool:
        """Whether a hedge after so many seconds saves more than it costs: few are late, and new attempts far quicker.

        Where nothing takes so long, or nobody knows, it counts as a gain.
        """
        return not self.tokens.crowded and self.latencies.outlook(waited).rest >= GAIN

    def pay(self, request: Request, now: float, cost: float) -> bool:
        """Take a hedge from both budgets, or from none."""
        if not self.tokens.try_spend():
            return False
        retry_tokens = self._retry_tokens(request)
        if retry_tokens is None or retry_tokens.try_spend(now, cost):
            return True
        self.tokens.refund()
        return False

    def refund(self, request: Request, cost: float) -> None:
        """Nothing was sent for what was paid."""
        self.tokens.refund()
        if (retry_tokens := self._retry_tokens(request)) is not None:
            retry_tokens.refund(cost)

    def _retry_tokens(self, request: Request) -> RetryTokens | None:
        budgets = self._budgets
        return None if budgets is None else budgets.for_upstream(self._upstream, request.context.started)
