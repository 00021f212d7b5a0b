"""Gains and costs of hedging: with queueing replicas, in a full outage, and at scale."""

from __future__ import annotations

import asyncio
import gc
import math
from functools import cache
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client import (
    APIClient,
    Call,
    ClientConfig,
    ConnectionSettings,
    Endpoint,
    Hedging,
    Request,
    Response,
    Retry,
    RetryBudget,
    Timeout,
)
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.events import Event, HedgeStarted
from resilient_client._core.listeners import Events
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.hedging import HedgingMiddleware
from resilient_client._middleware.retry import RetryMiddleware
from resilient_client._policies.hedging.budget import INITIAL_TOKENS, HedgeTokens
from resilient_client._policies.hedging.route import HedgingRoute
from resilient_client._policies.retry.budget import RetryBudgets
from resilient_client._settings.call_settings import CallSettings
from resilient_client.simulation import (
    Callers,
    Exponential,
    Mixture,
    Outage,
    Poisson,
    Scenario,
    Share,
    Upstream,
    simulate,
)
from resilient_client.simulation._report import quantile
from resilient_client.testing._virtual_time import run_virtual

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3)
EXTRA = 0.05


# --- replicas with queues, which continue to work for clients that have left ---


def queues(utilisation: float, hedging: Hedging | None, **config: Any) -> Scenario:
    """Ten replicas that serve one request at a time: most in 20 ms on average, one in twenty in 200 ms."""
    service = Mixture(parts=[Share(share=0.95, of=Exponential(mean=0.02)), Share(share=0.05, of=Exponential(mean=0.2))])
    settings = ClientConfig(hedging=hedging, connection=ConnectionSettings(pool_size=0), **config)
    return Scenario(
        upstreams=[Upstream(name="api", servers=1, replicas=10, service=service)],
        callers=[Callers(name="shop", calls="api", arrivals=Poisson(rate=utilisation * 10 / 0.029), config=settings)],
        duration=30,
    )


class Figures(NamedTuple):
    """The compared numbers: means over the seeds, in seconds, and the calls and extra requests of each seed."""

    p50: float
    p99: float
    p999: float
    mean: float
    calls: tuple[int, ...]
    extra: tuple[int, ...]


def figures(utilisation: float, hedging: Hedging | None) -> Figures:
    """Run the scenario once per seed."""
    runs = [simulate(queues(utilisation, hedging), seed=seed) for seed in SEEDS]
    totals = [run.totals for run in runs]
    return Figures(
        p50=fmean(total.p50 for total in totals),
        p99=fmean(total.p99 for total in totals),
        p999=fmean(total.p999 for total in totals),
        mean=fmean(fmean(run.calls["shop"].latencies) for run in runs),
        calls=tuple(total.calls for total in totals),
        extra=tuple(total.requests - total.calls for total in totals),
    )


@cache
def paired(utilisation: float) -> tuple[Figures, Figures]:
    """Return the figures without and with hedging, for the same calls at the same times."""
    return figures(utilisation, None), figures(utilisation, Hedging())


