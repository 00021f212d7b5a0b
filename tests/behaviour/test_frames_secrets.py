"""No frame of the library in the traceback of a failure shows a credential.

Error reporters such as Sentry send the local variables of all frames, by their ``repr``. Each place that may hold a
secret has a canary of its own, and the frames of the library are searched for all of them, those of all chained
exceptions included. Frames of the caller, of aiohttp and of pydantic are not ours to empty.
"""

from __future__ import annotations

import asyncio
import base64
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.behaviour.support import TIME_LIMIT

import resilient_client
from resilient_client import (
    APIClient,
    APIError,
    APIKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    Bulkhead,
    Call,
    ClientConfig,
    ConfigurationError,
    ConnectionSettings,
    Hedging,
    OAuth2ClientCredentials,
    Probe,
    ResilientClientError,
    Response,
    Retry,
    Timeout,
    Token,
)
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing._wire import Step

PACKAGE = str(Path(resilient_client.__file__).parent)
LEAKS = ("canary", base64.b64encode(b"canary-user:canary-password").decode(), "Y2FuYXJ5")
PROXY = "http://canary-user:canary-password@"
OPTIONS: dict[str, Any] = {
    "headers": {"X-Client": "canary-client-header"},
    "params": {"client": "canary-client-query"},
    "timeout": Timeout(total=5, attempt=0.25),
    "retry": Retry(max_attempts=2, backoff=lambda _: 0.0),
}
PLACES: dict[str, Any] = {
    "path_params": {"id": "canary-path-param"},
    "params": {"q": "canary-query"},
    "headers": {"X-Token": "canary-header", "Cookie": "session=canary-cookie"},
    "idempotent": True,
}
PATH = "/users/{id}?inline=canary-inline"
AUTHS: dict[str, Auth] = {
    "bearer": BearerAuth("canary-token"),
    "basic": BasicAuth("canary-user", "canary-password"),
    "key": APIKeyAuth("canary-key"),
    "key in query": APIKeyAuth("canary-key", name="key", location="query"),
}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all it was raised from or during, members of groups included."""
    found: list[BaseException] = [] if error is None else [error]
    for link in found:
        further = (link.__cause__, link.__context__, *getattr(link, "exceptions", ()))
        found.extend(one for one in further if one is not None and one not in found)
    yield from found


def shown(value: object) -> str:
    """The ``repr`` of a local variable. Half-built objects have none."""
    try:
        return repr(value)
    except Exception:
        return ""


def leaks(error: BaseException, of: str = PACKAGE) -> list[str]:
    """Return the variables with a canary in the frames of the library: file, function, line, name."""
    return [
        f"{frame.f_code.co_filename}, {frame.f_code.co_qualname}, line {line}: {name}"
        for link in chain(error)
        for frame, line in traceback.walk_tb(link.__traceback__)
        if frame.f_code.co_filename.startswith(of)
        for name, value in frame.f_locals.items()
        if any(leak in shown(value) for leak in LEAKS)
    ]


async def raised(awaitable: Awaitable[object]) -> BaseException:
    """Return what the awaitable raises."""
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await awaitable
    except (Exception, asyncio.CancelledError) as error:
        return error
    raise AssertionError("it succeeded")


async def streamed(api: APIClient) -> None:
    """Read a stream to its end."""
    async with api.stream("POST", PATH, **PLACES) as stream:
        await stream.read()
        raise APIError("the stream was whole")


async def gathered(api: APIClient) -> None:
    """Raise the failures of a fan-out."""
    result = await api.gather([Call.post(PATH, response_model=int, json={"body": "canary-body"}, **PLACES)])
    result.raise_for_failures()


async def iterated(api: APIClient) -> None:
    """Raise the failure of the other fan-out."""
    async with api.as_completed([Call.post(PATH, response_model=int, **PLACES)]) as outcomes:
        async for outcome in outcomes:
            raise getattr(outcome, "error", APIError())


async def cancelled(api: APIClient) -> None:
    """Cancel a call that has reached the server, or is on its way."""
    task = asyncio.create_task(api.post(PATH, response_model=int, **PLACES))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await task


WAYS: dict[str, Callable[[APIClient], Awaitable[object]]] = {
    "call": lambda api: api.post(PATH, response_model=int, json={"body": "canary-body"}, **PLACES),
    "files": lambda api: api.post(PATH, response_model=int, files={"f": b"canary-file"}, **PLACES),
    "coalesced": lambda api: api.get(PATH, response_model=int, coalesce=True, **PLACES),
    "hedged": lambda api: api.get(PATH, response_model=int, hedging=Hedging(delay=0.05), **PLACES),
    "streamed": streamed,
    "gathered": gathered,
    "iterated": iterated,
    "cancelled": cancelled,
}
STEPS: dict[str, list[Step]] = {
    "dropped": [faults.drop()],
    "silent": [faults.hang_before_headers()],
    "silent in body": [faults.hang_in_body(b"x" * 20)],
    "truncated": [faults.truncate(b"1" * 100, sent=50)],
    "not HTTP": [faults.garbage(b"HTTP/1.1 200 OK\r\nSet-Cookie: canary-reply\r\ncanary reply\r\n\r\n")],
    "not JSON": [faults.reply(200, text="canary-reply", headers={"Set-Cookie": "canary-reply"})],
    "other JSON": [faults.reply(200, json={"canary-field": "canary-reply"})],
    "too large": [faults.reply(200, text="canary-reply" * 1000)],
    "401": [faults.reply(401, text="canary-reply")],
    "503": [faults.reply(503, text="canary-reply", headers={"Set-Cookie": "canary-reply"})],
    "redirected away": [faults.redirect("http://canary:canary@other.example/x?canary=canary")],
    "dropped after redirect": [faults.redirect("/elsewhere?canary=canary"), faults.drop()],
}


@pytest.mark.usefixtures("both_paths")
@pytest.mark.virtual_time
@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("steps", STEPS)
async def test_failure_leaves_no_secret_in_frames(server: FaultServer, steps: str, auth: str) -> None:
    """However a call is made and fails, and whichever credentials it carries."""
    settings = ConnectionSettings(max_response_size=1000)
    async with APIClient(server.url, auth=AUTHS[auth], connection=settings, **OPTIONS) as api:
        for way in WAYS.values():
            server.script(*STEPS[steps])
            assert leaks(await raised(way(api))) == []


@pytest.mark.one_loop
@pytest.mark.parametrize("url", ["http://h.example", "https://h.example"])
async def test_proxy_failure_leaves_no_secret_in_frames(server: FaultServer, url: str) -> None:
    """The proxy refuses, is not there, or is silent until the call is cancelled."""
    for proxy, step in ((server.url, faults.reply(407)), (refused_url(), faults.drop())):
        server.script(step)
        settings = ConnectionSettings(proxy=proxy.replace("http://", PROXY))  # type: ignore[arg-type]  # converted
        async with APIClient(url, auth=AUTHS["basic"], connection=settings, **OPTIONS) as api:
            assert leaks(await raised(api.post(PATH, **PLACES))) == []
            server.script(faults.hang_before_headers())
            assert leaks(await raised(cancelled(api))) == []


@pytest.mark.one_loop
async def test_limits_leave_no_secret_in_frames() -> None:
    """A host that is not there, a call that waits for a permit, and an open circuit."""
    async with APIClient(refused_url(), auth=AUTHS["basic"], bulkhead=Bulkhead(max_concurrent=1), **OPTIONS) as api:
        for _ in range(6):
            assert leaks(await raised(api.post(PATH, **PLACES))) == []
        api._runtime.circuits = None
        errors = await asyncio.gather(*(api.post(PATH, **PLACES) for _ in range(5)), return_exceptions=True)
        assert [leaks(error) for error in errors if isinstance(error, BaseException)] == [[]] * 5


@pytest.mark.one_loop
async def test_bug_leaves_no_secret_in_frames(server: FaultServer) -> None:
    """An exception that is not expected keeps its whole traceback, and the frames of the library show nothing."""

    async def broken(request: Request, call_next: Handler) -> Response:
        await call_next(request)
        raise KeyError("a bug")

    for place in ("middleware", "attempt_middleware"):
        async with APIClient(server.url, auth=AUTHS["basic"], **OPTIONS, **{place: [broken]}) as api:
            error = await raised(api.post(PATH, **PLACES))
        assert isinstance(error, KeyError)
        assert "broken" in [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert leaks(error) == []


OAUTH: dict[str, Step] = {
    "503": faults.reply(503),
    "refused": faults.reply(401, json={"error": "invalid_client", "error_description": "canary"}),
    "invalid": faults.reply(200, json={"access_token": "canary\n", "token_type": "bearer"}),
    "mistyped": faults.reply(200, json={"access_token": "canary", "token_type": "mac"}),
    "dropped": faults.drop(),
    "silent": faults.hang_before_headers(),
}


@pytest.mark.virtual_time
@pytest.mark.parametrize("client_auth", ["basic", "post"])
@pytest.mark.parametrize("step", OAUTH)
async def test_token_failure_leaves_no_secret_in_frames(server: FaultServer, step: str, client_auth: Any) -> None:
    """Neither for the call that needs the token, nor for code that applies the auth object itself."""
    server.script(OAUTH[step])
    auth = OAuth2ClientCredentials(
        f"{server.url}/token?q=canary-query",
        "canary-id",
        "canary-secret",
        extra={"more": "canary-extra"},
        client_auth=client_auth,
        timeout=0.3,
    )
    async with APIClient("http://h.example", auth=auth) as api:
        assert leaks(await raised(api.get("/"))) == []
        request, _ = api._executor.begin(Call.get("/"))
        assert leaks(await raised(auth.apply(request))) == []
        auth._keeper._failure = None
        assert leaks(await raised(auth.apply(request))) == []


@pytest.mark.one_loop
async def test_provided_token_leaves_no_secret_in_frames() -> None:
    """A token that does not fit into a header is refused without showing it."""

    async def provide() -> str:
        return "canary\n"

    async with APIClient("http://h.example") as api:
        request, _ = api._executor.begin(Call.get("/"))
        assert leaks(await raised(BearerAuth(provide).apply(request))) == []


REFUSED_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("http://canary-user:canary@elsewhere.example", {}),
    ("//user:canary@elsewhere.example", {}),
    ("/a b?canary", {}),
    ("/../?canary", {}),
    ("/{id}?canary", {}),
    ("/", {"path_params": {"id": "canary"}}),
    ("/{id}", {"path_params": {"id": "../canary"}}),
    ("/{id}", {"path_params": {"id": ["canary"]}}),
    ("/", {"params": {"q": "canary\ud800"}}),
    ("/", {"params": {"q": {"canary": "canary"}}}),
    ("/", {"headers": {"X-Token": "canary\r\n"}}),
    ("/", {"headers": {"X-Token": b"canary"}}),
    ("/", {"headers": ["canary"]}),
    ("/", {"json": {"field": ("canary", object())}}),
    ("/", {"data": {"canary": object()}}),
    ("/", {"files": {"f": ["canary"]}}),
    ("/", {"json": 1, "data": {"canary": "canary"}}),
    ("/", {"timeout": -1, **PLACES}),
    ("/", {"response_model": 3, **PLACES}),
    ("/", {"tags": 3, **PLACES}),
    ("/", {"nonsense": 3, **PLACES}),
]


@pytest.mark.one_loop
@pytest.mark.parametrize(("path", "options"), REFUSED_CALLS, ids=range(len(REFUSED_CALLS)))
async def test_refused_call_leaves_no_secret_in_frames(path: str, options: dict[str, Any]) -> None:
    """The frames in which an argument is checked are dropped: the message says all."""
    for base in ("https://api.example.com", None):
        async with APIClient(base) as api:
            for run in (lambda: api.post(path, **options), lambda: api.run(Call("POST", path, **options))):
                try:
                    outcome = await run()
                    error: BaseException = getattr(outcome, "error", APIError())
                except Exception as failure:
                    error = failure
                assert isinstance(error, APIError)
                assert leaks(error) == []


REFUSED_SETTINGS: list[Callable[[], object]] = [
    lambda: APIClient("https://user:canary@h"),
    lambda: APIClient("https://h/?k=canary"),
    lambda: APIClient("ftp://h/?k=canary"),
    lambda: APIClient("https://user:canary@h:port"),
    lambda: APIClient(["https://h", "http://user:canary@g"]),
    lambda: APIClient("https://h", headers={"X-Token": "canary\n"}),
    lambda: APIClient("https://h", params={"q": {"canary": "canary"}}),
    lambda: APIClient("https://h", headers={"X-Token": "canary"}, timeout=-1),
    lambda: APIClient("https://h", headers={"X-Token": "canary"}, nonsense=1),  # type: ignore[arg-type]  # the mistake
    lambda: APIClient("https://h", auth=("user", "canary")),  # type: ignore[arg-type]  # the mistake
    lambda: APIClient("https://h").with_options(headers={"X-Token": "canary\n"}),
    lambda: APIClient("https://h").with_options(headers={"X-Token": "canary"}, timeout=-1),
    lambda: ConnectionSettings(proxy="ftp://u:canary@h"),
    lambda: ConnectionSettings(proxy="http://u:canary@h", pool_size=-1),
    lambda: ConnectionSettings(pool_size="http://u:canary@h"),
    lambda: ConnectionSettings(proxxy="http://u:canary@h"),
    lambda: ClientConfig(connection={"proxy": ["http://u:canary@h"]}),
    lambda: ClientConfig(connection="http://u:canary@h"),
    lambda: ClientConfig(connection=["http://u:canary@h"]),
    lambda: ClientConfig(connection={"proxy": "http://u:canary@h"}, timeout=-1),
    lambda: ClientConfig.model_validate_json('{"connection": {"proxy": "http://u:canary@h", }}'),
    lambda: BearerAuth("canary\n"),
    lambda: BasicAuth("user", "canary\n"),
    lambda: APIKeyAuth("canary", name="a b"),
    lambda: APIKeyAuth("canary\n"),
    lambda: OAuth2ClientCredentials("https://u:canary@h/t", "canary", "canary"),
    lambda: OAuth2ClientCredentials("https://h/t", "canary", "canary", extra={"scope": "canary"}),
    lambda: OAuth2ClientCredentials("https://h/t", "canary", "canary", timeout=-1),
    lambda: Token("canary", -1),
    lambda: Probe("ftp://u:canary@h/?x=canary"),
    lambda: Probe("https://h", headers={"X-Token": "canary\n"}),
    lambda: Call("GET", "/?x=canary", nonsense=1, **PLACES),
    lambda: Call("G T", "/?x=canary", **PLACES),
    lambda: Call.get("/", nonsense=1, **PLACES),
]


@pytest.mark.parametrize("make", REFUSED_SETTINGS, ids=range(len(REFUSED_SETTINGS)))
def test_refused_setting_leaves_no_secret_in_frames(make: Callable[[], object]) -> None:
    """Nor does the error of a constructor, whose own arguments lie in its frame, or show in its text."""
    with pytest.raises((ResilientClientError, ValueError)) as caught:
        make()
    assert leaks(caught.value) == []
    assert not [link for link in chain(caught.value) if "canary" in f"{link} {link!r}"]


@pytest.mark.parametrize(
    "values",
    [
        {"connection": {"proxy": "ftp://u:canary@h"}},
        {"connection": {"proxy": ["http://u:canary@h"]}},
        {"connection": {"proxy": "http://u:canary@h", "pool_size": -1}},
        {"connection": {"proxy": "http://u:canary@h", 3: 3}},
        {"connection": {"proxy": "http://u:canary@h"}, "timeout": -1},
        {"connection": "http://u:canary@h"},
        {"proxy": "http://u:canary@h"},
        "http://u:canary@h",
    ],
    ids=range(8),
)
def test_validation_by_pydantic_shows_no_secret(values: object) -> None:
    """``model_validate`` of a config, also as a field of the user's own model, shows neither text nor inputs."""
    from pydantic import BaseModel, ValidationError

    class Own(BaseModel):
        client: ClientConfig

    for validate in (lambda: ClientConfig.model_validate(values), lambda: Own.model_validate({"client": values})):
        with pytest.raises(ValidationError) as caught:
            validate()
        assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.errors()}"
        assert leaks(caught.value) == []


