"""Whether the upstream can bear another retry: a bucket of tokens per upstream.

The budget decides yes or no and keeps the tokens. It never delays, and all it knows of a failure is its cost. Each
extra attempt (a retry, a hedge) takes tokens before it starts. Each call whose answer is not a failure deposits once.
Jittered backoff spreads a retry storm, but only a budget ends it (Brooker, *Fixing retries with token buckets and
circuit breakers*, 2022; Finagle, gRPC A6 and the AWS SDKs keep such buckets).

The cost of an outage: nothing succeeds, so nothing is deposited. The extra load is what the bucket held and what
trickles in. By default, from a full bucket (``burst=9``, ``min_per_second=0.01``):

- a client that calls once per second or more, in 60 s: 9 extra attempts on 60 calls or more, below 1.25 times,
- a client that calls once in 10 s, in 300 s: at most 12 on 30, below 1.5 times.

The extra load is one bucketful per client: the fewer calls are made during an outage, the larger its share. If calls
deposited when they *start* (as in Finagle), the outage would pay for its own retries: 1.37 and 1.6 times.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, TypeVar

from resilient_client._policies.registry import LIMIT, BoundedMapping
from resilient_client._settings.retry import RetryBudget

K = TypeVar("K", bound=Hashable)

RETRY_COST: Final = 1.0
"""Tokens that an extra attempt takes."""
TIMEOUT_COST: Final = 5.0
"""Tokens that it takes after a timeout, which is a sign of overload, and of work that the server may still be doing.

At 2, the tokens in the buckets of a fleet of small clients prolong a stall by as long as it lasted. At 10, there are
hardly any retries for the calls that met a hanging replica. ``tests/simulation/test_metastable.py`` has the numbers.
(The AWS SDKs charge double.)"""


class RetryTokens:
    """The tokens of one upstream, shared by all calls to it.

    ``now`` is in seconds, on the same clock for all methods. If it steps back, nothing trickles in until it has passed
    its latest value again.

    Args:
        settings: How fast tokens accrue and how many are kept. ``initial`` is clipped to ``burst``.
        now: The time at the start, in seconds.
    """

    __slots__ = ("_accrued_until", "_burst", "_deposit", "_min_per_second", "_tokens")

    def __init__(self, settings: RetryBudget, now: float) -> None:
        self._deposit = settings.max_extra_load
        self._burst = settings.burst
        self._min_per_second = settings.min_per_second
        self._tokens = min(settings.initial, settings.burst)
        self._accrued_until = now

    @property
    def full(self) -> bool:
        """Whether a deposit would change nothing. This is the usual case, and it needs no reading of the clock."""
        return self._tokens >= self._burst

    def deposit(self, now: float) -> None:
        """Credit one call whose answer is not a failure, however many attempts it took."""
        self._tokens = min(self._burst, self.available(now) + self._deposit)

    def try_spend(self, now: float, cost: float) -> bool:
        """Take ``cost`` tokens if there are so many, otherwise none.

        Returns:
            Whether the extra attempt may start.
        """
        if self.available(now) < cost:
            return False
        self._tokens -= cost
        return True

    def refund(self, cost: float) -> None:
        """Return the tokens of an extra attempt that was never started because its call ended during the delay."""
        self._tokens = min(self._burst, self._tokens + cost)

    def available(self, now: float) -> float:
        """The tokens in the bucket at ``now``, 0 to ``burst``."""
        if now > self._accrued_until:
            trickle = (now - self._accrued_until) * self._min_per_second
            self._tokens = min(self._burst, self._tokens + trickle)
            self._accrued_until = now
        return self._tokens


class RetryBudgets(BoundedMapping[K, RetryTokens]):
    """The buckets of one client: a mapping of upstreams to their tokens, each made on first use.

    Above ``limit`` the least recently used bucket is evicted. An upstream that is called again after that starts with
    ``initial`` tokens.

    Args:
        settings: The settings of every bucket.
        limit: The number of buckets kept.
    """

    __slots__ = ("_settings",)

    def __init__(self, settings: RetryBudget, *, limit: int = LIMIT) -> None:
        super().__init__(limit)
        self._settings = settings

    def for_upstream(self, key: K, now: float) -> RetryTokens:
        """Return the bucket that the endpoints of this upstream share. It counts as a use, unlike ``budgets[key]``.

        Args:
            key: The upstream.
            now: The time, in seconds, from which a new bucket accrues tokens.
        """
        if key is self._latest_key and self._latest is not None:
            return self._latest
        tokens = self._items.get(key)
        return self._add(key, RetryTokens(self._settings, now)) if tokens is None else self._touch(key, tokens)
