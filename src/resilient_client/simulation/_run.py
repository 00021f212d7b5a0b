"""Run a scenario on an event loop of its own, in virtual time.

All randomness comes from the seed. Each client, replica and wire has a random generator of its own, seeded with the
seed and its name, so that a part that is added to a scenario does not change the random numbers of the others. The same
seed gives the same trace, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from resilient_client.simulation import _invariants
from resilient_client.simulation._caller_group import CallerGroup
from resilient_client.simulation._client_counters import COUNTED, ClientCounters, Transition, WriteLine
from resilient_client.simulation._distributions import draw_of
from resilient_client.simulation._replica import Replica
from resilient_client.simulation._report import Run
from resilient_client.simulation._scenario import Callers, Scenario
from resilient_client.simulation._server import Server
from resilient_client.simulation._stats import CallStats, UpstreamStats
from resilient_client.simulation._upstream import Upstream
from resilient_client.simulation._wire import Wire
from resilient_client.testing._virtual_time import run_virtual

DRAIN_TIMEOUT = 3600.0
"""Seconds after the end of a scenario within which all calls must end, or the run fails."""


class TraceWriter(Protocol):
    """The destination of a trace, such as an open file or a ``StringIO``."""

    def write(self, line: str, /) -> object:
        """Write one line."""
        ...


def simulate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    trace: TraceWriter | None = None,
    on_second: Callable[[int], object] | None = None,
) -> Run:
    """Run a scenario in virtual time, with the unchanged chain, and check the invariants afterwards.

    Args:
        scenario: The scenario to run.
        seed: The seed of all random generators, instead of ``scenario.seed``.
        trace: Receives a line for everything that happens at a client, in order. The same seed writes the same bytes.
        on_second: Called after each second of virtual time, with its number from 1 to the last second of the scenario.
            It is meant for a progress bar.

    Raises:
        InvariantBrokenError: An invariant does not hold.
        RuntimeError: An event loop is running in this thread. Use ``await asyncio.to_thread(simulate, ...)`` there.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("simulate() runs an event loop of its own; here, await asyncio.to_thread(simulate, ...)")
    chosen = scenario.seed if seed is None else seed
    return run_virtual(_Simulation(scenario, chosen, None if trace is None else trace.write, on_second).run())


class _Simulation:
    """The objects of one run."""

    def __init__(
        self, scenario: Scenario, seed: int, write_line: WriteLine | None, on_second: Callable[[int], object] | None
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._write_line = write_line
        self._on_second = on_second
        self._calls = {name: CallStats() for name in scenario.names}
        self._servers: dict[str, Server] = {}
        self._clients: list[ClientCounters] = []
        self._wires: list[Wire] = []
        self._transitions: list[Transition] = []
        self._passed = 0
        self._tick: asyncio.TimerHandle | None = None
        self._bug: asyncio.Future[None]

    async def run(self) -> Run:
        """Build the system, run it until the last call has ended, and check the invariants."""
        self._loop = asyncio.get_running_loop()
        self._bug = self._loop.create_future()
        self._schedule_tick()
        # The order of creation is part of the result: it decides the order of tasks and timers at the same time.
        for upstream in self._scenario.upstreams:
            self._servers[upstream.name] = self._server(upstream)
        groups = [self._group(group) for group in self._scenario.callers]
        await self._drain(groups)
        await self._close()
        _invariants.check(self._clients, self._wires, self._servers.values(), self._loop.time())
        return Run(
            scenario=self._scenario,
            seed=self._seed,
            calls=self._calls,
            upstreams={name: server.stats for name, server in self._servers.items()},
            transitions=tuple(self._transitions),
            ended=self._loop.time(),
        )

    async def _drain(self, groups: list[CallerGroup]) -> None:
        """Wait until the last call has ended, or until a bug is found."""
        end = self._scenario.duration + DRAIN_TIMEOUT
        guard = self._loop.call_at(end, self._on_drain_timeout, groups)
        for group in groups:
            await asyncio.wait((group.done, self._bug), return_when=asyncio.FIRST_COMPLETED)
        guard.cancel()
        if self._bug.done():
            self._bug.result()
        # A request may still be on the wire although its call has ended. Let it arrive: the invariants compare the
        # requests that were sent with those that arrived.
        quiet_from = max(server.quiet_from for server in self._servers.values())
        await asyncio.sleep(max(0.0, quiet_from - self._loop.time()))

    async def _close(self) -> None:
        # The last call may end before the scenario does. Report the remaining seconds, so that a progress bar is full.
        while self._tick is not None and self._passed < int(self._scenario.duration):
            self._tick.cancel()
            self._on_tick()
        # Servers first: their handlers may be calling through clients.
        for server in self._servers.values():
            await server.close()
        for counters in self._clients:
            await counters.api.close()
        if self._bug.done():
            self._bug.result()

    # -- building ------------------------------------------------------------------------------------------------

    def _group(self, group: Callers) -> CallerGroup:
        clients = [self._client(group, f"{group.name}-{number}", group.calls) for number in range(group.clients)]
        rng = self._random(f"arrivals {group.name}")
        return CallerGroup(group, clients, self._scenario.duration, rng, self._fail)

    def _server(self, upstream: Upstream) -> Server:
        stats = UpstreamStats()
        replicas = []
        for number in range(upstream.replicas):
            name = f"{upstream.name}-{number}"
            clients = {called: self._client(upstream, f"{name}-{called}", called).api for called in upstream.calls}
            replicas.append(Replica(upstream, number, stats, clients, self._random(f"replica {name}"), self._fail))
        return Server(upstream, stats, replicas, self._random(f"choice {upstream.name}"))

    def _client(self, owner: Callers | Upstream, name: str, called: str) -> ClientCounters:
        counters = ClientCounters(name, owner.config, self._calls[owner.name], self._transitions, self._write_line)
        draw = draw_of(self._scenario.network.round_trip)
        # The wire gets the dict of servers, which is still being filled: an upstream may call a later one.
        wire = Wire(self._servers, counters, draw, owner.config.connection, self._random(f"wire {name}"))
        counters.api = owner.client(
            f"http://{called}", name=name, config=owner.config, transport=wire, rng=self._random(f"client {name}")
        )
        counters.api.subscribe(counters.on_event, *COUNTED)
        self._clients.append(counters)
        self._wires.append(wire)
        return counters

    def _random(self, name: str) -> Random:
        """Return the random generator of this name. Its seed is a string, which does not depend on the process."""
        return Random(f"{self._seed} {name}")

    # -- timers --------------------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        """Report that another second has passed."""
        self._passed += 1
        if self._on_second is not None:
            self._on_second(self._passed)
        self._schedule_tick()

    def _schedule_tick(self) -> None:
        if self._passed < int(self._scenario.duration):
            self._tick = self._loop.call_at(self._passed + 1.0, self._on_tick)

    def _fail(self, bug: BaseException) -> None:
        if not self._bug.done():
            self._bug.set_exception(bug)

    def _on_drain_timeout(self, groups: list[CallerGroup]) -> None:
        running = sum(group.running for group in groups)
        self._fail(
            _invariants.InvariantBrokenError(
                f"{running} calls have not ended {DRAIN_TIMEOUT:g} s after the scenario; give their clients a Timeout"
            )
        )