@pytest.mark.parametrize("utilisation", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_hedging_does_not_harm_queueing_replicas(utilisation: float) -> None:
    """p99 stays within 1 %, p99.9 and the mean within 2 %, although hedges queue too and losers are worked on.

    These bounds are the random noise of three seeds. ``benchmarks/hedging_queues.py`` uses more seeds.
    """
    none, hedged = paired(utilisation)
    print(f"| {utilisation} | {none.p99:.3f} s | {hedged.p99:.3f} s | {sum(hedged.extra) / sum(hedged.calls):.2%} |")
    assert hedged.p99 <= 1.01 * none.p99
    assert hedged.p999 <= 1.02 * none.p999
    assert hedged.mean <= 1.02 * none.mean
    for extra, calls in zip(hedged.extra, hedged.calls, strict=True):
        assert extra <= INITIAL_TOKENS + EXTRA * calls


@pytest.mark.parametrize("utilisation", [0.9, 0.95])
def test_hedges_stop_where_queues_cause_the_tail(utilisation: float) -> None:
    """At most one in a thousand calls is hedged, and the median rises by at most 1 %."""
    none, hedged = paired(utilisation)
    assert sum(hedged.extra) <= 0.001 * sum(hedged.calls)
    assert hedged.p50 <= 1.01 * none.p50


def test_hedging_of_idle_replicas_shortens_the_tail() -> None:
    """At a utilisation of 0.3, p99 falls by at least an eighth."""
    none, hedged = paired(0.3)
    assert hedged.p99 <= 0.875 * none.p99


def test_hedges_without_gain_harm_busy_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with both budgets, but without regard to the gain, latencies rise."""
    monkeypatch.setattr(HedgingRoute, "is_worthwhile", lambda _route, _waited: True)
    none, _ = paired(0.9)
    hedged = figures(0.9, Hedging())
    print(f"| 0.9, without regard to the gain | {none.mean:.3f} s | {hedged.mean:.3f} s in the mean |")
    assert hedged.mean > 1.02 * none.mean
    assert hedged.p50 > 1.04 * none.p50


def test_hedging_without_budgets_harms_busy_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with unlimited hedges, without regard to the gain, p99 doubles."""
    monkeypatch.setattr(HedgingRoute, "is_worthwhile", lambda _route, _waited: True)
    monkeypatch.setattr(HedgeTokens, "try_spend", lambda _: True)
    none = simulate(queues(0.6, None), seed=1).totals
    hedged = simulate(queues(0.6, Hedging(delay=0.1), retry_budget=None), seed=1).totals
    print(f"| 0.6, no budgets | {none.p99:.3f} s | {hedged.p99:.3f} s | {hedged.requests - hedged.calls} |")
    assert hedged.p99 > 2 * none.p99


# --- a full outage ---


def hedges_in_outage(**config: Any) -> tuple[int, int]:
    """Count hedges before an outage in which nothing is answered, and from 10 s after its start."""
    before = late = 0

    def count(event: Event) -> None:
        nonlocal before, late
        if isinstance(event, HedgeStarted):
            before += event.at < 20
            late += event.at >= 30

    def observed(*args: Any, **options: Any) -> APIClient:
        api = APIClient(*args, **options)
        api.subscribe(count)
        return api

    limits = Timeout(total=2, attempt=1)
    settings = ClientConfig(hedging=Hedging(), circuit_breaker=None, timeout=limits, **config)
    slow_at_times = Mixture(parts=[Share(share=0.98, of=0.01), Share(share=0.02, of=0.5)])
    simulate(
        Scenario(
            upstreams=[Upstream(name="api", service=slow_at_times, changes=[Outage(at=20, lasting=40, how="hang")])],
            callers=[Callers(name="shop", calls="api", arrivals=50.0, config=settings, client=observed)],
            duration=60,
        )
    )
    return before, late


def test_hedges_stop_in_a_full_outage() -> None:
    """Without answers there are no deposits: when the budget is spent there are no hedges, even without circuit."""
    before, late = hedges_in_outage()
    print(f"hedges in 20 s before: {before}; in the last 30 s of the outage: {late}")
    assert before > 5
    assert late == 0


def test_hedges_without_budgets_double_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: every attempt to an upstream that is down is hedged."""
    monkeypatch.setattr(HedgingRoute, "is_worthwhile", lambda _route, _waited: True)
    monkeypatch.setattr(HedgeTokens, "try_spend", lambda _: True)
    _, late = hedges_in_outage(retry_budget=None)
    assert late > 1000


# --- the tail at scale ---

URL_OF_KEY = URL("http://api.example.com/key")
ORIGIN = Endpoint.of(URL_OF_KEY)
REPLY = Response(200, CIMultiDictProxy(CIMultiDict()), b"", URL_OF_KEY)
FAN_OUT = 1000


def latency(rng: Random) -> float:
    """Draw a latency: 1 ms is the median, 2 % are above 10 ms, and one in 100,000 takes 0.5 to 2 s."""
    return rng.uniform(0.5, 2.0) if rng.random() < 1e-5 else rng.lognormvariate(math.log(0.001), 1.12)


def unhedged(fan_outs: int) -> list[float]:
    """Return how long each fan-out takes: as long as its slowest call. In ascending order."""
    rng = Random(1)
    return sorted(max(latency(rng) for _ in range(FAN_OUT)) for _ in range(fan_outs))


def hedged(hedging: Hedging, fan_outs: int) -> tuple[list[float], float]:
    """Return the same with hedging and its budgets, and the share of extra requests."""
    sent = 0

    async def run() -> list[float]:
        loop, rng = asyncio.get_running_loop(), Random(2)
        client = ClientContext("shop", Events(), Random(3))
        client.use_loop(loop)
        budgets: RetryBudgets[Endpoint] = RetryBudgets(RetryBudget())

        async def upstream(_: Request) -> Response:
            nonlocal sent
            sent += 1
            answered = loop.create_future()
            timer = loop.call_later(latency(rng), answered.set_result, None)
            try:
                await answered
            finally:
                timer.cancel()
            return REPLY

        chain = compose((RetryMiddleware(budgets), HedgingMiddleware(budgets), AttemptMiddleware()), upstream)
        call, settings = Call.get("/key"), CallSettings(Timeout().limits(), Retry(), hedging=hedging)

        async def send() -> None:
            context = CallContext(call, client, settings, loop.time(), loop.time() + 30.0)
            context.upstream = ORIGIN
            await chain(Request("GET", URL_OF_KEY, CIMultiDict(), None, context, None, ORIGIN))

        durations: list[float] = []
        for _ in range(fan_outs):
            began = loop.time()
            await asyncio.gather(*(send() for _ in range(FAN_OUT)))
            durations.append(loop.time() - began)
        return sorted(durations)

    gc.disable()  # a million calls leave no garbage, and scanning their tasks would take a third of the time
    try:
        return run_virtual(run()), sent / (fan_outs * FAN_OUT) - 1
    finally:
        gc.enable()


def row(name: str, durations: list[float]) -> str:
    return f"| {name} | " + " | ".join(
        f"{quantile(durations, share) * 1000:.0f} ms" for share in (0.5, 0.95, 0.99, 0.999)
    )


def test_tail_at_scale_is_cut_by_few_requests() -> None:
    """1,000 fan-outs of 1,000 calls, hedged after 10 ms: p99.9 at most 74 ms with at most 2.1 % more requests."""
    durations, more = hedged(Hedging(delay=0.01), fan_outs=1000)
    print(f"{row('hedged after 10 ms', durations)} | {more:.2%} |")
    assert quantile(durations, 0.999) <= 0.074
    assert more <= 0.021


def test_tail_at_scale_is_cut_at_a_learnt_percentile() -> None:
    """Hedged at p98, which the client learns to be 10 ms, 1,000 fan-outs have the same bounds from the first on."""
    durations, more = hedged(Hedging(delay="p98"), fan_outs=1000)
    print(f"{row('hedged at p98', durations)} | {more:.2%} |")
    assert quantile(durations, 0.999) <= 0.074
    assert more <= 0.021


def test_tail_at_scale_unhedged_takes_two_seconds() -> None:
    """Negative control: one in a hundred of these fan-outs contains a stalled call, and waits for it."""
    durations = unhedged(fan_outs=5000)
    print(row("unhedged", durations))
    assert quantile(durations, 0.999) > 1.7
