"""Health checks on real sockets: what is sent, how often, and how the replies are judged."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.behaviour.support import TIME_LIMIT, cancelled, soon, turns

from resilient_client import (
    APIClient,
    APIError,
    CircuitBreaker,
    ClientClosedError,
    ErrorKind,
    Handler,
    HealthReport,
    HealthState,
    InternalServerError,
    Probe,
    Prober,
    ProbeResult,
    Request,
    Response,
    WrongLoopError,
    deadline,
    probe,
)
from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.faults import (
    endless_body,
    endless_redirect,
    hang_before_headers,
    hold,
    redirect,
    reply,
    truncate,
)

UP, DEGRADED, DOWN, UNKNOWN = HealthState


async def result_of(target: Any, **options: Any) -> ProbeResult:
    """What one check says of one target."""
    return (await soon(probe({"it": target}, **options)))["it"]


async def ping() -> None:
    """A database that answers."""


async def hang() -> None:
    """A database that does not answer."""
    await asyncio.get_running_loop().create_future()


# -- one look ----------------------------------------------------------------------------------------------------------


async def test_good_target_costs_one_request(server: FaultServer) -> None:
    """It is up, and the result says how long each stage took."""
    result = await result_of(f"{server.url}/health")
    assert (result.state, result.ok, result.reason, result.status, result.attempts) == (UP, True, "", 200, 1)
    assert result.timings.connect is not None
    assert server.hits == 1


async def test_failing_target_is_not_retried(server: FaultServer) -> None:
    """A check wants to know how it is now."""
    server.script(reply(503), reply(200))
    result = await result_of(server.url)
    assert (result.state, result.kind, result.status) == (DOWN, ErrorKind.SERVER_ERROR, 503)
    assert result.reason == "status 503, expected 200-399"
    assert server.hits == 1


async def test_probe_again_makes_a_new_connection(server: FaultServer) -> None:
    """Each check sees what a newcomer would see."""
    async with Prober([server.url]) as prober:
        for _ in range(3):
            assert (await soon(prober.check()))[0].timings.connect is not None
    assert server.connections == 3


async def test_probe_again_resolves_the_name_again(server: FaultServer) -> None:
    """A name that points elsewhere by now is noticed."""
    async with Prober([f"http://localhost:{server.port}"]) as prober:
        reports = [await soon(prober.check()) for _ in range(2)]
    assert [report[0].timings.dns is not None for report in reports] == [True, True]


async def test_probe_of_a_closed_port_says_so() -> None:
    """The reason is in the words of the operating system."""
    result = await result_of(refused_url())
    assert (result.state, result.kind, result.status) == (DOWN, ErrorKind.CONNECT, None)
    assert "refused" in result.reason


@pytest.mark.parametrize(("connects", "stage"), [(True, "headers"), (False, "connect")])
@pytest.mark.virtual_time
async def test_silent_target_names_the_stage(connects: bool, stage: str) -> None:
    """The timeout of the check holds, and the stage distinguishes a dead host from a dead service."""
    began = asyncio.get_running_loop().time()
    with black_hole(connects=connects) as url:
        result = await result_of(url, timeout=0.2)
    assert asyncio.get_running_loop().time() - began < 1
    assert (result.state, result.kind) == (DOWN, ErrorKind.DEADLINE)
    assert f"stuck in stage {stage}" in result.reason


@pytest.mark.virtual_time
async def test_target_with_its_own_timeout(server: FaultServer) -> None:
    """It is down after its own, while another has the whole check's."""
    server.script(hang_before_headers())
    slow = reply(delay=0.5)
    server.route("GET", "/slow", slow)
    report = await soon(probe({"fast": Probe(server.url, timeout=0.1), "slow": f"{server.url}/slow"}, timeout=2))
    assert (report["fast"].state, report["slow"].state) == (DOWN, UP)
    assert report["fast"].elapsed < 0.45


