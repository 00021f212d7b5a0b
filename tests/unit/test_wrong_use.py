"""Habits from other libraries, and the usual slips: each error says what to write instead, and nothing is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from resilient_client import (
    APIClient,
    APIError,
    Call,
    ConfigurationError,
    ErrorKind,
    Failure,
    Handler,
    InvalidRequestError,
    Prober,
    Request,
    Response,
    as_completed,
    gather,
)
from resilient_client._core.call import OPTION_NAMES
from resilient_client._core.foreign_names import ANYWHERE, CLIENT_ONLY, CREDENTIALS, ON_CALL, ON_CLIENT
from resilient_client.events import CallFinished
from resilient_client.testing import MockUpstream, reply

pytestmark = pytest.mark.one_loop

URL = "https://api.example.com"


# --- keywords ---


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("allow_redirects", "write follow_redirects='same-origin' (the default), 'any', or None"),
        ("verify", "write connection=ConnectionSettings(tls=...)"),
        ("ssl", "write connection=ConnectionSettings(tls=...)"),
        ("cert", "write connection=ConnectionSettings(tls=...)"),
        ("proxy", "write connection=ConnectionSettings(proxy='http://"),
        ("proxies", "write connection=ConnectionSettings(proxy='http://"),
        ("max_retries", "write retry=Retry(max_attempts=...)"),
        ("limits", "write connection=ConnectionSettings(pool_size=..."),
        ("cookies", "write connection=ConnectionSettings(cookies=True)"),
        ("event_hooks", "write middleware=[...], or api.subscribe(listener)"),
        ("json", "it is an option of a call: api.request(method, path, json=...)"),
        ("timout", "did you mean 'timeout'?"),
    ],
)
def test_foreign_keyword_of_a_client_is_translated(name: str, hint: str) -> None:
    """A client says what requests, httpx and aiohttp call otherwise."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(URL, **{name: None})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"APIClient has no setting {name!r}; {hint}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("allow_redirects", "it is a setting of the client: follow_redirects='same-origin'"),
        ("follow_redirects", "it is a setting of the client: follow_redirects=..."),
        ("verify", "it is a setting of the client: connection=ConnectionSettings(tls=...)"),
        ("proxy", "it is a setting of the client: connection=ConnectionSettings(proxy='http://"),
        ("auth", "it is a setting of the client: auth=..."),
        ("max_retries", "write retry=Retry(max_attempts=...)"),
        ("body", "write content=... for bytes and text, or json=... for a value"),
        ("stream", "write async with api.stream(method, path) as response"),
        ("jsn", "did you mean 'json'?"),
    ],
)
async def test_foreign_keyword_of_a_call_is_translated(
    name: str, hint: str, api: APIClient, upstream: MockUpstream
) -> None:
    """A call says what to write, and where."""
    for use in (api.post, Call.post, lambda path, **options: api.stream("POST", path, **options).__aenter__()):
        with pytest.raises(InvalidRequestError) as caught:
            await use("/", **{name: None})  # type: ignore[operator]
        assert str(caught.value).startswith(f"a call has no option {name!r}; {hint}")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("auth", "all views of a client share it: APIClient(auth=...)"),
        ("verify", "write connection=ConnectionSettings(tls=...)"),
        ("tags", "it is an option of a call: api.request(method, path, tags=...)"),
    ],
)
def test_foreign_keyword_of_a_view_is_translated(name: str, hint: str) -> None:
    """A view says who has the setting."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(URL).with_options(**{name: None})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"with_options() has no setting {name!r}; {hint}")


def test_translated_names_are_not_our_own() -> None:
    """Nothing that works is in the tables, and the table of our own settings is complete."""
    of_client = {name for name in inspect.signature(APIClient.__init__).parameters if name not in {"self", "unknown"}}
    foreign = {*ON_CLIENT, *ANYWHERE, *ON_CALL, *CREDENTIALS}
    assert not foreign & of_client
    assert not foreign & OPTION_NAMES
    of_view = set(inspect.signature(APIClient.with_options).parameters)
    assert of_client - of_view - OPTION_NAMES == CLIENT_ONLY


@pytest.mark.parametrize(
    ("name", "hint"),
    [("status_code", "write response.status"), ("reason", "write http.HTTPStatus"), ("read", "write response.content")],
)
async def test_foreign_attribute_of_a_response_is_translated(name: str, hint: str, api: APIClient) -> None:
    """An unknown attribute is an ``AttributeError``, as Python's own protocols require."""
    response = await api.get("/")
    with pytest.raises(AttributeError, match=hint):
        getattr(response, name)
    with pytest.raises(AttributeError, match=r"a Response has no 'nonsense'$"):
        response.nonsense  # noqa: B018  # type: ignore[attr-defined]
    assert not hasattr(response, "__len__")