@pytest.mark.one_loop
async def test_frames_of_caller_are_found() -> None:
    """Negative control: the search finds a credential in the frame of a caller, whose code it is."""

    async def caller() -> None:
        secret = "canary-of-the-caller"
        async with APIClient("http://h.example") as api:
            await api.get("/{id}", headers={"X-Token": secret})

    assert [leak for leak in leaks(await raised(caller()), of=__file__) if leak.endswith(": secret")]


@pytest.mark.parametrize(
    "path",
    [
        "https://user:canary@h/x",
        "https://canary@h/x",
        "//user:canary@h/x",
        "user:canary@h/x",
        "https:/user:canary@h/x",
        "https://user:ca?nary@h/x",
        "https://user:ca#nary@h/x",
        "/x?q=a@canary",
    ],
)
def test_call_shows_no_userinfo(path: str) -> None:
    """``repr`` of a call shows its route, without credentials in front of an ``@`` and without the query."""
    text = repr(Call.get(path))
    assert not [leak for leak in ("canary", "user:ca", "nary") if leak in text]


def test_call_shows_its_route() -> None:
    """What is not in front of an ``@`` is kept."""
    assert repr(Call.get("/users/{id}?q=1")) == "<Call GET /users/{id}>"
    assert repr(Call.get("/@scope/package")) == "<Call GET /@scope/package>"
    assert repr(Call.get("https://u:p@h/x")) == "<Call GET https://***@h/x>"


@pytest.mark.parametrize("url", ["ftp://h/?k=canary", "ftp://h/?k=a@canary", "ftp://u:ca?nary@h", "h/?canary"])
def test_base_url_error_shows_no_query(url: str) -> None:
    """A base URL that is refused for its scheme is shown without its query."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(url)
    assert not [leak for leak in ("canary", "u:ca", "nary") if leak in str(caught.value)]