@pytest.mark.parametrize(
    ("expected", "status", "state"),
    [
        (200, 200, UP),
        (200, 204, DOWN),
        ({200, 404}, 404, UP),
        (range(200, 300), 299, UP),
        (range(200, 300), 404, DOWN),
        (503, 503, UP),
    ],
)
@pytest.mark.one_loop
async def test_expected_status_is_healthy(server: FaultServer, expected: Any, status: int, state: HealthState) -> None:
    """A status, a set or a range is expected, which may include error statuses."""
    server.script(reply(status))
    assert (await result_of(Probe(server.url, expect_status=expected))).state is state


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ("migrating", ""),
        (re.compile("migr[a-z]+"), ""),
        (lambda answer: answer.json()["status"] == "migrating", ""),
        ("ready", "the body lacks 'ready'"),
        (re.compile("rea.y"), "the body lacks /rea.y/"),
        (lambda answer: answer.json()["status"] == "up", "the body is not as expected"),
        (lambda answer: answer.json()["token"], "the body is not as expected (KeyError)"),
        (lambda answer: answer.parse(list[int]), "the body is not as expected (the body of the reply 200"),
    ],
)
async def test_probe_checks_the_body(server: FaultServer, expected: Any, reason: str) -> None:
    """The body is checked by text, pattern or function. A function that raises fails only its target."""
    server.script(reply(json={"status": "migrating"}))
    result = await result_of(Probe(server.url, expect_body=expected))
    assert result.state is (DOWN if reason else UP)
    assert result.reason.startswith(reason)


async def test_unknown_charset_harms_no_other_target(server: FaultServer) -> None:
    """A body in an unknown charset is still checked, and the check goes on."""
    server.script(reply(body=b"ready", headers={"Content-Type": "text/plain; charset=hex"}))
    report = await soon(probe({"odd": Probe(server.url, expect_body="ready"), "db": ping}))
    assert [result.state for result in report] == [UP, UP]


@pytest.mark.virtual_time
async def test_probe_of_a_slow_target_is_degraded(server: FaultServer) -> None:
    """A slow target answers, so it is not down, and the report names the reason."""
    server.script(reply(delay=0.05))
    result = await result_of(Probe(server.url, slow=0.01))
    assert (result.state, result.ok) == (DEGRADED, True)
    assert re.fullmatch(r"slow: \d\.\d\d s, expected at most 0.01 s", result.reason)


async def test_fast_target_is_up(server: FaultServer) -> None:
    """Negative control: ``slow`` is a limit, and below it nothing is amiss."""
    assert (await result_of(Probe(server.url, slow=5))).state is UP


async def test_probe_follows_redirects_at_home(server: FaultServer) -> None:
    """What counts is what lies at the end."""
    server.script(reply(503))
    server.route("GET", "/old", redirect("/new"))
    assert (await result_of(f"{server.url}/old")).status == 503


async def test_redirect_to_other_origin_is_the_result(server: FaultServer) -> None:
    """The server is healthy, and the redirect points to another target."""
    async with FaultServer() as elsewhere:
        server.script(redirect(elsewhere.url))
        assert (await result_of(server.url)).state is UP
        assert (await result_of(Probe(server.url, expect_status=200))).state is DOWN
        assert elsewhere.hits == 0


async def test_endless_redirect_is_down(server: FaultServer) -> None:
    """Though each redirect by itself has an expected status."""
    server.script(redirect("/"))
    result = await result_of(server.url)
    assert (result.state, result.kind) == (DOWN, ErrorKind.REDIRECT)
    assert "circle" in result.reason


async def test_long_chain_of_redirects_is_down(server: FaultServer) -> None:
    """More redirects than the client follows are a fault of this server, too, and are not called a circle."""
    server.script(endless_redirect())
    result = await result_of(server.url)
    assert (result.state, result.kind) == (DOWN, ErrorKind.REDIRECT)
    assert "max_redirects=5" in result.reason


async def test_check_reads_no_more_than_it_needs(server: FaultServer) -> None:
    """A target that never stops sending is up, and the check takes kilobytes of it. The server counts."""
    server.script(endless_body())
    assert (await result_of(server.url)).state is UP
    result = await result_of(Probe(server.url, expect_body="never"))
    assert (result.state, result.kind) == (DOWN, ErrorKind.INVALID_RESPONSE)
    assert result.reason == "the first 1 MiB of the body lack 'never'"
    assert server.hits == 2


async def test_body_cut_short_is_down(server: FaultServer) -> None:
    """Even if nothing is expected of the body: the server that breaks off a short reply is not healthy."""
    server.script(truncate())
    assert (await result_of(server.url)).kind is ErrorKind.DISCONNECTED


async def test_probe_sends_its_headers_and_method(server: FaultServer) -> None:
    """Headers and method are sent as given."""
    await result_of(Probe(server.url, method="head", headers={"X-Key": "hunter2"}))
    assert (server.requests[0].method, server.requests[0].headers["X-Key"]) == ("HEAD", "hunter2")