# --- fan-outs ---


async def test_calls_one_by_one_are_refused(api: APIClient, upstream: MockUpstream) -> None:
    """As to ``asyncio.gather``. A coroutine that is refused does not stay behind unawaited: warnings are errors."""
    call = Call.get("/", client=api)
    uses: list[Callable[[], Any]] = [
        lambda: api.gather(call, call),  # type: ignore[arg-type]
        lambda: gather(call, call),  # type: ignore[arg-type]
        lambda: api.gather(api.get("/"), api.get("/")),  # type: ignore[arg-type]
    ]
    for use in uses:
        with pytest.raises(InvalidRequestError, match=r"takes its calls as one list; give gather\(\[Call.get"):
            await use()
    for started in (api.as_completed, as_completed):
        with pytest.raises(InvalidRequestError, match=r"give as_completed\(\[Call.get"):
            started(call, call)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="calls is of type Call; give an iterable of calls"):
        await api.gather(call)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"item 0 of the fan-out is a coroutine, .*; give Call.get"):
        await api.gather([api.get("/")])  # type: ignore[list-item]
    assert upstream.requests == []


# --- middlewares ---


async def forgets(request: Request, call_next: Handler) -> Response:
    await call_next(request)  # type: ignore[return]


def not_async(request: Request, call_next: Handler) -> Any:
    request.headers["X-Seen"] = "yes"


def passes_on(request: Request, call_next: Handler) -> Any:
    return call_next(request)


async def yields(request: Request, call_next: Handler) -> Any:
    yield await call_next(request)


class ASGI:
    """A middleware of another kind."""

    async def __call__(self, scope: object, receive: object, send: object) -> None: ...


@pytest.mark.parametrize("where", ["middleware", "attempt_middleware"])
@pytest.mark.parametrize("outer", [[], [passes_on]], ids=["alone", "inside another"])
async def test_middleware_without_return_is_named(where: str, outer: list[Any], upstream: MockUpstream) -> None:
    """The middleware itself is named, not the link outside that misses the response."""
    async with APIClient(URL, transport=upstream, **{where: [*outer, forgets]}) as api:
        with pytest.raises(ConfigurationError, match=r"the middleware 'forgets' returned None .*; write return await"):
            await api.get("/")
        outcome = await api.run(Call.get("/"))
        assert isinstance(outcome, Failure)
        assert outcome.kind is ErrorKind.UNEXPECTED
        assert "'forgets' returned None" in str(outcome.error)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("where", ["middleware", "attempt_middleware"])
async def test_middleware_that_is_not_async_is_named(where: str, upstream: MockUpstream) -> None:
    """Nothing is sent. A plain function that returns the awaitable of the next handler is fine."""
    async with APIClient(URL, transport=upstream, **{where: [not_async]}) as api:
        with pytest.raises(ConfigurationError, match="the middleware 'not_async' is not async, it returned None"):
            await api.get("/")
    assert upstream.requests == []
    async with APIClient(URL, transport=upstream, **{where: [passes_on]}) as api:
        assert (await api.get("/")).status == 200


