"""One run: the scenario comes to life on a loop of its own, in virtual time, and is told of afterwards.

All chance comes from the seed, by name: each client, replica and wire has a source of its own, so that what is added
to a scenario changes nothing for the rest. The same seed gives the same trace, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from resilient_client.simulation import _laws
from resilient_client.simulation._account import Account, Tell, Transition
from resilient_client.simulation._crowd import Crowd
from resilient_client.simulation._distributions import drawing
from resilient_client.simulation._replica import Replica
from resilient_client.simulation._report import Run
from resilient_client.simulation._scenario import Callers, Scenario
from resilient_client.simulation._server import Server
from resilient_client.simulation._tally import CallTally, UpstreamTally
from resilient_client.simulation._upstream import Upstream
from resilient_client.simulation._wire import Wire
from resilient_client.testing._virtual_time import run_virtual

PATIENCE = 3600.0
"""Seconds after the end of a scenario in which all calls must have ended, or the run fails."""


class Writes(Protocol):
    """Where a trace goes: an open file, a ``StringIO``."""

    def write(self, line: str, /) -> object:
        """Take a line."""
        ...


def simulate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    trace: Writes | None = None,
    on_second: Callable[[int], object] | None = None,
) -> Run:
    """Run a scenario in virtual time, with the unchanged chain, and assert the laws of conservation.

    Args:
        scenario: What to run.
        seed: Where all chance comes from, instead of ``scenario.seed``.
        trace: Gets a line for everything that happens at a client, in order; the same seed writes the same bytes.
        on_second: Is told of each second that has passed, from 1 to the last one of the scenario; for a progress bar.

    Raises:
        LawBrokenError: A law of conservation does not hold.
        RuntimeError: Called where an event loop is running; ``await asyncio.to_thread(simulate, ...)`` there.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("simulate() has an event loop of its own; here, await asyncio.to_thread(simulate, ...)")
    chosen = scenario.seed if seed is None else seed
    return run_virtual(_World(scenario, chosen, None if trace is None else trace.write, on_second).live())


class _World:
    """Everything that lives in one run."""

    def __init__(
        self, scenario: Scenario, seed: int, tell: Tell | None, on_second: Callable[[int], object] | None
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._tell = tell
        self._on_second = on_second or _nobody
        self._calls = {name: CallTally() for name in scenario.names}
        self._servers: dict[str, Server] = {}
        self._accounts: list[Account] = []
        self._wires: list[Wire] = []
        self._transitions: list[Transition] = []
        self._passed = 0
        self._tick: asyncio.TimerHandle | None = None
        self._bug: asyncio.Future[None]

    async def live(self) -> Run:
        """From the first call to the last, and the laws."""
        self._loop = asyncio.get_running_loop()
        self._bug = self._loop.create_future()
        self._await_second()
        for upstream in self._scenario.upstreams:
            self._servers[upstream.name] = self._server(upstream)
        crowds = [self._crowd(group) for group in self._scenario.callers]
        await self._wait_for(crowds)
        await self._close()
        _laws.check(self._accounts, self._wires, self._servers.values(), self._loop.time())
        return Run(
            scenario=self._scenario,
            seed=self._seed,
            calls=self._calls,
            upstreams={name: server.tally for name, server in self._servers.items()},
            transitions=tuple(self._transitions),
            ended=self._loop.time(),
        )

    async def _wait_for(self, crowds: list[Crowd]) -> None:
        """Until the last call has ended, or something broke."""
        end = self._scenario.duration + PATIENCE
        guard = self._loop.call_at(end, self._give_up, crowds)
        for crowd in crowds:
            await asyncio.wait((crowd.done, self._bug), return_when=asyncio.FIRST_COMPLETED)
        guard.cancel()
        if self._bug.done():
            self._bug.result()
        quiet_from = max(server.quiet_from for server in self._servers.values())
        await asyncio.sleep(max(0.0, quiet_from - self._loop.time()))

    async def _close(self) -> None:
        while self._tick is not None and self._passed < int(self._scenario.duration):  # the last call may end earlier
            self._tick.cancel()
            self._second()
        for server in self._servers.values():
            await server.close()
        for account in self._accounts:
            await account.api.close()
        if self._bug.done():
            self._bug.result()

    # -- the parts -----------------------------------------------------------------------------------------------

    def _crowd(self, group: Callers) -> Crowd:
        accounts = [self._client(group, f"{group.name}-{number}", group.calls) for number in range(group.clients)]
        return Crowd(group, accounts, self._scenario.duration, self._chance(f"arrivals {group.name}"), self._fail)

    def _server(self, upstream: Upstream) -> Server:
        tally = UpstreamTally()
        replicas = []
        for number in range(upstream.replicas):
            name = f"{upstream.name}-{number}"
            clients = {called: self._client(upstream, f"{name}-{called}", called).api for called in upstream.calls}
            replicas.append(Replica(upstream, number, tally, clients, self._chance(f"replica {name}"), self._fail))
        return Server(upstream, tally, replicas, self._chance(f"choice {upstream.name}"))

    def _client(self, owner: Callers | Upstream, name: str, called: str) -> Account:
        account = Account(name, owner.config, self._calls[owner.name], self._transitions, self._tell)
        draw = drawing(self._scenario.network.round_trip)
        wire = Wire(self._servers, account, draw, owner.config.connection, self._chance(f"wire {name}"))
        account.api = owner.client(
            f"http://{called}", name=name, config=owner.config, transport=wire, rng=self._chance(f"client {name}")
        )
        account.api.subscribe(account.hear)
        self._accounts.append(account)
        self._wires.append(wire)
        return account

    def _chance(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")

    # -- what happens besides ------------------------------------------------------------------------------------

    def _second(self) -> None:
        """Another second has passed."""
        self._passed += 1
        self._on_second(self._passed)
        self._await_second()

    def _await_second(self) -> None:
        if self._passed < int(self._scenario.duration):
            self._tick = self._loop.call_at(self._passed + 1.0, self._second)

    def _fail(self, bug: BaseException) -> None:
        if not self._bug.done():
            self._bug.set_exception(bug)

    def _give_up(self, crowds: list[Crowd]) -> None:
        running = sum(crowd.running for crowd in crowds)
        self._fail(
            _laws.LawBrokenError(
                f"{running} calls have not ended {PATIENCE:g} s after the scenario; give their clients a Timeout"
            )
        )


def _nobody(_second: int) -> None:
    """Nobody wants to know."""
