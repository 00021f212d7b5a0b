"""Every failure has one class, kind and stage, and is an ordinary exception."""

from __future__ import annotations

import asyncio
import copy
import pickle
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import pytest
import trustme
from tests.behaviour.support import TIME_LIMIT, client, failure, stuck_in

import resilient_client
from resilient_client import (
    APIClient,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    Call,
    CircuitOpenError,
    ConfigurationError,
    ConflictError,
    ConnectionSettings,
    DeadlineExceededError,
    ErrorKind,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResilientClientError,
    ResponseTooLargeError,
    Retry,
    Stage,
    Timeout,
    UnprocessableEntityError,
    deadline,
)
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
from resilient_client.testing._wire import Step

pytestmark = pytest.mark.usefixtures("both_paths")

K, S = ErrorKind, Stage
SMALL = ConnectionSettings(max_response_size=100_000)


class Truth(NamedTuple):
    """The class, kind, stage and flags that an error must have."""

    cls: type[APIError]
    kind: ErrorKind
    stage: Stage
    maybe_processed: bool
    retryable: bool


LOST = Truth(APIConnectionError, K.DISCONNECTED, S.HEADERS, True, True)
CUT = Truth(APIConnectionError, K.DISCONNECTED, S.BODY, True, True)
NOT_HTTP = Truth(APIConnectionError, K.PROTOCOL, S.HEADERS, True, True)
NO_CODING = Truth(APIConnectionError, K.PROTOCOL, S.BODY, True, True)
SLOW = Truth(APITimeoutError, K.TIMEOUT, S.HEADERS, True, True)
SLOW_BODY = Truth(APITimeoutError, K.TIMEOUT, S.BODY, True, True)
HEAD_TOO_LARGE = Truth(ResponseTooLargeError, K.TOO_LARGE, S.HEADERS, True, False)
TOO_LARGE = Truth(ResponseTooLargeError, K.TOO_LARGE, S.BODY, True, False)
REDIRECT = Truth(RedirectError, K.REDIRECT, S.STATUS, True, False)


def answered(cls: type[APIError], kind: ErrorKind = K.CLIENT_ERROR, *, retryable: bool = False) -> Truth:
    """The truth about an error status."""
    return Truth(cls, kind, S.STATUS, True, retryable)


TABLE: list[tuple[Step, Truth]] = [
    (faults.drop(), LOST),
    (faults.reset(), LOST),
    (faults.garbage(b""), LOST),
    (faults.hang_before_headers(), SLOW),
    (faults.hang_in_headers(), SLOW),
    (faults.endless_informational(), NOT_HTTP),
    (faults.hang_in_body(), SLOW_BODY),
    (faults.drip(), SLOW_BODY),
    (faults.truncate(), CUT),
    (faults.truncate_chunked(), CUT),
    (faults.reset_body(), CUT),
    (faults.truncated_coding("gzip"), CUT),
    (faults.truncated_coding("deflate"), CUT),
    (faults.truncated_coding("br"), CUT),
    (faults.truncated_coding("zstd"), CUT),
    (faults.garbage(), NOT_HTTP),
    (faults.oversized_headers(), HEAD_TOO_LARGE),
    (faults.many_headers(), HEAD_TOO_LARGE),
    (faults.endless_headers(), HEAD_TOO_LARGE),
    (faults.corrupt_gzip(), NO_CODING),
    (faults.bomb(1 << 20), TOO_LARGE),
    (faults.endless_body(), TOO_LARGE),
    (faults.endless_redirect(), REDIRECT),
    (faults.redirect("https://other.example/"), REDIRECT),
    (faults.redirect("ftp://127.0.0.1/"), REDIRECT),
    (faults.reply(400), answered(BadRequestError)),
    (faults.reply(401), answered(AuthenticationError)),
    (faults.reply(403), answered(PermissionDeniedError)),
    (faults.reply(404), answered(NotFoundError)),
    (faults.reply(409), answered(ConflictError)),
    (faults.reply(418), answered(APIStatusError)),
    (faults.reply(422), answered(UnprocessableEntityError)),
    (faults.reply(429), answered(RateLimitError, K.THROTTLED)),
    (faults.reply(500), answered(InternalServerError, K.SERVER_ERROR)),
    (faults.reply(599), answered(InternalServerError, K.SERVER_ERROR)),
]
BY_NAME = pytest.mark.parametrize(("step", "truth"), TABLE, ids=[str(getattr(step, "name", step)) for step, _ in TABLE])


def truth_of(error: APIError) -> Truth:
    """Return the class, kind, stage and flags of an error."""
    return Truth(type(error), error.kind, error.stage, error.maybe_processed, error.retryable)


async def provoke(server: FaultServer, step: Step) -> APIError:
    """Return the error that a step of the server leads to."""
    server.script(step)
    stage = next((truth.stage for known, truth in TABLE if known is step and truth.kind is K.TIMEOUT), None)
    async with client(server, connection=SMALL) as api:

        async def call(limit: float) -> APIError:
            return await failure(
                api.get("/users/{id}", path_params={"id": 7}, timeout=Timeout(attempt=limit, total=None))
            )

        return await call(TIME_LIMIT) if stage is None else await stuck_in(stage, call)