@pytest.mark.parametrize(
    ("middleware", "fault"),
    [
        (yields, "middleware[0] yields, where a middleware awaits call_next(request) and returns its response"),
        (ASGI(), "middleware[0] cannot be called with a request and the next handler"),
        (ASGI, "middleware[0] is the class ASGI"),
        (lambda request: None, "middleware[0] cannot be called with a request and the next handler"),
    ],
    ids=["generator", "ASGI", "class", "one argument"],
)
def test_middleware_of_another_kind_is_refused(middleware: Any, fault: str) -> None:
    """What can be seen from outside is found when the client is built."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(URL, middleware=[middleware])
    assert str(caught.value) == f"{fault}; give a list of async functions (request, call_next)"


# --- observers ---


class AsyncListener:
    async def __call__(self, event: object) -> None: ...


async def async_listener(event: object) -> None: ...


@pytest.mark.parametrize(
    ("listener", "fault"),
    [
        (async_listener, "the listener is async, but is not awaited"),
        (AsyncListener(), "the listener is async, but is not awaited"),
        (list, "the listener is the class list"),
        (None, "the listener is None"),
        (lambda: None, "the listener cannot be called with one event"),
    ],
    ids=["async", "async object", "class", "none", "no argument"],
)
def test_listener_that_cannot_listen_is_refused(listener: Any, fault: str) -> None:
    """Its events would be lost without a word."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(URL).subscribe(listener)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("CallFinished", "of type str"), (str, "'str'"), (None, "None"), ([CallFinished], "of type list")],
    ids=["name", "other class", "none", "list"],
)
def test_type_that_is_no_event_is_refused(kind: Any, shown: str) -> None:
    """The listener would wait for events that never come."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(URL).subscribe(print, CallFinished, kind)
    assert str(caught.value).startswith(f"the type of event is {shown}; give classes of resilient_client.events")


def test_async_on_result_is_refused() -> None:
    """The same for the observer of a health check."""
    with pytest.raises(ConfigurationError, match="on_result is async, but is not awaited"):
        Prober([URL], on_result=async_listener)


# --- arguments whose own methods raise ---


class Detached:
    """As an object-relational model outside of its session."""

    def __str__(self) -> str:
        raise LookupError("secret")

    __repr__ = __str__


async def test_argument_that_raises_is_one_sentence(api: APIClient, upstream: MockUpstream) -> None:
    """The place is named, but not the text, which may hold a secret. No exception is kept that would show it."""

    class Params(dict[str, str]):
        def items(self) -> Any:
            raise LookupError("secret")

    for use in (lambda: api.get("/", params=Params(a="b")), lambda: api.get("/", headers=Params(a="b"))):
        with pytest.raises(
            InvalidRequestError, match=r"raised LookupError at test_wrong_use.py:\d+ while it was read"
        ) as c:
            await use()
        assert "secret" not in str(c.value)
        assert c.value.__cause__ is None
        assert c.value.__context__ is None
    with pytest.raises(InvalidRequestError, match="params has the name a Detached without a repr"):
        await api.get("/", params={Detached(): "a"})  # type: ignore[dict-item]
    outcome = await api.run(Call.get("/", params=Params(a="b")))
    assert isinstance(outcome, Failure)
    assert outcome.kind is ErrorKind.INVALID_REQUEST
    assert upstream.requests == []


async def test_malformed_punycode_is_refused(upstream: MockUpstream) -> None:
    """In a base URL, in the URL of a call, and in a redirect of the server."""
    with pytest.raises(ConfigurationError, match="base URL 'https://xn--/' is not a URL"):
        APIClient("https://xn--/")
    upstream.script(reply(302, headers={"Location": "https://xn--/"}))
    async with APIClient(transport=upstream) as api:
        with pytest.raises(InvalidRequestError, match="a call names an absolute"):
            await api.get("https://xn--/")
        with pytest.raises(APIError, match="its Location is not an http"):
            await api.get(URL)
