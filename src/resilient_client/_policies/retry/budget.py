"""Whether the upstream can bear another retry: a bucket of tokens per upstream.

Decides yes or no and keeps the tokens; never delays, and knows of a failure only its cost. Whoever starts an
extra attempt (a retry, a hedge) spends here first; every call that got an answer which is no failure deposits
once. Jittered backoff spreads a retry storm, only a budget ends it (Brooker, *Fixing retries with token
buckets and circuit breakers*, 2022; Finagle, gRPC A6 and the AWS SDKs keep such buckets).

What an outage costs: nothing succeeds, so nothing is deposited, and the extra load is what the bucket held
and what trickles in. By default, from a full bucket (``burst=9``, ``min_per_second=0.01``):

- a client that calls once a second or more, in 60 s: 9 extra attempts on 60 calls or more, below 1.25 times;
- a client that calls once in 10 s, in 300 s: at most 12 on 30, below 1.5 times.

It is a bucketful per client: the fewer calls an outage meets, the larger its share. Were a call to deposit
when it *starts* (as in Finagle), the outage would feed the retries: 1.37 and 1.6 times.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, TypeVar

from resilient_client._settings.retry import RetryBudget

K = TypeVar("K", bound=Hashable)

RETRY_COST: Final = 1.0
"""Tokens an extra attempt takes."""
TIMEOUT_COST: Final = 5.0
"""Tokens it takes after a timeout: the sign of overload, and work the server may still be doing.

At 2, what a fleet of small clients has in its buckets prolongs a stall by as long as it lasted; at 10, a replica that
hangs is hardly healed. ``tests/simulation/test_metastable.py`` has the numbers. (The AWS SDKs charge double.)"""


class RetryTokens:
    """The tokens of one upstream, shared by all calls to it.

    ``now`` is in seconds, on the same clock for all methods. Should it step back, nothing trickles in until
    it has passed its furthest point again.

    Args:
        settings: How fast tokens come and how many are kept; ``initial`` is clipped to ``burst``.
        now: The time at the start, in seconds.
    """

    __slots__ = ("_accrued_until", "_burst", "_min_per_second", "_ratio", "_tokens")

    def __init__(self, settings: RetryBudget, now: float) -> None:
        self._ratio = settings.ratio
        self._burst = settings.burst
        self._min_per_second = settings.min_per_second
        self._tokens = min(settings.initial, settings.burst)
        self._accrued_until = now

    @property
    def full(self) -> bool:
        """Whether there is nothing to deposit to: the usual case, which needs no look at the clock."""
        return self._tokens >= self._burst

    def deposit(self, now: float) -> None:
        """Credit one call that got an answer which is no failure, however many attempts it took."""
        self._tokens = min(self._burst, self.available(now) + self._ratio)

    def try_spend(self, now: float, cost: float) -> bool:
        """Take ``cost`` tokens if all of them are there, else none.

        Returns:
            Whether the extra attempt may start.
        """
        if self.available(now) < cost:
            return False
        self._tokens -= cost
        return True

    def refund(self, cost: float) -> None:
        """Return what was spent on an extra attempt that never started: its call ended in the pause before it."""
        self._tokens = min(self._burst, self._tokens + cost)

    def available(self, now: float) -> float:
        """The tokens at hand, 0 to ``burst``."""
        if now > self._accrued_until:
            trickle = (now - self._accrued_until) * self._min_per_second
            self._tokens = min(self._burst, self._tokens + trickle)
            self._accrued_until = now
        return self._tokens


class RetryBudgets(Mapping[K, RetryTokens]):
    """The buckets of one client, one per upstream, made when first asked for; people read them as a mapping.

    With too many, the least recently used is dropped; an upstream that returns starts anew, with ``initial``.

    Args:
        settings: What every bucket follows.
        limit: The most buckets kept.
    """

    __slots__ = ("_buckets", "_latest", "_latest_key", "_limit", "_settings")

    def __init__(self, settings: RetryBudget, *, limit: int = 10_000) -> None:
        self._settings = settings
        self._limit = limit
        self._buckets: OrderedDict[K, RetryTokens] = OrderedDict()
        self._latest_key: K | None = None
        self._latest: RetryTokens | None = None

    def for_upstream(self, key: K, now: float) -> RetryTokens:
        """The bucket of the upstream ``key``: its endpoints share it. Counts as a use, unlike ``budgets[key]``."""
        if key is self._latest_key and self._latest is not None:
            return self._latest  # the same upstream again, the usual case: no hashing, no reordering
        tokens = self._buckets.get(key)
        if tokens is None:
            tokens = self._buckets[key] = RetryTokens(self._settings, now)
            if len(self._buckets) > self._limit:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        self._latest_key, self._latest = key, tokens
        return tokens

    def __getitem__(self, key: K) -> RetryTokens:
        return self._buckets[key]

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._buckets))  # a copy: calls made while iterating reorder the original

    def __len__(self) -> int:
        return len(self._buckets)