# --- the table ---


@BY_NAME
async def test_fault_has_class_kind_and_stage(server: FaultServer, step: Step, truth: Truth) -> None:
    """Each fault has one meaning, and the record of the attempt agrees with the error."""
    error = await provoke(server, step)
    assert truth_of(error) == truth
    record = error.history[0]
    assert (record.kind, record.stage, record.sent) == (error.kind, error.stage, True)
    assert error.attempts == 1
    assert server.hits == 1 + len(record.redirects) or error.kind is K.TIMEOUT  # made again with a longer limit


async def test_malformed_reply_is_a_protocol_error(server: FaultServer) -> None:
    """How the bytes are split decides whether the head is seen first. The kind is the same."""
    assert (await provoke(server, faults.bad_chunk())).kind is K.PROTOCOL


@pytest.mark.one_path
async def test_excess_after_a_reply_costs_only_the_connection(server: FaultServer) -> None:
    """The reply is complete with the announced length (RFC 9112 section 6.3), whatever shares its segment."""
    server.script(faults.wrong_length(), faults.reply(text="second"))
    async with client(server) as api:
        assert (await api.get("/")).content == b'{"message"'
        assert (await api.get("/")).text == "second"
    assert server.connections == 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_retryable_follows_retry_settings(server: FaultServer, status: int) -> None:
    """The statuses of the retry settings are retryable, and none is without settings."""
    server.script(faults.reply(status))
    async with client(server) as api:
        assert (await failure(api.get("/"))).retryable is False
        assert (await failure(api.get("/", retry=Retry(max_attempts=1)))).retryable is True


async def test_refused_connection_is_not_processed() -> None:
    """The kind is CONNECT, and the operating system's error is the cause."""
    async with client(refused_url()) as api:
        error = await failure(api.post("/", json={}))
    assert truth_of(error) == Truth(APIConnectionError, K.CONNECT, S.CONNECT, False, True)
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_unknown_host_name_is_a_dns_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind DNS, and nothing was sent."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with client("http://nowhere.invalid") as api:
        assert truth_of(await failure(api.get("/"))) == Truth(APIConnectionError, K.DNS, S.DNS, False, True)


async def test_untrusted_certificate_is_a_tls_error() -> None:
    """The kind is TLS, and another attempt would meet the same certificate."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(serving)
    async with FaultServer(tls=serving) as server, client(server, retry=Retry()) as api:
        error = await failure(api.get("/"))
        assert (server.hits, server.connections, error.attempts) == (0, 0, 1)
    assert truth_of(error) == Truth(APIConnectionError, K.TLS, S.TLS, False, False)


@pytest.mark.virtual_time
async def test_silent_host_times_out_in_connect() -> None:
    """Kind TIMEOUT in stage CONNECT, and nothing was sent."""
    with black_hole(connects=False) as url:
        async with client(url, timeout=Timeout(total=5, connect=0.05)) as api:
            error = await failure(api.get("/"))
    assert truth_of(error) == Truth(APITimeoutError, K.TIMEOUT, S.CONNECT, False, True)


async def test_silent_host_times_out_in_tls() -> None:
    """Kind TIMEOUT in stage TLS, and nothing was sent."""
    with black_hole() as url:
        async with client(url.replace("http:", "https:")) as api:
            error = await stuck_in(S.TLS, lambda s: failure(api.get("/", timeout=Timeout(total=60, connect=s))))
    assert truth_of(error) == Truth(APITimeoutError, K.TIMEOUT, S.TLS, False, True)


@pytest.mark.virtual_time
async def test_idle_limit_is_a_timeout(server: FaultServer) -> None:
    """``idle`` ends a silence, before the attempt's own end."""
    server.script(faults.hang_in_body())
    async with client(server, timeout=Timeout(total=5, idle=0.05)) as api:
        error = await failure(api.get("/"))
    assert truth_of(error) == SLOW_BODY
    assert "idle=0.05" in str(error)


async def test_full_pool_is_a_pool_timeout(server: FaultServer) -> None:
    """The kind is POOL: a wait for a local slot says nothing about the host."""
    server.script(faults.hold())
    settings = ConnectionSettings(pool_size=1)
    async with client(server, connection=settings) as api, _busy(api, server):
        error = await failure(api.get("/", timeout=Timeout(attempt=0.25)))
    assert truth_of(error) == Truth(APITimeoutError, K.POOL, S.POOL, False, True)


