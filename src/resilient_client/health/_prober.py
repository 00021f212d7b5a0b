"""Checks all targets at once, and keeps their states between checks.

A check reports how things are now. So each target is called once per check and on a new connection: there is no retry,
no circuit answers for the target, and no kept-alive connection hides a handshake that would fail.
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
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_count, check_duration, is_async, kind_of
from resilient_client._policies.balancing.hysteresis import HealthState, Verdict
from resilient_client._settings.connection import ConnectionSettings
from resilient_client.health._check import NOT_CHECKED, CheckResult, check_target, failed
from resilient_client.health._report import HealthReport, ProbeResult
from resilient_client.health._target import Probe, Targets, check_client, probes_of

T = TypeVar("T")

_log = logging.getLogger("resilient_client.health")

CONCURRENCY = 100
"""Targets checked at once. More than most checks have, so that targets that hang do not make others wait."""

_NEW_CONNECTIONS = ConnectionSettings(keepalive=0, dns_ttl=None, pool_size=0)
"""How a check connects: anew for each call, so that it measures every stage, and an idle connection that the server
has closed does not count as a failure of the target. The pool has no limit, or targets would be slow by waiting for it.
"""


async def probe(
    targets: Targets,
    *,
    timeout: Duration = 2.0,
    concurrency: int = CONCURRENCY,
    client: APIClient | None = None,
    connection: ConnectionSettings | None = None,
) -> HealthReport:
    """Check all targets once and report their states. Does not raise because a target is down.

    Args:
        targets: A mapping of names to targets, or an iterable of targets. A target is a URL, an async function, or a
            ``Probe``, which has options for either.
        timeout: How long the whole check may take, above 0. A target that has not answered by then is down.
        concurrency: Targets checked at once, 1 or more.
        client: The client to call through, for targets that have no client of their own (see ``Probe``).
        connection: How the check's own client connects, such as ``ConnectionSettings(tls=context)``.

    Raises:
        ConfigurationError: There are no targets, one cannot be checked, or a value is out of range.
    """
    async with Prober(
        targets, timeout=timeout, rise=1, fall=1, concurrency=concurrency, client=client, connection=connection
    ) as prober:
        # Not ``check()``: this check is not shared, so it runs in the caller's task and under its deadline.
        return await prober._check_all()


class Prober:
    """A health check that is repeated and keeps the state of each target, so that one bad answer changes no state.

    The first check of a target decides its state at once. From then on the target goes down after ``fall`` failures in
    a row, and comes up again after ``rise`` successes in a row. Close a prober with ``async with`` or
    ``await prober.close()``. It belongs to the event loop it is first used on. Any number of its tasks may share it.
    """

    __slots__ = (
        "_calls",
        "_checked_at",
        "_client",
        "_closed",
        "_concurrency",
        "_flight",
        "_logged",
        "_max_age",
        "_on_result",
        "_owns_client",
        "_probes",
        "_report",
        "_timeout",
        "_verdicts",
    )

    def __init__(
        self,
        targets: Targets,
        *,
        timeout: Duration = 2.0,
        rise: int = 2,
        fall: int = 3,
        concurrency: int = CONCURRENCY,
        max_age: Duration = 0.0,
        client: APIClient | None = None,
        connection: ConnectionSettings | None = None,
        on_result: Callable[[ProbeResult], object] | None = None,
    ) -> None:
        """Describe a check. Needs no running event loop.

        Args:
            targets: As for ``probe``.
            timeout: How long one whole check may take, above 0. A target that has not answered by then has failed.
            rise: Successes in a row after which a target that was down is up again, 1 or more.
            fall: Failures in a row after which a target that was up is down, 1 or more.
            concurrency: Targets checked at once, 1 or more.
            max_age: How long ``check`` returns the latest report instead of checking again. With 0 it always checks.
            client: As for ``probe``. It is never closed here.
            connection: As for ``probe``.
            on_result: Called with each result as soon as that target was checked, while other targets still are. It
                must not block. If it raises, that is logged, once per type of error, and the check goes on.

        Raises:
            ConfigurationError: There are no targets, one cannot be checked, or a value is out of range.
        """
        self._probes = probes_of(targets, check_client(client))
        self._calls = tuple(each.call(index) for index, each in enumerate(self._probes))
        self._timeout = check_duration("timeout", timeout)
        self._concurrency = check_count("concurrency", concurrency)
        self._max_age = check_duration("max_age", max_age, zero=True)
        self._client = _client_for(client, connection)
        self._owns_client = client is None
        self._closed = False
        self._on_result = _check_callback(on_result)
        self._logged: set[type[Exception]] = set()
        rise, fall = check_count("rise", rise), check_count("fall", fall)
        self._verdicts = tuple(Verdict(rise, fall) for _ in self._probes)
        self._flight: SingleFlight[HealthReport] = SingleFlight()
        self._report = HealthReport(
            _probe_result(each, verdict, None, None) for each, verdict in zip(self._probes, self._verdicts, strict=True)
        )
        self._checked_at: float | None = None  # loop time at the end of the latest check

    @property
    def report(self) -> HealthReport:
        """The latest report. Before the first check, every state in it is unknown."""
        return self._report

    async def check(self) -> HealthReport:
        """Check all targets, or join the check that is running: tasks that call this at the same time share one check.

        Each task waits under its own deadline. A task that stops waiting does not cancel the check for the others. When
        the last one stops waiting, the check is cancelled, and targets that had not answered keep their states.

        Raises:
            DeadlineExceededError: The ambient ``deadline()`` passed before the check was complete.
            ConfigurationError: The prober, or a client given to it, is closed or belongs to another event loop.
        """
        self._check_open()
        now = asyncio.get_running_loop().time()
        if self._checked_at is not None and now - self._checked_at < self._max_age:
            return self._report
        ends_at = ambient_deadline()
        if ends_at - now >= RESOLUTION:
            timer = asyncio.timeout_at(None if ends_at == math.inf else ends_at)
            try:
                async with timer:
                    return await self._flight.join(self._check_all)
            except TimeoutError:
                if not timer.expired():
                    raise
        raise DeadlineExceededError(
            f"the deadline passed before the end of the check, whose timeout is {self._timeout:g} s; "
            "prober.report has the latest complete report",
            stage=Stage.LOCAL,
        )

    async def close(self) -> None:
        """Close the connections of the check's own client. May be called twice."""
        self._closed = True
        if self._owns_client:
            await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _check_all(self) -> HealthReport:
        loop = asyncio.get_running_loop()
        clock = clock_of(loop)
        started, at = clock(), datetime.now(UTC)
        results: dict[int, ProbeResult] = {}

        def record(index: int, checked: CheckResult) -> None:
            result = results[index] = _probe_result(self._probes[index], self._verdicts[index], checked, at)
            self._notify(result)

        checker = _Checker(self._probes, self._client, record)
        outcomes = await _fanout.gather(
            self._calls, client=checker, concurrency=self._concurrency, timeout=self._timeout
        )
        # The checker records a target as soon as it was checked. Those that the fan-out did not start, or that were
        # cancelled from within, are recorded here.
        for index, outcome in enumerate(outcomes):
            if index not in results:
                record(index, _result_of(outcome))
        self._report = HealthReport(map(results.__getitem__, sorted(results)), checked_at=at, elapsed=clock() - started)
        self._checked_at = loop.time()
        return self._report

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the prober is closed; make a new one, or keep it open for as long as it is used")

    def _notify(self, result: ProbeResult) -> None:
        if self._on_result is None:
            return
        try:
            self._on_result(result)
        except Exception as error:
            if type(error) not in self._logged:
                self._logged.add(type(error))
                _log.exception(
                    "on_result failed on %s with %s; the check goes on, further failures of this kind are not logged",
                    result.name,
                    type(error).__name__,
                    extra={"event": "result_callback_failed"},
                )


