"""The loop monitor on running loops: what it blames, what it leaves alone, and what is left after it."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.behaviour.support import TIME_LIMIT, cancelled, client, soon

from resilient_client import CallInFlight, ConfigurationError, Stage
from resilient_client.telemetry import LoopEvent, LoopMonitor, LoopWasLate, TaskLost
from resilient_client.telemetry._lateness import Sampling
from resilient_client.telemetry._watchdog import Watchdog
from resilient_client.testing import FaultServer, VirtualTimeLoop, run_virtual
from resilient_client.testing.faults import hang_before_headers

QUICK: dict[str, Any] = {"interval": 0.01, "late_after": 0.05}
"""Limits with which a test need not block for long."""


class Warnings(logging.Handler):
    """The warnings of the monitor. ``first`` is set at the first one, in the thread of the watchdog."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.first = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.first.set()


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    handler = Warnings()
    logger = logging.getLogger("resilient_client.loop")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "resilient-client-loop-watchdog"]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(TIME_LIMIT):
        while not condition():
            await asyncio.sleep(0.005)


def load_report(warnings: Warnings) -> None:
    """Block the event loop until the watchdog has seen it, which needs no idle machine."""
    assert warnings.first.wait(TIME_LIMIT)


async def test_blocking_function_is_named(warnings: Warnings) -> None:
    """The warning comes while the loop is blocked. It names the function, and the standard library is not blamed."""
    events: list[LoopEvent] = []
    async with LoopMonitor(listener=events.append, **QUICK) as monitor:
        await asyncio.sleep(0.02)
        load_report(warnings)
        await until(lambda: monitor.snapshot().blocked)
        health = monitor.snapshot()
    record = warnings.records[0]
    assert vars(record)["event"] == "loop_blocked"
    assert vars(record)["function"] == "load_report"
    assert vars(record)["file"] == __file__
    assert "blocked for" in record.getMessage()
    assert f"test_blocking_function_is_named ({__file__}" in record.getMessage()
    event = next(event for event in events if isinstance(event, LoopWasLate) and event.place)
    assert event.place is not None
    assert (event.place.function, event.place.file) == ("load_report", __file__)
    assert (health.blocked[0].place, health.blocked[0].longest) == (event.place, event.seconds)
    assert health.lag.maximum >= event.seconds >= 0.05
    assert health.late_count >= 1


async def test_work_with_awaits_is_not_blamed(warnings: Warnings) -> None:
    """The same amount of work in short pieces is no block. Without a block nothing is reported."""
    async with LoopMonitor(interval=0.05, late_after=0.3) as monitor:
        began = time.perf_counter()
        while time.perf_counter() - began < 0.45:
            time.sleep(0.005)  # noqa: ASYNC251 -- a short piece of blocking work is the subject
            await asyncio.sleep(0)
        health = monitor.snapshot()
    assert health.blocked == ()
    assert warnings.records == []
    assert health.lag.observations > 1