@asynccontextmanager
async def _busy(api: APIClient, server: FaultServer) -> AsyncIterator[None]:
    task = asyncio.create_task(api.run(Call.get("/")))
    await server.wait_for_hits(1)
    yield
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_unfitting_body_is_invalid_response(server: FaultServer) -> None:
    """The reply is on the error, and was acted on."""
    server.script(faults.reply(json={"id": "seven"}))
    async with client(server) as api:
        error = await failure(api.get("/", response_model=dict[str, int]))
    assert truth_of(error) == Truth(APIResponseValidationError, K.INVALID_RESPONSE, S.DECODE, True, False)
    assert error.response.status == 200  # type: ignore[attr-defined]  # truth_of() has checked the class


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_local_refusals_send_nothing(server: FaultServer) -> None:
    """An invalid call, a late call and a call refused by the circuit send nothing."""
    async with client(server) as api:
        wrong = await failure(api.get("//elsewhere.example"))
        with deadline(after=0):
            late = await failure(api.get("/"))
        await api.get("/")
        next(iter(api.circuits.values())).force_open()
        refused = await failure(api.get("/"))
    assert truth_of(wrong) == Truth(InvalidRequestError, K.INVALID_REQUEST, S.LOCAL, False, False)
    assert truth_of(late) == Truth(DeadlineExceededError, K.DEADLINE, S.LOCAL, False, False)
    assert truth_of(refused) == Truth(CircuitOpenError, K.CIRCUIT_OPEN, S.LOCAL, False, False)
    assert server.hits == 1


# --- ordinary exceptions ---


def state(error: APIError) -> dict[str, object]:
    """Everything an error holds, in comparable form."""
    held = dict(vars(error)) | {"args": error.args, "text": str(error)}
    held["history"] = [record._asdict() for record in error.history]
    held["request"] = error.request and [getattr(error.request, name) for name in error.request.__slots__]
    if response := held.pop("response", None):
        held["reply"] = [response.status, response.content, list(response.headers.items()), response.url]
        held["reply's"] = [response.attempts, response.elapsed, response.truncated, response.request_id]
    return held


@BY_NAME
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_error_survives_pickling(server: FaultServer, step: Step, truth: Truth) -> None:
    """To another process and back: same class, same text, same attributes, notes too. A pickle holds no query."""
    error = await provoke(server, step)
    error.add_note("seen by a worker")
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert state(copy.copy(error)) == state(error)
    without_query = state(error)
    if (reply := without_query.get("reply")) is not None:
        status, content, headers, url = reply
        headers = [(name, value.partition("?")[0] if name == "Location" else value) for name, value in headers]
        without_query["reply"] = [status, content, headers, url.with_query(None)]
    assert state(pickled) == without_query
    for again in (pickled, copy.copy(error)):
        assert type(again) is truth.cls
        assert again.__notes__ == ["seen by a worker"]


@BY_NAME
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_error_text_names_the_request(server: FaultServer, step: Step, truth: Truth) -> None:
    """The text names method and route as written, not the path parameter."""
    text = str(await provoke(server, step))
    assert text.isprintable()
    assert text.startswith(f"GET {server.url}/users/{{id}}: ")


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_each_call_has_its_own_error(server: FaultServer) -> None:
    """The traceback of one call does not grow with another."""
    assert await provoke(server, faults.drop()) is not await provoke(server, faults.drop())


@BY_NAME
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_error_passes_context_managers(server: FaultServer, step: Step, truth: Truth) -> None:
    """``asynccontextmanager``, ``raise ... from`` and ``except*`` treat it as any exception."""

    @asynccontextmanager
    async def scope() -> AsyncIterator[None]:
        yield

    error = await provoke(server, step)
    with pytest.raises(truth.cls) as through:
        async with scope():
            raise error
    assert through.value is error
    cause = ValueError("why")
    with pytest.raises(truth.cls) as chained:
        raise error from cause
    assert chained.value.__cause__ is cause
    caught: list[BaseException] = []
    try:
        raise ExceptionGroup("several", [error, KeyError("other")])
    except* truth.cls as group:
        caught += group.exceptions
    except* KeyError:
        pass
    assert caught == [error]


# --- what they are ---


ALL = [
    cls
    for cls in vars(resilient_client).values()
    if isinstance(cls, type) and issubclass(cls, BaseException) and cls is not ResilientClientError
]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
@pytest.mark.one_loop
@pytest.mark.one_path
def test_error_classes_have_one_root(cls: type[Exception]) -> None:
    """All under one root, none an aiohttp error: those are caught and resent inside aiohttp."""
    assert issubclass(cls, ResilientClientError)
    assert issubclass(cls, APIError) is not issubclass(cls, ConfigurationError)
    assert not issubclass(cls, aiohttp.ClientError | OSError) or issubclass(cls, TimeoutError)


@pytest.mark.one_loop
@pytest.mark.one_path
def test_error_classes_extend_builtin_errors() -> None:
    """``except TimeoutError`` and ``except ValueError`` work."""
    assert issubclass(APITimeoutError, TimeoutError)
    assert issubclass(DeadlineExceededError, TimeoutError)
    assert issubclass(InvalidRequestError, ValueError)
    assert issubclass(ConfigurationError, ValueError)
    assert not issubclass(APIConnectionError, TimeoutError)