# -- functions ---------------------------------------------------------------------------------------------------------


def giving(answer: object) -> Callable[[], Awaitable[object]]:
    async def function() -> object:
        return answer

    return function


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (None, UP),
        (True, UP),
        (0, UP),
        ([], UP),
        (False, DOWN),
        (DOWN, DOWN),
        (DEGRADED, DEGRADED),
        (UP, UP),
        (UNKNOWN, UNKNOWN),
    ],
)
async def test_function_is_up_by_default(answer: object, state: HealthState) -> None:
    """Only ``False`` and a state are verdicts."""
    assert (await result_of(giving(answer))).state is state


async def test_function_error_shows_type_only() -> None:
    """The text of a foreign exception may hold a password. The object itself is in the result."""
    leak = ValueError("postgres://root:hunter2@db")

    async def broken() -> None:
        raise leak

    report = await soon(probe({"db": broken}))
    assert (report["db"].state, report["db"].reason, report["db"].kind) == (DOWN, "ValueError", ErrorKind.UNEXPECTED)
    assert report["db"].error is leak
    assert "hunter2" not in f"{report}{report!r}{report._repr_html_()}{report.to_dict()}"


async def test_function_error_of_client_is_shown(server: FaultServer) -> None:
    """Errors of the library hold no secrets, so their text is the reason."""
    server.script(reply(500))
    async with APIClient(server.url, retry=None) as api:
        result = await result_of(lambda: api.get("/orders"))
    assert isinstance(result.error, InternalServerError)
    assert (result.kind, result.reason) == (ErrorKind.SERVER_ERROR, str(result.error))


@pytest.mark.virtual_time
async def test_hanging_function_ends_in_time() -> None:
    """It is cancelled, awaited and down."""
    result = await result_of(hang, timeout=0.1)
    assert (result.state, result.kind) == (DOWN, ErrorKind.DEADLINE)
    assert result.reason == "no answer within 0.10 s"


async def test_function_raising_timeout_error() -> None:
    """Some drivers raise ``TimeoutError`` long before the check does."""

    async def late() -> None:
        raise TimeoutError

    result = await result_of(late)
    assert (result.reason, result.kind) == ("TimeoutError", ErrorKind.UNEXPECTED)


async def test_function_cancelled_inside_is_down() -> None:
    """The target is down, and the check goes on."""

    async def dropped() -> None:
        raise asyncio.CancelledError

    report = await soon(probe({"dropped": dropped, "ping": ping}))
    assert (report["dropped"].state, report["dropped"].kind) == (DOWN, ErrorKind.CANCELLED)
    assert report["ping"].state is UP


async def test_sync_function_refused() -> None:
    """Rather than take what it returned for an answer, and block the loop for it."""
    result = await result_of(lambda: 3)
    assert (result.state, result.kind) == (DOWN, ErrorKind.INVALID_REQUEST)
    assert result.reason == "the function returned int, which cannot be awaited; give an async function"


# -- many targets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("critical", "others", "whole"),
    [
        ((UP,), (UP,), UP),
        ((UP,), (DOWN,), DEGRADED),
        ((UP,), (DEGRADED,), DEGRADED),
        ((UP, DEGRADED), (), DEGRADED),
        ((UP, DOWN), (UP,), DOWN),
        ((DEGRADED, DOWN), (DOWN,), DOWN),
        ((), (DOWN,), DEGRADED),
    ],
)
async def test_report_down_only_if_critical_is(
    critical: tuple[HealthState, ...], others: tuple[HealthState, ...], whole: HealthState
) -> None:
    """Other failures degrade the report. ``ok`` is meant for load balancers."""
    targets = {f"c{n}": Probe(giving(state)) for n, state in enumerate(critical)}
    targets |= {f"o{n}": Probe(giving(state), critical=False) for n, state in enumerate(others)}
    report = await soon(probe(targets))
    assert (report.state, report.ok) == (whole, whole is not DOWN)


@pytest.mark.virtual_time
async def test_check_of_hundred_targets_in_time(server: FaultServer) -> None:
    """Ninety-five targets are up, and five are down when the timeout ends the check."""
    server.route("GET", "/hang", hang_before_headers())
    targets = {f"t{n}": f"{server.url}{'/hang' if n % 20 == 0 else '/'}" for n in range(100)}
    began = asyncio.get_running_loop().time()
    report = await soon(probe(targets, timeout=2.0, concurrency=20))
    assert 1.9 < asyncio.get_running_loop().time() - began < 3
    assert sorted(result.name for result in report if not result.ok) == ["t0", "t20", "t40", "t60", "t80"]
    assert {result.kind for result in report if not result.ok} == {ErrorKind.DEADLINE}
    assert server.hits == 100


