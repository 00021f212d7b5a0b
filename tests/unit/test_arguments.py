"""Wrong arguments: every public parameter is tested with every kind of wrong value.

A parameter may accept a value, such as ``True`` for a flag. A value that it refuses raises ``ConfigurationError`` or
``InvalidRequestError`` with one sentence, never an exception from deep inside. Nothing is sent.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from tests.unit.wrong_values import WRONG

from resilient_client import (
    AdaptiveConcurrency,
    APIClient,
    APIError,
    APIKeyAuth,
    Backoff,
    BasicAuth,
    BearerAuth,
    Bulkhead,
    Call,
    CircuitBreaker,
    ConfigurationError,
    ConnectionSettings,
    ErrorKind,
    Fallback,
    HealthCheck,
    Hedging,
    InvalidRequestError,
    LoadBalancing,
    OAuth2ClientCredentials,
    Probe,
    Prober,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    Token,
    as_completed,
    deadline,
    gather,
    resolve_dns,
)
from resilient_client._core.call import OPTION_NAMES
from resilient_client._settings.config import ClientConfig
from resilient_client.testing import MockUpstream

pytestmark = pytest.mark.one_loop

URL = "https://api.example.com"
REFUSED = (ConfigurationError, InvalidRequestError)

Use: TypeAlias = Callable[[Any], object]
"""Uses a value as one parameter; may return an awaitable."""


def parameters(function: Callable[..., object], *excluded: str) -> list[str]:
    """Return the names of the parameters of a function."""
    excluded = ("self", "unknown", "more", *excluded)
    return [name for name in inspect.signature(function).parameters if name not in excluded]


def assert_one_sentence(error: Exception) -> None:
    """Assert that the text is a single printable line of reasonable length, and not empty."""
    text = str(error)
    assert text
    assert text.isprintable()
    assert len(text) < 600


async def walk(use: Use, upstream: MockUpstream) -> None:
    """Use every wrong value, and assert that each is accepted, or refused before anything is sent.

    A call whose value was accepted may fail in a foreseen way, for example because the answer does not fit the model.
    """
    faults: list[str] = []
    for kind, make in WRONG.items():
        upstream.requests.clear()
        value = make()
        try:
            returned = use(value)
            if inspect.isawaitable(returned):
                await returned
        except REFUSED as error:
            assert_one_sentence(error)
            if upstream.requests:
                faults.append(f"{kind}: refused after it was sent: {error}")
        except APIError as error:
            if error.kind is ErrorKind.UNEXPECTED:
                faults.append(f"{kind}: {error} {error.__cause__!r}")
        except Exception as error:
            faults.append(f"{kind}: {type(error).__name__}")
        finally:
            if inspect.iscoroutine(value):
                value.close()
    assert faults == []


async def drain(outcomes: Any) -> None:
    """Consume a fan-out to its end."""
    async with outcomes:
        async for _ in outcomes:
            pass


def using(api: APIClient, **options: Any) -> Awaitable[object]:
    """Send a call through a client with these options."""
    return APIClient(URL, retry=None, transport=api._runtime.transport, **options).get("/")


@pytest.mark.parametrize("name", parameters(APIClient.__init__))
async def test_client_parameter_refuses_wrong_values(name: str, upstream: MockUpstream) -> None:
    """A client refuses a wrong argument when it is built, or at the latest in a call before that is sent."""

    async def use(value: Any) -> None:
        arguments: dict[str, Any] = {"base_url": URL, "retry": None, "transport": upstream, name: value}
        if name == "session":
            del arguments["transport"]
        client = APIClient(**arguments)
        if name not in {"session", "transport"}:
            await client.get("/" if arguments["base_url"] is not None else URL)

    await walk(use, upstream)


SETTINGS: dict[Any, dict[str, Any]] = {
    ClientConfig: {},
    Timeout: {},
    Retry: {},
    Backoff: {},
    RetryBudget: {},
    CircuitBreaker: {},
    Hedging: {},
    RateLimit: {"rate": 1},
    Bulkhead: {"max_concurrent": 1},
    AdaptiveConcurrency: {},
    LoadBalancing: {},
    HealthCheck: {},
    ConnectionSettings: {},
}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
async def test_settings_refuse_wrong_values(settings: Any, upstream: MockUpstream) -> None:
    """Every field of every settings class."""
    for name in settings.model_fields:
        await walk(lambda value, name=name: settings(**(SETTINGS[settings] | {name: value})), upstream)


@pytest.mark.parametrize("name", ["method", "path", *sorted(OPTION_NAMES), "response_model", "key", "client"])
async def test_call_parameter_refuses_wrong_values(name: str, api: APIClient, upstream: MockUpstream) -> None:
    """A call refuses a wrong argument before anything is sent, or accepts it: raised, as an outcome, and streamed."""

    def call(value: Any) -> Any:
        return Call(**({"method": "POST", "path": "/"} | {name: value}))

    async def run(value: Any) -> None:
        described = call(value)
        assert repr(described)
        outcome = await api.run(described)
        if not outcome.ok:
            raise outcome.error  # type: ignore[attr-defined]

    async def stream(value: Any) -> None:
        async with api.stream("POST", "/", **{name: value}) as response:
            await response.read()

    await walk(lambda value: api.send(call(value)), upstream)
    await walk(run, upstream)
    if name in OPTION_NAMES:
        await walk(stream, upstream)
        await walk(lambda value: str(api.explain("POST", "/", **{name: value})), upstream)


@pytest.mark.parametrize("name", ["params", "headers", "data", "files", "path_params", "json"])
async def test_option_refuses_wrong_parts(name: str, api: APIClient, upstream: MockUpstream) -> None:
    """A wrong value inside of an option: as a name, as a value, and as an item of a list."""

    def use(part: Callable[[Any], object]) -> Use:
        path = "/{a}" if name == "path_params" else "/"
        return lambda value: api.post(path, **{name: part(value)})

    def hashable(value: Any) -> Any:
        try:
            hash(value)
        except Exception:
            return "a"
        return value

    await walk(use(lambda value: {hashable(value): "a"}), upstream)
    await walk(use(lambda value: {"a": value}), upstream)
    await walk(use(lambda value: [value]), upstream)
    await walk(use(lambda value: [("a", value)]), upstream)


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_file_refuses_wrong_parts(position: int, api: APIClient, upstream: MockUpstream) -> None:
    """The name, the content and the media type of a file."""

    def use(value: Any) -> object:
        file: list[Any] = ["a.txt", b"content", "text/plain"]
        file[position] = value
        return api.post("/", files={"a": tuple(file)})

    await walk(use, upstream)


@pytest.mark.parametrize("name", parameters(APIClient.with_options))
async def test_view_parameter_refuses_wrong_values(name: str, api: APIClient, upstream: MockUpstream) -> None:
    """A view refuses a wrong option with one sentence, or accepts it."""
    await walk(lambda value: api.with_options(**{name: value}).get("/"), upstream)


@pytest.mark.parametrize("name", parameters(APIClient.gather, "calls", "progress"))
async def test_gather_parameter_refuses_wrong_values(name: str, api: APIClient, upstream: MockUpstream) -> None:
    """A fan-out refuses a wrong argument with one sentence, or accepts it."""
    await walk(lambda value: api.gather([Call.get("/")], **{name: value}), upstream)


async def test_gather_refuses_wrong_progress(api: APIClient, upstream: MockUpstream) -> None:
    """The walk would show a bar for each title."""
    for value in (1, b"title", [], object()):
        with pytest.raises(REFUSED):
            await api.gather([Call.get("/")], progress=value)  # type: ignore[arg-type]
    assert upstream.requests == []


@pytest.mark.parametrize("name", parameters(APIClient.as_completed, "calls"))
async def test_as_completed_refuses_wrong_values(name: str, api: APIClient, upstream: MockUpstream) -> None:
    """The same for the other fan-out."""
    await walk(lambda value: drain(api.as_completed([Call.get("/")], **{name: value})), upstream)


async def test_fan_out_refuses_wrong_calls(api: APIClient, upstream: MockUpstream) -> None:
    """Items that are not calls, and clients that cannot run any."""
    await walk(lambda value: api.gather([value]), upstream)
    await walk(lambda value: drain(api.as_completed([value])), upstream)
    await walk(lambda value: api.gather(item for item in [value]), upstream)
    await walk(lambda value: gather([Call.get("/")], client=value), upstream)
    await walk(lambda value: drain(as_completed([Call.get("/")], client=value)), upstream)


WHOLE: dict[str, Callable[[APIClient, Any], object]] = {
    "send": lambda api, value: api.send(value),
    "run": lambda api, value: api.run(value),
    "get": lambda api, value: api.get(value),
    "subscribe": lambda api, value: api.subscribe(value),
    "subscribe to": lambda api, value: api.subscribe(print, value),
    "middleware": lambda api, value: using(api, middleware=[value]),
    "attempt_middleware": lambda api, value: using(api, attempt_middleware=[value]),
    "base_url": lambda api, value: APIClient([value]),
    "set_endpoints": lambda api, value: APIClient([URL]).set_endpoints(value),
    "resolve_dns": lambda api, value: resolve_dns(value),
    "deadline after": lambda api, value: deadline(after=value).__enter__(),
    "deadline at": lambda api, value: deadline(at=value).__enter__(),
    "fallback": lambda api, value: Fallback(value),
    "fallback kinds": lambda api, value: Fallback(1, kinds=value),
    "probes": lambda api, value: Prober([value]),
    "named probe": lambda api, value: Prober({"a": value}),
    "extra of OAuth": lambda api, value: OAuth2ClientCredentials(URL, "a", "b", extra={"x": value}),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_other_parameter_refuses_wrong_values(name: str, api: APIClient, upstream: MockUpstream) -> None:
    """Parameters with a function of their own."""
    await asyncio.create_task(walk(lambda value: WHOLE[name](api, value), upstream))  # a deadline ends with its task


BUILT: dict[Any, dict[str, Any]] = {
    BearerAuth: {"token": "a"},
    BasicAuth: {"username": "a", "password": "b"},
    APIKeyAuth: {"key": "a"},
    OAuth2ClientCredentials: {"token_url": URL, "client_id": "a", "client_secret": "b"},
    Token: {"value": "a"},
    Probe: {"target": URL},
    Prober: {"targets": [URL]},
}


@pytest.mark.parametrize("built", BUILT, ids=lambda built: built.__name__)
async def test_constructor_refuses_wrong_values(built: Any, upstream: MockUpstream) -> None:
    """Auth objects and health checks are checked when they are built, and can be shown."""
    for name in parameters(built.__init__):
        # No awaitable is returned, so the objects are only built.
        await walk(lambda value, name=name: repr(built(**(BUILT[built] | {name: value}))), upstream)


@pytest.mark.parametrize("path", [["/a"], ("/a",), {"/a"}, b"/a", 5, None])
async def test_path_that_is_not_text_is_refused(path: Any, api: APIClient, upstream: MockUpstream) -> None:
    """A path of another type is refused before anything is sent. A list of paths is a likely mistake."""
    with pytest.raises(InvalidRequestError) as caught:
        await api.get(path)
    assert_one_sentence(caught.value)
    assert upstream.requests == []


@pytest.mark.parametrize("value", [2, 2.0, "2s", "2000ms", timedelta(seconds=2)], ids=repr)
async def test_duration_is_the_same_everywhere(value: Any, upstream: MockUpstream) -> None:
    """Settings, calls, deadlines and fan-outs accept the same forms of a duration."""
    async with APIClient(URL, transport=upstream, timeout=value) as api:
        assert api.config.timeout is not None
        assert api.config.timeout.total == 2
        await api.get("/", timeout=value)
        assert len(await api.gather([Call.get("/")], timeout=value)) == 1
        async with api.as_completed([Call.get("/")], timeout=value) as outcomes:
            assert [outcome.ok async for outcome in outcomes] == [True]
        with deadline(after=value) as ends_at:
            assert 0 < ends_at - asyncio.get_running_loop().time() <= 2


@pytest.mark.parametrize(
    "value",
    [True, False, float("nan"), 10**400, "two", "2 minutes", b"2s", [2], (3, 5), object()],
    ids=["true", "false", "nan", "huge", "word", "sentence", "bytes", "list", "pair", "object"],
)
async def test_wrong_duration_is_refused_everywhere(value: Any, api: APIClient, upstream: MockUpstream) -> None:
    """Every place refuses the same wrong durations, including booleans, which are numbers in Python."""
    for use in (
        lambda: APIClient(URL, timeout=value),
        lambda: api.with_options(timeout=value),
        lambda: api.as_completed([Call.get("/")], timeout=value),
        lambda: deadline(after=value).__enter__(),
        lambda: deadline(at=value).__enter__(),
    ):
        with pytest.raises(REFUSED) as caught:
            use()
        assert_one_sentence(caught.value)
    for call in (api.get("/", timeout=value), api.gather([Call.get("/")], timeout=value)):
        with pytest.raises(REFUSED) as caught:
            await call
        assert_one_sentence(caught.value)
    assert upstream.requests == []
