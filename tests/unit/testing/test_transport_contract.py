"""One contract for two transports: a fault has the same result on a real socket and in memory.

Each scenario defines a fault for a `FaultServer`, the same fault for a `MockUpstream`, and the expected error.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trustme

from resilient_client import APIClient, APIConnectionError, APIError, APITimeoutError, ConnectionSettings, Timeout
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client.testing import FaultServer, MockUpstream, black_hole, fail, faults, refused_url, reply
from resilient_client.testing._mock_steps import Step as MockStep
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing._wire import Fault
from resilient_client.testing._wire import Step as WireStep

BODY = b"0123456789" * 100
HALF_GZIP = gzip.compress(bytes(range(256)) * 20)[:100]
SLOW = Timeout(total=5, attempt=5)
QUICK = Timeout(total=5, attempt=0.4)


@dataclass(frozen=True)
class Facts:
    """The properties of an error on which retry, circuit and caller depend."""

    error: type[APIError]
    kind: ErrorKind
    stage: Stage
    maybe_processed: bool
    retryable: bool = True
    stale: bool = False
    sent: bool = True


@dataclass(frozen=True)
class Scenario:
    """One fault, defined for each transport."""

    real: WireStep | Callable[[AsyncExitStack], str]
    memory: tuple[MockStep, ...]
    facts: Facts
    timeout: Timeout = SLOW
    tls: bool = False
    method: str = "GET"


def refused(_stack: AsyncExitStack) -> str:
    return refused_url()


def unreachable(stack: AsyncExitStack) -> str:
    return stack.enter_context(black_hole(connects=False))


def silent_tls(stack: AsyncExitStack) -> str:
    return stack.enter_context(black_hole()).replace("http:", "https:")


def lost(stage: Stage, *, stale: bool = False) -> Facts:
    return Facts(APIConnectionError, ErrorKind.DISCONNECTED, stage, maybe_processed=True, stale=stale)


def invalid(stage: Stage) -> Facts:
    return Facts(APIConnectionError, ErrorKind.PROTOCOL, stage, maybe_processed=True)


def timed_out(stage: Stage) -> Facts:
    sent = stage.maybe_processed
    return Facts(APITimeoutError, ErrorKind.TIMEOUT, stage, maybe_processed=sent, sent=sent)


SCENARIOS = {
    "refused": Scenario(
        refused,
        (fail("connect"),),
        Facts(APIConnectionError, ErrorKind.CONNECT, Stage.CONNECT, maybe_processed=False, sent=False),
    ),
    "untrusted certificate": Scenario(
        faults.reply(),
        (fail("tls"),),
        Facts(APIConnectionError, ErrorKind.TLS, Stage.TLS, maybe_processed=False, retryable=False, sent=False),
        tls=True,
    ),
    "connect hangs, attempt ends": Scenario(
        unreachable, (fail("timeout", stage="connect"),), timed_out(Stage.CONNECT), QUICK
    ),
    "connect hangs, connect timeout ends": Scenario(
        unreachable,
        (fail("timeout", stage="connect"),),
        timed_out(Stage.CONNECT),
        Timeout(total=5, attempt=5, connect=0.15),
    ),
    "TLS hangs": Scenario(silent_tls, (fail("timeout", stage="tls"),), timed_out(Stage.TLS), QUICK),
    "dropped": Scenario(faults.drop(), (fail("disconnected"),), lost(Stage.HEADERS)),
    "dropped, POST": Scenario(faults.drop(), (fail("disconnected"),), lost(Stage.HEADERS), method="POST"),
    "reset": Scenario(faults.reset(), (fail("disconnected"),), lost(Stage.HEADERS)),
    "truncated": Scenario(faults.truncate(BODY), (reply(content=[b"01234", fail("disconnected")]),), lost(Stage.BODY)),
    "coding cut short": Scenario(
        faults.reply(body=HALF_GZIP, headers={"Content-Encoding": "gzip"}),
        (reply(content=HALF_GZIP, headers={"Content-Encoding": "gzip"}),),
        lost(Stage.BODY),
    ),
    "no HTTP": Scenario(faults.garbage(), (fail("protocol"),), invalid(Stage.HEADERS)),
    "corrupt coding": Scenario(faults.corrupt_gzip(), (reply(content=[b"01", fail("protocol")]),), invalid(Stage.BODY)),
    "silent": Scenario(faults.hang_before_headers(), (fail("timeout"),), timed_out(Stage.HEADERS), QUICK),
    "silent, idle ends": Scenario(
        faults.hang_before_headers(),
        (fail("timeout"),),
        timed_out(Stage.HEADERS),
        Timeout(total=5, attempt=5, idle=0.15),
    ),
    "silent in the body": Scenario(
        faults.hang_in_body(BODY), (reply(content=[b"01234", fail("timeout")]),), timed_out(Stage.BODY), QUICK
    ),
    "drips longer than the attempt": Scenario(
        faults.drip(BODY, interval=0.05), (reply(content=[b"0", 0.05] * 100),), timed_out(Stage.BODY), QUICK
    ),
}


@asynccontextmanager
async def calling(scenario: Scenario, transport: str) -> AsyncIterator[APIClient]:
    """Create a client whose first request meets the fault, without retry and circuit, on one of the transports."""
    options: dict[str, Any] = {"retry": None, "circuit_breaker": None, "timeout": scenario.timeout}
    async with AsyncExitStack() as stack:
        if transport == "memory":
            upstream = MockUpstream()
            upstream.script(*scenario.memory)
            client = APIClient("https://api.example.com", transport=upstream, **options)
        elif isinstance(scenario.real, Fault):
            server = await stack.enter_async_context(FaultServer(tls=_untrusted() if scenario.tls else None))
            server.script(scenario.real)
            client = APIClient(server.url, **options)
        else:
            client = APIClient(scenario.real(stack), **options)  # type: ignore[arg-type, call-arg]
        yield await stack.enter_async_context(client)


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def facts_of(client: APIClient, method: str) -> Facts:
    with pytest.raises(APIError) as caught:
        await client.request(method, "/", content=b"body" if method == "POST" else None)
    error = caught.value
    [record] = error.history
    assert (record.kind, record.stage) == (error.kind, error.stage)
    stale = isinstance(error, APIConnectionError) and error.stale_connection
    return Facts(
        type(error), error.kind, error.stage, error.maybe_processed, error.retryable, stale=stale, sent=record.sent
    )


def scenarios(*, timed: bool) -> pytest.MarkDecorator:
    """Return the scenarios that a timeout ends, or all others."""
    selected = {name: scenario for name, scenario in SCENARIOS.items() if (scenario.timeout is not SLOW) is timed}
    return pytest.mark.parametrize("scenario", selected.values(), ids=selected.keys())


both_transports = pytest.mark.parametrize("transport", ["aiohttp", "memory"])


@both_transports
@scenarios(timed=False)
async def test_transport_fault_has_the_expected_facts(scenario: Scenario, transport: str) -> None:
    """A fault has the same class, kind, stage and retryability on every transport."""
    async with calling(scenario, transport) as client:
        assert await facts_of(client, scenario.method) == scenario.facts


@both_transports
@scenarios(timed=True)
def test_transport_silence_has_the_expected_facts(scenario: Scenario, transport: str) -> None:
    """A silence has the same facts on every transport. Virtual time keeps a busy machine from exceeding a limit."""

    async def main() -> None:
        async with calling(scenario, transport) as client:
            assert await facts_of(client, scenario.method) == scenario.facts

    run_virtual(main())


@both_transports
async def test_transport_recognises_a_stale_connection(transport: str) -> None:
    """A kept-alive connection that closes instead of the next reply is stale, and its record says ``reused``."""
    stale = Scenario(
        faults.close_idle("request"), (reply(), fail("disconnected", reused=True)), lost(Stage.HEADERS, stale=True)
    )
    async with calling(stale, transport) as client:
        assert (await client.get("/")).history[0].reused is False
        assert await facts_of(client, "GET") == stale.facts


@both_transports
async def test_transport_full_pool_is_a_pool_timeout(transport: str) -> None:
    """A timeout while waiting for a pool slot has its own kind and stage, and nothing was sent."""
    options: dict[str, Any] = {"retry": None, "circuit_breaker": None, "timeout": QUICK}
    narrow = ConnectionSettings(pool_size=1)
    async with AsyncExitStack() as stack:
        if transport == "memory":
            upstream = MockUpstream(connection=narrow)
            upstream.script(fail("timeout"))
            client = APIClient("https://api.example.com", transport=upstream, **options)
        else:
            server = await stack.enter_async_context(FaultServer())
            server.script(faults.hang_before_headers())
            client = APIClient(server.url, connection=narrow, **options)
        await stack.enter_async_context(client)
        first = asyncio.create_task(client.get("/", timeout=SLOW))
        await (upstream if transport == "memory" else server).wait_for_hits(1)
        facts = await facts_of(client, "GET")
        first.cancel()
        await asyncio.wait((first,))
    assert facts == Facts(APITimeoutError, ErrorKind.POOL, Stage.POOL, maybe_processed=False, sent=False)


@both_transports
async def test_transport_failing_upload_raises_its_exception(transport: str) -> None:
    """An exception raised by the caller's body propagates unchanged, not as a network error."""

    def pieces() -> Any:
        yield b"x" * 100_000
        raise LookupError("no more")

    scenario = Scenario(faults.reply(), (reply(),), lost(Stage.SEND))
    async with calling(scenario, transport) as client:
        with pytest.raises(LookupError, match="no more"):
            await client.post("/", content=pieces())