async def test_check_bounds_concurrency(server: FaultServer) -> None:
    """The server's own peak says so."""
    held = hold()
    server.script(*[held] * 3, reply())
    asking = asyncio.create_task(probe({f"t{n}": server.url for n in range(12)}, concurrency=3))
    await soon(server.wait_for_hits(3))
    await turns()
    held.release()
    await soon(asking)
    assert (server.hits, server.peak) == (12, 3)


async def test_check_has_no_pool_limit(server: FaultServer) -> None:
    """As many connections at once as targets: a pool smaller than that would pass for a slow target."""
    held = hold()
    server.script(held)
    many = 120
    asking = asyncio.create_task(probe({f"t{n}": server.url for n in range(many)}, concurrency=many, timeout=30))
    await soon(server.wait_for_hits(many))
    held.release()
    report = await soon(asking)
    assert (report.ok, server.peak) == (True, many)


@pytest.mark.virtual_time
async def test_unchecked_target_is_unknown() -> None:
    """A target that was not checked is unknown, and a critical unknown target is not healthy."""
    report = await soon(probe({"hangs": Probe(hang, critical=False), "waits": ping}, timeout=0.1, concurrency=1))
    assert (report["waits"].state, report["waits"].attempts) == (UNKNOWN, 0)
    assert "raise the timeout or the concurrency" in report["waits"].reason
    assert (report.state, report.ok) == (UNKNOWN, False)


@pytest.mark.virtual_time
async def test_probe_ends_at_deadline() -> None:
    """A shorter one around it wins."""
    with deadline(after=0.1):
        result = await result_of(hang, timeout=30)
    assert result.kind is ErrorKind.DEADLINE


# -- a client of yours -------------------------------------------------------------------------------------------------


async def test_client_probe_sees_open_circuit(server: FaultServer) -> None:
    """The open circuit is why calls fail, so it is the result, and nothing is sent."""
    breaker = CircuitBreaker(minimum_calls=1, break_duration=60)
    async with APIClient(server.url, retry=None, circuit_breaker=breaker) as api:
        server.script(reply(500))
        with pytest.raises(APIError):
            await soon(api.get("/"))
        result = await result_of(Probe("/health", client=api))
        assert (result.state, result.kind, result.attempts) == (DOWN, ErrorKind.CIRCUIT_OPEN, 0)
        assert server.hits == 1


async def test_client_probe_with_broken_middleware(server: FaultServer) -> None:
    """A bug fails that target only, and its text is not shown."""

    async def broken(_request: Request, _call_next: Handler) -> Response:
        raise ValueError("hunter2")

    async with APIClient(server.url, middleware=[broken]) as api:
        report = await soon(probe({"users": Probe("/", client=api), "db": ping}))
    assert (report["users"].reason, report["users"].kind) == ("ValueError", ErrorKind.UNEXPECTED)
    assert report["db"].state is UP


async def test_client_probe_is_not_retried(server: FaultServer) -> None:
    """A check is one request, with any retry settings."""
    server.script(reply(503))
    async with APIClient(server.url) as api:
        await soon(probe({"users": "/health"}, client=api))
    assert server.hits == 1


async def test_client_probe_leaves_client_open(server: FaultServer) -> None:
    """The client is closed by its owner."""
    async with APIClient(server.url) as api:
        await soon(probe(["/health"], client=api))
        assert (await soon(api.get("/"))).ok


async def test_client_probe_of_closed_client(server: FaultServer) -> None:
    """That is a mistake in the program, not a target that is down."""
    api = APIClient(server.url)
    await api.close()
    with pytest.raises(ClientClosedError):
        await soon(probe(["/health"], client=api))


# -- a prober ----------------------------------------------------------------------------------------------------------


async def states_of(server: FaultServer, **options: Any) -> list[HealthState]:
    """Return the states after one good, three bad and two good replies."""
    server.script(reply(), reply(503), reply(503), reply(503), reply())
    async with Prober({"it": server.url}, **options) as prober:
        return [(await soon(prober.check()))["it"].state for _ in range(6)]


