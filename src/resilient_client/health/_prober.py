"""Asks all targets at once, and remembers how they stand.

Each target is asked once a check, on a connection of its own: a check wants to know how things are now, so nothing is
retried, no circuit answers in a target's place, no kept-alive connection hides what a handshake would show.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from resilient_client import _fanout
from resilient_client._client.client import APIClient
from resilient_client._core.call import Call
from resilient_client._core.clock import clock_of
from resilient_client._core.deadline import RESOLUTION, ambient_deadline
from resilient_client._core.errors import ClientClosedError, ConfigurationError, DeadlineExceededError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.outcome import Failure, Outcome, Success
from resilient_client._core.response import Response
from resilient_client._core.single_flight import SingleFlight
from resilient_client._policies.balancing.hysteresis import HealthState, Verdict
from resilient_client._settings.connection import ConnectionSettings
from resilient_client.health._check import NO_TURN, Look, failed, look_at
from resilient_client.health._numbers import above_zero, one_or_more, zero_or_more
from resilient_client.health._report import HealthReport, ProbeResult
from resilient_client.health._target import Probe, Targets, checked_client, probes_of

T = TypeVar("T")

_log = logging.getLogger("resilient_client.health")

CONCURRENCY = 100
"""Targets asked at once: more than most checks have, so that those that hang do not keep others from their turn."""

_FRESH = ConnectionSettings(keepalive=0, dns_ttl=None, pool_size=0)
"""How a check connects: anew each time, so that every stage is seen and no stale connection passes for a failure."""


async def probe(
    targets: Targets,
    *,
    timeout: float = 2.0,
    concurrency: int = CONCURRENCY,
    client: APIClient | None = None,
    connection: ConnectionSettings | None = None,
) -> HealthReport:
    """Ask all targets once, and say how they are. Never raises because a target is down.

    Args:
        targets: A mapping of names to targets, or an iterable of targets. A target is a URL, an async function, or a
            ``Probe``, which says more about either.
        timeout: Seconds for the whole check; what has not answered by then is down.
        concurrency: Targets asked at once, 1 or more.
        client: Whom to ask through, for targets that have no client of their own; see ``Probe``.
        connection: How the check's own client connects, such as ``ConnectionSettings(tls=context)``.

    Raises:
        ConfigurationError: There are no targets, one cannot be asked, or a value is out of range.
    """
    async with Prober(
        targets, timeout=timeout, rise=1, fall=1, concurrency=concurrency, client=client, connection=connection
    ) as prober:
        return await prober._ask_all()  # under the caller's own deadline, and shared with nobody


class Prober:
    """A health check to be repeated: it remembers how each target stands, so that one bad answer turns nothing.

    The first look at a target decides at once. From then on it goes down after ``fall`` failures in a row, and comes
    back after ``rise`` successes in a row. Close it with ``async with`` or ``await prober.close()``. Belongs to the
    event loop it is first used on; any number of its tasks may share it.
    """

    __slots__ = (
        "_calls",
        "_client",
        "_closed",
        "_concurrency",
        "_flight",
        "_latest",
        "_max_age",
        "_on_result",
        "_owner",
        "_probes",
        "_report",
        "_timeout",
        "_verdicts",
    )

    def __init__(
        self,
        targets: Targets,
        *,
        timeout: float = 2.0,
        rise: int = 2,
        fall: int = 3,
        concurrency: int = CONCURRENCY,
        max_age: float = 0.0,
        client: APIClient | None = None,
        connection: ConnectionSettings | None = None,
        on_result: Callable[[ProbeResult], object] | None = None,
    ) -> None:
        """Describe a check. Touches no event loop.

        Args:
            targets: As for ``probe``.
            timeout: Seconds for one whole check; what has not answered by then has failed.
            rise: Successes in a row after which a target that was down is up again, 1 or more.
            fall: Failures in a row after which a target that was up is down, 1 or more.
            concurrency: Targets asked at once, 1 or more.
            max_age: Seconds for which ``check`` gives the report it has, instead of asking anew; 0: never.
            client: As for ``probe``; never closed here.
            connection: As for ``probe``.
            on_result: Told of each result as soon as its target was looked at, while others still are. It must not
                block; if it raises, that is logged and the check goes on.

        Raises:
            ConfigurationError: There are no targets, one cannot be asked, or a value is out of range.
        """
        self._probes = probes_of(targets, checked_client(client))
        self._calls = tuple(each.call(index) for index, each in enumerate(self._probes))
        self._timeout = above_zero("timeout", timeout)
        self._concurrency = one_or_more("concurrency", concurrency)
        self._max_age = zero_or_more("max_age", max_age)
        self._client = _client(client, connection)
        self._owner = client is None
        self._closed = False
        self._on_result = _listener(on_result)
        rise, fall = one_or_more("rise", rise), one_or_more("fall", fall)
        self._verdicts = tuple(Verdict(rise, fall) for _ in self._probes)
        self._flight: SingleFlight[HealthReport] = SingleFlight()
        self._report = HealthReport(_result(each, verdict, None, None) for each, verdict in self._pairs())
        self._latest: float | None = None

    @property
    def report(self) -> HealthReport:
        """The latest report; before the first check everything in it is unknown."""
        return self._report

    async def check(self) -> HealthReport:
        """Ask all targets, or wait for the check under way, so that many who ask at once cost one.

        Nobody's cancellation or deadline ends a check that others wait for; when the last one leaves, it ends, and of
        the targets that it still waited for nothing is concluded.

        Raises:
            DeadlineExceededError: The ``deadline()`` around this came before the end of the check.
            ConfigurationError: The prober, or a client given to it, is closed or belongs to another event loop.
        """
        self._check_open()
        now = asyncio.get_running_loop().time()
        if self._latest is not None and now - self._latest < self._max_age:
            return self._report
        end = ambient_deadline()
        if end - now >= RESOLUTION:
            timer = asyncio.timeout_at(None if end == math.inf else end)
            try:
                async with timer:
                    return await self._flight.join(self._ask_all)
            except TimeoutError:
                if not timer.expired():
                    raise
        text = f"the deadline came before the end of the check, for which there are {self._timeout:g} s"
        raise DeadlineExceededError(f"{text}; what is known stands in prober.report", stage=Stage.LOCAL)

    async def close(self) -> None:
        """Give back the connections. May be called twice."""
        self._closed = True
        if self._owner:
            await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask_all(self) -> HealthReport:
        loop = asyncio.get_running_loop()
        clock = clock_of(loop)
        began, at = clock(), datetime.now(UTC)
        results: dict[int, ProbeResult] = {}

        def settle(index: int, look: Look) -> None:
            result = results[index] = _result(self._probes[index], self._verdicts[index], look, at)
            self._tell(result)

        looker = _Looker(self._probes, self._client, settle)
        outcomes = await _fanout.gather(
            self._calls, client=looker, concurrency=self._concurrency, timeout=self._timeout
        )
        for index, outcome in enumerate(outcomes):
            if index not in results:
                settle(index, _look_of(outcome))
        self._report = HealthReport(map(results.__getitem__, sorted(results)), checked_at=at, elapsed=clock() - began)
        self._latest = loop.time()
        return self._report

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the prober is closed; make a new one, or keep it open for as long as it is asked")

    def _tell(self, result: ProbeResult) -> None:
        if self._on_result is None:
            return
        try:
            self._on_result(result)
        except Exception:
            _log.exception("on_result failed on %s; the check goes on", result.name)

    def _pairs(self) -> zip[tuple[Probe, Verdict]]:
        return zip(self._probes, self._verdicts, strict=True)


class _Looker:
    """What the fan-out runs: a call stands for a target, and a look is always a success."""

    __slots__ = ("_client", "_probes", "_settle")

    def __init__(self, probes: Sequence[Probe], client: APIClient, settle: Callable[[int, Look], object]) -> None:
        self._probes = probes
        self._client = client
        self._settle = settle

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Look at the target that ``call`` stands for."""
        index = cast("int", call.key)
        target = self._probes[index]
        task = cast("asyncio.Task[object]", asyncio.current_task())
        cancelled = task.cancelling()
        look = await look_at(target, cast("Call[Response]", call), target.client or self._client)
        if task.cancelling() > cancelled:
            raise asyncio.CancelledError  # the target kept it to itself: nobody waits for what it says, nor believes it
        self._settle(index, look)
        return cast("Outcome[T]", Success(look, key=call.key))