@both_transports
@pytest.mark.parametrize("status", [200, 204, 304, 404, 503])
async def test_transport_reply_has_status_and_content(status: int, transport: str) -> None:
    """A reply of any status has its body, except where HTTP allows none."""
    scenario = Scenario(faults.reply(status, text="hello"), (reply(status, text="hello"),), lost(Stage.BODY))
    async with calling(scenario, transport) as client:
        response = await client.get("/", raise_for_status=False)
    assert (response.status, response.content) == (status, b"" if status in (204, 304) else b"hello")


@both_transports
async def test_transport_head_reply_has_no_body(transport: str) -> None:
    """A reply to HEAD has a length but no body."""
    scenario = Scenario(faults.reply(text="hello"), (reply(text="hello"),), lost(Stage.BODY))
    async with calling(scenario, transport) as client:
        response = await client.head("/")
    assert (response.content, response.headers["Content-Length"]) == (b"", "5")


@both_transports
async def test_transport_stream_yields_pieces_before_the_error(transport: str) -> None:
    """A streamed body yields the bytes before the fault, then raises the error in stage body."""
    scenario = Scenario(
        faults.truncate(BODY, sent=5), (reply(content=[b"01234", fail("disconnected")]),), lost(Stage.BODY)
    )
    async with calling(scenario, transport) as client, client.stream("GET", "/") as stream:
        pieces = stream.iter_bytes()
        assert await anext(pieces) == b"01234"
        with pytest.raises(APIConnectionError) as caught:
            await anext(pieces)
    assert (caught.value.kind, caught.value.stage) == (ErrorKind.DISCONNECTED, Stage.BODY)