async def test_prober_turns_after_enough_checks(server: FaultServer) -> None:
    """Down at the third failure, up again at the second success."""
    assert await states_of(server) == [UP, UP, UP, DOWN, DOWN, UP]


async def test_prober_without_hysteresis(server: FaultServer) -> None:
    """Negative control: each check changes the state."""
    assert await states_of(server, rise=1, fall=1) == [UP, DOWN, DOWN, DOWN, UP, UP]


async def test_prober_shows_latest_result(server: FaultServer) -> None:
    """The latest result is shown while the state is still the old one."""
    server.script(reply(), reply(503))
    async with Prober({"it": server.url}) as prober:
        await soon(prober.check())
        result = (await soon(prober.check()))["it"]
    assert (result.state, result.ok, result.status, result.streak) == (UP, False, 503, 1)


async def test_prober_dates_the_state(server: FaultServer) -> None:
    """Since the check that turned it."""
    server.script(reply(), reply(503))
    async with Prober({"it": server.url}, fall=2) as prober:
        reports = [await soon(prober.check()) for _ in range(4)]
    assert [report["it"].since for report in reports] == [
        reports[0].checked_at,
        reports[0].checked_at,
        reports[2].checked_at,
        reports[2].checked_at,
    ]


def test_prober_before_first_check_is_unknown() -> None:
    """Its report says so, and is not well."""
    report = Prober({"it": "http://users.example"}).report
    assert (report.state, report.ok, report["it"].state, report.checked_at) == (UNKNOWN, False, UNKNOWN, None)


async def test_concurrent_checks_are_shared(server: FaultServer) -> None:
    """All get the same report, for one request."""
    held = hold()
    server.script(held)
    async with Prober([server.url]) as prober:
        asking = [asyncio.create_task(prober.check()) for _ in range(20)]
        await soon(server.wait_for_hits(1))
        await turns()
        held.release()
        reports = await soon(asyncio.gather(*asking))
    assert server.hits == 1
    assert all(report is reports[0] for report in reports)


async def test_concurrent_probes_are_not_shared(server: FaultServer) -> None:
    """Negative control: it is the prober that shares."""
    await soon(asyncio.gather(*(probe([server.url]) for _ in range(5))))
    assert server.hits == 5


async def test_shared_check_survives_first_caller(server: FaultServer) -> None:
    """A check belongs to all callers that wait for it."""
    held = hold()
    server.script(held)
    async with Prober([server.url]) as prober:
        first, second = (asyncio.create_task(prober.check()) for _ in range(2))
        await soon(server.wait_for_hits(1))
        await cancelled([first])
        held.release()
        assert (await soon(second)).ok
    assert server.hits == 1


async def test_shared_check_ends_with_last_caller(server: FaultServer) -> None:
    """Without callers the check ends, and its connection is closed."""
    server.script(hold())
    async with Prober([server.url], timeout=60) as prober:
        asking = [asyncio.create_task(prober.check()) for _ in range(3)]
        await soon(server.wait_for_hits(1))
        await cancelled(asking)
        async with asyncio.timeout(TIME_LIMIT):
            while server.active:
                await asyncio.sleep(0)
        assert prober.report.state is UNKNOWN


@pytest.mark.parametrize(("max_age", "looks"), [(5.0, 2), (0.0, 4)])
def test_max_age_reuses_report(max_age: float, looks: int) -> None:
    """Within ``max_age`` a target is checked once. As a control, without it each check sends."""
    count = 0

    async def counted() -> None:
        nonlocal count
        count += 1

    async def scenario() -> None:
        async with Prober([counted], max_age=max_age) as prober:
            for pause in (2, 2, 2, 0):
                await prober.check()
                await asyncio.sleep(pause)

    run_virtual(scenario())
    assert count == looks


async def test_on_result_gets_each_result(server: FaultServer) -> None:
    """A result is passed on while other targets are still checked, with the state of the report."""
    reported: list[ProbeResult] = []
    held = hold()
    server.script(held)
    async with Prober({"users": server.url, "db": ping}, on_result=reported.append) as prober:
        asking = asyncio.create_task(prober.check())
        await soon(server.wait_for_hits(1))
        await turns()
        assert [result.name for result in reported] == ["db"]
        held.release()
        report = await soon(asking)
    assert reported == [report["db"], report["users"]]