class _Checker:
    """The runner for the fan-out. Each call stands for a target. Its outcome is a success with a ``CheckResult``."""

    __slots__ = ("_client", "_probes", "_record")

    def __init__(
        self, probes: Sequence[Probe], client: APIClient, record: Callable[[int, CheckResult], object]
    ) -> None:
        self._probes = probes
        self._client = client
        self._record = record

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Check the target at the index ``call.key``."""
        index = cast("int", call.key)
        target = self._probes[index]
        task = cast("asyncio.Task[object]", asyncio.current_task())
        cancelled_before = task.cancelling()
        result = await check_target(target, cast("Call[Response]", call), target.client or self._client)
        if task.cancelling() > cancelled_before:
            # The target suppressed a cancellation. The check has ended, so this answer changes no state.
            raise asyncio.CancelledError
        self._record(index, result)
        return cast("Outcome[T]", Success(result, key=call.key))


def _result_of(outcome: Outcome[Any]) -> CheckResult:
    """The check result in an outcome. A failure means that the target was not called, or was cancelled from within."""
    if isinstance(outcome, Failure):
        not_started = outcome.kind is ErrorKind.DEADLINE and outcome.error.stage is Stage.LOCAL
        return NOT_CHECKED if not_started else failed(outcome.error)
    return cast("CheckResult", outcome.value)


def _probe_result(target: Probe, verdict: Verdict, checked: CheckResult | None, at: datetime | None) -> ProbeResult:
    """The public result of a check.

    Args:
        target: The target.
        verdict: Its state so far. The check updates it.
        checked: The result of the check, or ``None`` before the first one.
        at: When the check began, or ``None`` before the first one.
    """
    unchecked = ProbeResult(target.name, target.target, target.critical, verdict.state, False, tags=target.tags)
    if checked is None or at is None:
        return unchecked
    verdict.learn(checked.state, at.timestamp())
    return unchecked._replace(
        state=verdict.state,
        ok=checked.state in (HealthState.UP, HealthState.DEGRADED),
        reason=checked.reason,
        kind=checked.kind,
        error=checked.error,
        status=checked.status,
        elapsed=checked.elapsed,
        timings=checked.timings,
        certificate=checked.certificate,
        days_left=None if checked.certificate is None else checked.certificate.days_left(at),
        attempts=checked.attempts,
        streak=verdict.streak,
        since=None if verdict.since is None else datetime.fromtimestamp(verdict.since, UTC),
    )


def _check_callback(callback: Callable[[ProbeResult], object] | None) -> Callable[[ProbeResult], object] | None:
    if callback is None:
        return None
    if not callable(callback) or isinstance(callback, type) or is_async(callback):
        what = "async, but is not awaited" if is_async(callback) else kind_of(callback)
        raise ConfigurationError(f"on_result is {what}; give a function of the ProbeResult")
    return callback


def _client_for(client: APIClient | None, connection: ConnectionSettings | None) -> APIClient:
    if client is not None and connection is not None:
        raise ConfigurationError("connection is for the check's own client; set it on the client you give")
    if client is not None:
        return client
    if connection is not None and not issubclass(type(connection), ConnectionSettings):
        raise ConfigurationError(f"connection is {kind_of(connection)}; give ConnectionSettings(...)")
    settings = _NEW_CONNECTIONS if connection is None else _NEW_CONNECTIONS.merge(connection)
    return APIClient(
        name="probe", timeout=None, retry=None, retry_budget=None, circuit_breaker=None, connection=settings
    )