async def test_idle_loop_is_not_blamed(warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that waits for its next timer is late only if the machine is, and no place is blamed for that."""
    sampled, sample = threading.Event(), Watchdog._sample

    def noted(*arguments: Any) -> None:
        sample(*arguments)
        sampled.set()

    monkeypatch.setattr(Watchdog, "_sample", noted)
    monkeypatch.setattr(Sampling, "excused", lambda *_: False)
    events: list[LoopEvent] = []
    async with LoopMonitor(interval=0.3, late_after=0.2, listener=events.append) as monitor:
        await until(lambda: monitor.snapshot().lag.observations)
        monitor._pulse.due -= 10  # as if the machine had been suspended
        await asyncio.get_running_loop().run_in_executor(None, sampled.wait, TIME_LIMIT)
        await until(lambda: events)
        health = monitor.snapshot()
    assert (health.blocked, warnings.records) == ((), [])
    late = [event for event in events if isinstance(event, LoopWasLate) and event.seconds > 9]
    assert [event.place for event in late] == [None]
    assert health.late_count == len(events)


async def test_call_that_keeps_the_interpreter_is_named() -> None:
    """C code that does not release the interpreter stops the watchdog, too. It is seen where it returns."""

    def parse() -> int:
        return sum(range(numbers))

    numbers, began = 1_000_000, time.perf_counter()
    parse()
    numbers *= 1 + int(0.3 / (time.perf_counter() - began))  # 0.3 s or more
    async with LoopMonitor(**QUICK) as monitor:
        await asyncio.sleep(0.02)
        for _ in range(20):  # on a busy machine the watchdog may not get the interpreter in time
            parse()
            await asyncio.sleep(0.02)
            if found := monitor.snapshot().blocked:
                break
    assert found[0].place.function.endswith("parse")


async def test_block_before_the_first_beat_is_named(warnings: Warnings) -> None:
    """A loop that is blocked right after the start, and never runs before the stop, is reported as well."""
    async with LoopMonitor(**QUICK) as monitor:
        load_report(warnings)
    health = monitor.snapshot()
    assert [blocked.place.function for blocked in health.blocked] == ["load_report"]
    assert not health.running


async def test_listener_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failing listener does not end the monitor, and does not fill the log."""
    called: list[LoopEvent] = []

    def listener(event: LoopEvent) -> None:
        called.append(event)
        raise ValueError("no")

    async with LoopMonitor(interval=0.01, late_after=0.000_001, listener=listener):
        await until(lambda: len(called) > 2)
    assert [record.name for record in caplog.records if "the listener" in record.getMessage()] == [
        "resilient_client.events"
    ]


# -- lost tasks --------------------------------------------------------------------------------------------------------


async def waits_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def lose_a_task() -> None:
    """Create a task to which nothing refers, and collect it."""
    asyncio.get_running_loop().create_task(waits_for_ever(), name="lost one")
    await asyncio.sleep(0)
    gc.collect()


async def test_lost_task_is_named_and_passed_on() -> None:
    """The coroutine of a lost task is named, the handler that was set before hears of it, and it is restored."""
    loop = asyncio.get_running_loop()
    heard: list[str] = []

    def handler(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        heard.append(context["message"])

    loop.set_exception_handler(handler)
    events: list[LoopEvent] = []
    async with LoopMonitor(listener=events.append) as monitor:
        await lose_a_task()
        loop.call_exception_handler({"message": "something else"})
    assert loop.get_exception_handler() is handler
    assert heard == ["Task was destroyed but it is pending!", "something else"]
    (lost,) = [event for event in events if isinstance(event, TaskLost)]
    assert (lost.name, lost.coroutine) == ("lost one", "waits_for_ever")
    assert lost.place is not None
    assert lost.place.file == __file__
    health = monitor.snapshot()
    assert health.lost_count == 1
    assert [(each.coroutine, each.times) for each in health.lost] == [("waits_for_ever", 1)]


async def test_lost_task_without_handler_is_logged_by_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    """The message of asyncio itself is still logged."""
    async with LoopMonitor():
        await lose_a_task()
    assert "Task was destroyed but it is pending!" in caplog.text
    assert asyncio.get_running_loop().get_exception_handler() is None


async def test_handlers_of_two_monitors_end_in_any_order() -> None:
    """A monitor that ends first stays a link in the other's chain, which restores what was there before both."""
    loop = asyncio.get_running_loop()
    first, second = LoopMonitor(), LoopMonitor()
    first.start()
    second.start()
    first.stop()
    heard: list[str] = []
    await lose_a_task()
    second.stop()
    assert loop.get_exception_handler() is None
    assert (first.snapshot().lost_count, second.snapshot().lost_count) == (0, 1)
    assert heard == []


# -- calls -------------------------------------------------------------------------------------------------------------


async def test_long_call_is_reported_once_with_its_place(server: FaultServer) -> None:
    """A call that waits for its reply is listed with stage, route and age, and is gone when it has ended."""
    server.route("GET", "/users/7", hang_before_headers())
    events: list[LoopEvent] = []
    async with client(server, name="users") as api:
        task = asyncio.create_task(api.get("/users/{id}", path_params={"id": 7}, timeout=TIME_LIMIT))
        await until(lambda: server.hits and api.in_flight()[0].age > 0.05)
        clients = [api, api.with_options(timeout=5)]
        async with LoopMonitor(clients, long_call=0.05, listener=events.append) as monitor:
            await until(lambda: any(isinstance(event, CallInFlight) for event in events))
            health = monitor.snapshot()
            elsewhere = await asyncio.get_running_loop().run_in_executor(None, monitor.snapshot)
            await cancelled([task])
            after = monitor.snapshot()
    (call,) = health.long_calls
    assert (call.client, call.method, call.route, call.stage) == ("users", "GET", "/users/{id}", Stage.HEADERS)
    assert call.age >= 0.05
    assert (call.attempts, call.endpoint.port) == (1, server.port)
    assert health.long_call_count == elsewhere.long_call_count == 1
    assert health.pending_tasks >= 2
    assert after.long_calls == ()
    assert sum(isinstance(event, CallInFlight) for event in events) == 1


async def test_short_call_is_not_reported(server: FaultServer) -> None:
    """A call below the limit is no long call, and without a limit no call is."""
    server.route("GET", "/slow", hang_before_headers())
    async with (
        client(server) as api,
        LoopMonitor(api, long_call=TIME_LIMIT) as limited,
        LoopMonitor(api, long_call=None) as off,
    ):
        task = asyncio.create_task(api.get("/slow"))
        await until(lambda: server.hits)
        assert limited.snapshot().long_calls == off.snapshot().long_calls == ()
        assert len(api.in_flight()) == 1
        await cancelled([task])


# -- what is left ------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_stop_leaves_neither_thread_nor_timer() -> None:
    """After the stop everything is as before, also after a second start and a second stop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    before = loop.timers
    monitor = LoopMonitor()
    for _ in range(2):
        monitor.start()
        monitor.start()
        await asyncio.sleep(1)
        assert monitor.running
        assert len(watchdogs()) == 1
        monitor.stop()
        monitor.stop()
        assert (loop.timers, watchdogs(), loop.get_exception_handler()) == (before, [], None)
    assert monitor.snapshot().lag.observations >= 20


async def test_cancelled_block_leaves_no_thread() -> None:
    """A task that is cancelled within ``async with`` stops its monitor."""
    entered = asyncio.Event()

    async def watched() -> None:
        async with LoopMonitor():
            entered.set()
            await waits_for_ever()

    task = asyncio.create_task(watched())
    await soon(entered.wait())
    assert len(watchdogs()) == 1
    await cancelled([task])
    assert watchdogs() == []


def loop_factories() -> list[Any]:
    factories: list[Any] = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    try:
        import uvloop
    except ImportError:
        return factories
    return [*factories, pytest.param(uvloop.new_event_loop, id="uvloop")]


@pytest.mark.parametrize("factory", loop_factories())
def test_thread_ends_with_its_loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A loop that is closed without a stop takes the thread with it, and the monitor may be started on another loop."""
    monitor = LoopMonitor(**QUICK)

    async def start() -> threading.Thread:
        monitor.start()
        return watchdogs()[-1]

    for _ in range(2):
        with asyncio.Runner(loop_factory=factory) as runner:
            thread = runner.run(start())
        thread.join(TIME_LIMIT)
        assert not thread.is_alive()
        assert not monitor.running
    monitor.stop()


@pytest.mark.parametrize("factory", loop_factories())
def test_loop_that_is_paused_is_not_late(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The time between two runs of a loop is not lag, and the code that runs there is not blamed."""
    monitor = LoopMonitor(**QUICK)

    async def start() -> None:
        monitor.start()
        await asyncio.sleep(0.03)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(start())
        began = time.perf_counter()
        while not monitor._pulse.not_running:
            assert time.perf_counter() - began < TIME_LIMIT
            time.sleep(0.01)
        time.sleep(0.2)
        paused = time.perf_counter() - began
        runner.run(asyncio.sleep(0.05))
        health = monitor.snapshot()
        runner.run(_call(monitor.stop))
    assert health.lag.maximum < paused
    assert health.blocked == ()


async def _call(function: Callable[[], object]) -> None:
    function()


FORK = """
import asyncio, os, threading, time
from resilient_client.telemetry import LoopMonitor

async def main():
    async with LoopMonitor(interval=0.01) as monitor:
        await asyncio.sleep(0.05)
        child = os.fork()
        if not child:
            asyncio._set_running_loop(None)
            assert threading.active_count() == 1
            monitor.stop()
            asyncio.run(fresh())
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert threading.active_count() == 2

async def fresh():
    async with LoopMonitor(interval=0.01) as monitor:
        await asyncio.sleep(0.05)
        assert threading.active_count() == 2
        assert monitor.snapshot().lag.observations

asyncio.run(main())
print("done", threading.active_count())
"""

EXIT = """
import asyncio
from resilient_client.telemetry import LoopMonitor

async def start():
    LoopMonitor(interval=0.001, late_after=0.001).start()
    await asyncio.sleep(0.05)

loop = asyncio.new_event_loop()
loop.run_until_complete(start())
print("done")
"""


@pytest.mark.parametrize(("script", "printed"), [(FORK, "done 1"), (EXIT, "done")], ids=["fork", "exit"])
def test_fork_and_exit_leave_nothing(script: str, printed: str) -> None:
    """A forked process has no thread and can monitor its own loop. An interpreter exits in silence."""
    done = subprocess.run(  # noqa: S603 -- our own interpreter on our own code
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=TIME_LIMIT, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr
    assert "Traceback" not in done.stderr


def test_virtual_time_is_never_late() -> None:
    """On a loop of virtual time an hour passes at once, and is not lag."""

    async def main() -> float:
        async with LoopMonitor(late_after=TIME_LIMIT) as monitor:
            await asyncio.sleep(600)
            return monitor.snapshot().lag.maximum

    assert run_virtual(main()) < TIME_LIMIT


# -- wrong use ---------------------------------------------------------------------------------------------------------


async def _async_listener(event: LoopEvent) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, "interval is 0, but must be a duration above 0"),
        ({"late_after": "soon"}, "late_after is 'soon', but must be a duration above 0"),
        ({"long_call": -1}, "long_call is -1, but must be a duration above 0"),
        ({"clients": 5}, "clients is of type int; give an APIClient, or a list of them"),
        ({"clients": "api"}, "clients is of type str"),
        ({"clients": [None]}, "one of clients is None; give APIClient objects only"),
        ({"listener": _async_listener}, "the listener is of type function; give a plain function of one event"),
        ({"listener": 5}, "the listener is of type int"),
    ],
)
def test_wrong_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    """One sentence says what is wrong and what to give."""
    with pytest.raises(ConfigurationError) as raised:
        LoopMonitor(**arguments)
    assert str(raised.value).startswith(message)


def test_start_without_a_loop_is_refused() -> None:
    """A monitor belongs to a running loop, and to one at a time."""
    monitor = LoopMonitor()
    with pytest.raises(ConfigurationError, match="no event loop is running here"):
        monitor.start()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(_call(monitor.start))
        with pytest.raises(ConfigurationError, match="watches another event loop"):
            second.run(_call(monitor.start))
        first.run(_call(monitor.stop))


def test_monitor_that_was_never_started_is_empty() -> None:
    """A snapshot of a monitor that is off is empty, and stopping it does nothing."""
    monitor = LoopMonitor()
    monitor.stop()
    health = monitor.snapshot()
    assert not health.running
    assert (health.lag.observations, health.pending_tasks, health.late_count, health.lost) == (0, 0, 0, ())