@pytest.mark.virtual_time
async def test_on_result_gets_unchecked_target() -> None:
    """Targets that were not checked are passed on too."""
    reported: list[ProbeResult] = []
    async with Prober({"hangs": hang, "waits": ping}, timeout=0.1, concurrency=1, on_result=reported.append) as prober:
        await soon(prober.check())
    assert [(result.name, result.state) for result in reported] == [("hangs", DOWN), ("waits", UNKNOWN)]


async def test_on_result_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """That is logged, once per type of error, and harms no target."""

    def broken(_result: ProbeResult) -> None:
        raise ValueError

    async with Prober([ping], on_result=broken) as prober:
        for _ in range(3):
            assert (await soon(prober.check())).ok
    assert caplog.text.count("on_result failed on ping") == 1


@pytest.mark.parametrize("max_age", [0, 60])
async def test_prober_that_is_closed_says_so(server: FaultServer, max_age: float) -> None:
    """The error says so, and no target is reported as down."""
    async with Prober([server.url], max_age=max_age) as prober:
        await soon(prober.check())
    with pytest.raises(ClientClosedError, match="the prober is closed"):
        await soon(prober.check())


def test_prober_on_another_event_loop_says_so() -> None:
    """The error says so, and no target is reported as down."""
    prober = Prober([refused_url()])
    with asyncio.Runner() as home:
        home.run(prober.check())
        with asyncio.Runner() as abroad, pytest.raises(WrongLoopError):
            abroad.run(prober.check())
        home.run(prober.close())


async def test_fastapi_endpoint_caches_report(server: FaultServer) -> None:
    """A load balancer asks often, the target is checked once, and the status is 200 or 503."""
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse
    from httpx import ASGITransport, AsyncClient

    app = FastAPI()
    server.script(reply(), reply(503))
    async with Prober([server.url], fall=1) as anew, Prober([server.url], max_age=60) as cached:

        @app.get("/{which}")
        async def health(which: str) -> JSONResponse:
            report = await (cached if which == "cached" else anew).check()
            return JSONResponse(report.to_dict(), 200 if report.ok else 503)

        async with AsyncClient(transport=ASGITransport(app), base_url="http://service") as balancer:
            statuses = [(await soon(balancer.get("/cached"))).status_code for _ in range(3)]
            assert (statuses, server.hits) == ([200] * 3, 1)
            assert (await soon(balancer.get("/anew"))).status_code == 503


# -- what is shown -----------------------------------------------------------------------------------------------------


async def mixed(server: FaultServer) -> HealthReport:
    """One up, one down and not critical."""
    server.route("GET", "/bad", reply(503, text="<b>"))
    targets = {"users": f"{server.url}/ok?key=hunter2", "<mail>": Probe(f"{server.url}/bad", critical=False)}
    return await soon(probe(targets))


@pytest.mark.one_loop
async def test_report_text_has_a_line_per_target(server: FaultServer) -> None:
    """The summary is first, critical targets are marked, and targets that are down stand out."""
    head, up, down = str(await mixed(server)).splitlines()
    assert re.fullmatch(r"degraded: 1 up, 1 down, in \d+ ms", head)
    assert re.fullmatch(r"! users   up        200 in \d+ ms", up)
    assert re.fullmatch(r"  <mail>  DOWN      503 in \d+ ms; status 503, expected 200-399", down)


@pytest.mark.one_loop
async def test_report_in_a_notebook_is_escaped(server: FaultServer) -> None:
    """Names and reasons are text, never markup."""
    shown = (await mixed(server))._repr_html_()
    assert "&lt;mail&gt;" in shown
    assert "<mail>" not in shown


@pytest.mark.one_loop
async def test_report_json_shows_no_secret(server: FaultServer) -> None:
    """It survives the way to JSON and back, under a version of its own."""
    reported = json.loads(json.dumps((await mixed(server)).to_dict()))
    assert (reported["schema"], reported["state"], reported["ok"]) == (1, "degraded", True)
    assert [target["status"] for target in reported["targets"]] == [200, 503]
    assert set(reported["targets"][0]["timings"]) == {"pool", "dns", "connect", "tls", "first_byte", "body"}
    assert "hunter2" not in json.dumps(reported)


@pytest.mark.one_loop
async def test_report_is_indexed_by_name(server: FaultServer) -> None:
    """In the order of the targets."""
    report = await mixed(server)
    assert report["users"] is report[0]
    assert [result.name for result in report] == ["users", "<mail>"]
    assert ("users" in report, "nobody" in report, len(report)) == (True, False, 2)