def _look_of(outcome: Outcome[Any]) -> Look:
    """The look that came of a target; without one, it had no turn, or was cancelled from within."""
    if isinstance(outcome, Failure):
        never = outcome.kind is ErrorKind.DEADLINE and outcome.error.stage is Stage.LOCAL
        return NO_TURN if never else failed(outcome.error)
    return cast("Look", outcome.value)


def _result(target: Probe, verdict: Verdict, look: Look | None, at: datetime | None) -> ProbeResult:
    """What a look comes to, for a target with a past; without a look, what is known beforehand."""
    known = ProbeResult(target.name, target.shown, target.critical, verdict.state, False, tags=target.tags)
    if look is None or at is None:
        return known
    verdict.learn(look.state, at.timestamp())
    return known._replace(
        state=verdict.state,
        ok=look.state in (HealthState.UP, HealthState.DEGRADED),
        reason=look.reason,
        kind=look.kind,
        error=look.error,
        status=look.status,
        elapsed=look.elapsed,
        timings=look.timings,
        certificate=look.certificate,
        days_left=None if look.certificate is None else look.certificate.days_left(at),
        attempts=look.attempts,
        streak=verdict.streak,
        since=None if verdict.since is None else datetime.fromtimestamp(verdict.since, UTC),
    )


def _listener(given: Callable[[ProbeResult], object] | None) -> Callable[[ProbeResult], object] | None:
    if given is None or callable(given):
        return given
    raise ConfigurationError(f"on_result is {type(given).__name__}; give a function of the ProbeResult")


def _client(given: APIClient | None, connection: ConnectionSettings | None) -> APIClient:
    if given is not None and connection is not None:
        raise ConfigurationError("connection is for the check's own client; set it on the client you give")
    if given is not None:
        return given
    if connection is not None and not isinstance(connection, ConnectionSettings):
        raise ConfigurationError(f"connection is {type(connection).__name__}; give ConnectionSettings(...)")
    settings = _FRESH if connection is None else _FRESH.merge(connection)
    return APIClient(
        name="probe", timeout=None, retry=None, retry_budget=None, circuit_breaker=None, connection=settings
    )
