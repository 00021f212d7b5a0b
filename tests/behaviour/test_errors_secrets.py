"""What a caller puts into a call never shows in text, logs, pickles or events.

Each place that may hold a secret has a canary of its own, and each failure is searched for all of them. Exempt is what
the caller asked for or the server sent, because the caller holds it anyway:

- ``error.response``: the content, headers and URL of the reply (its ``repr`` is not exempt)
- the path of ``error.request.url``: the path of a URL is shown, so secrets do not belong there. The path parameter is
  therefore searched for everywhere but in that attribute and in the pickle that holds it
- the idempotency key, which is not a secret: the caller needs it to ask the server what became of the request
- exceptions of the caller's own code
- the local variables of frames in a traceback, which have tests of their own (``test_frames_secrets.py``)
"""

from __future__ import annotations

import base64
import copy
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from tests.behaviour.support import soon

from resilient_client import (
    APIClient,
    APIError,
    APIKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    Call,
    ConfigurationError,
    ConnectionSettings,
    Failure,
    InvalidRequestError,
    OAuth2ClientCredentials,
    Retry,
    Timeout,
)
from resilient_client._core.events import AttemptFinished, Event
from resilient_client.telemetry import JSONFormatter
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing._wire import Step

pytestmark = pytest.mark.usefixtures("both_paths")

PATH_PARAM = "canary-path-param"
EAGER = Retry(max_attempts=2, backoff=lambda _: 0.0)
OPTIONS: dict[str, Any] = {
    "headers": {"X-Client": "canary-client-header"},
    "params": {"client": "canary-client-query"},
    "retry": EAGER,
    "timeout": Timeout(total=5, attempt=0.25),
    "connection": ConnectionSettings(max_response_size=1000),
}
PLACES: dict[str, Any] = {
    "path_params": {"id": PATH_PARAM},
    "params": {"q": "canary-query", "listed": ["canary-listed"]},
    "headers": {"X-Token": "canary-header", "Cookie": "session=canary-cookie", "Referer": "canary-referer"},
    "json": {"canary-field": "canary-body"},
    "idempotent": True,
}
AUTHS: list[Auth] = [
    BearerAuth("canary-token"),
    BasicAuth("canary-user", "canary-password"),
    APIKeyAuth("canary-key"),
    APIKeyAuth("canary-key", name="key", location="query"),
]
LEAKS = (b"canary", base64.b64encode(b"canary-user:canary-password"))
LEAKY_REPLY = b"HTTP/1.1 200 OK\r\nSet-Cookie: canary-reply\r\ncanary reply\r\n\r\ncanary-reply"
STEPS: list[Step] = [
    faults.drop(),
    faults.hang_before_headers(),
    faults.hang_in_body(b"canary-reply" * 10),
    faults.truncate(b"canary-reply" * 10, sent=50),
    faults.garbage(LEAKY_REPLY),
    faults.garbage(b"canary-reply\r\n"),
    faults.reply(200, text="canary-reply" * 1000),
    faults.reply(200, text="canary-reply"),
    faults.reply(200, json={"canary-field": "canary-reply"}),
    faults.reply(200, body=b"canary-reply", headers={"Content-Encoding": "gzip"}),
    faults.reply(401, text="canary-reply", headers={"WWW-Authenticate": "canary-reply"}),
    faults.reply(503, json={"detail": "canary-reply"}, headers={"Set-Cookie": "canary-reply"}),
    faults.redirect("/elsewhere?token=canary-redirect"),
    faults.redirect("http://canary:canary@other.example/canary?canary=canary"),
    faults.redirect("canary://canary"),
]


def leaks(text: str | bytes, *, path_shown: bool = False) -> list[bytes]:
    """Return the canaries that ``text`` contains."""
    data = text if isinstance(text, bytes) else text.encode()
    if path_shown:
        data = data.replace(PATH_PARAM.encode(), b"")
    return [leak for leak in LEAKS if leak in data]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all it was raised from or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def shown(error: APIError) -> Iterator[str]:
    """Yield every text by which an error shows itself."""
    for link in chain(error):
        yield str(link)
        yield repr(link)
        yield repr(link.args)
        yield repr(getattr(link, "__notes__", ()))
    yield error.detail
    yield repr(error.advice)
    yield repr(Failure(error))
    for record in error.history:
        yield repr(record)
        yield record.error


def check(error: APIError) -> None:
    """Search an error and everything it holds for canaries."""
    for text in shown(error):
        assert not leaks(text), text
    if error.request is not None:
        held = [error.request.url, repr(error.request), repr(error.request.headers), error.request.route]
        for text in held:
            assert not leaks(text, path_shown=True), text
    if (response := getattr(error, "response", None)) is not None:
        assert not leaks(repr(response), path_shown=True)
        error.response = None  # type: ignore[attr-defined]  # exempt, see above
    assert not leaks(pickle.dumps(error), path_shown=True)


@pytest.mark.parametrize("auth", AUTHS, ids=["bearer", "basic", "key header", "key query"])
@pytest.mark.parametrize("step", STEPS, ids=[f"{index}" for index in range(len(STEPS))])
@pytest.mark.virtual_time
async def test_failure_shows_no_secret(
    server: FaultServer, step: Step, auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in its text, its chain, its history, its pickle, the events on the way, nor the log."""
    caplog.set_level(logging.DEBUG, logger="resilient_client")
    server.script(step)
    events: list[Event] = []
    call = Call.post("/users/{id}?inline=canary-inline", response_model=int, **PLACES)
    async with APIClient(server.url, auth=auth, **OPTIONS) as api:
        api.subscribe(events.append)
        outcome = await soon(api.run(call))
        for text in (repr(api), repr(call), repr(api.explain("POST", "/{id}", **PLACES)).replace(PATH_PARAM, "")):
            assert not leaks(text), text
    assert isinstance(outcome, Failure)
    assert all(leak in b"".join(map(wire, server.requests)) for leak in (b"canary-body", b"canary-cookie"))
    for event in events:
        records = [repr(event.record)] if isinstance(event, AttemptFinished) else []
        for text in (repr(event), *records):
            assert not leaks(text), text
    assert not leaks(caplog.text)
    assert {"call_failed", "attempt_finished"} <= {getattr(record, "event", "") for record in caplog.records}
    for logged in caplog.records:  # the fields too, and what a formatter makes of them
        for text in (repr(vars(logged)), JSONFormatter().format(logged)):
            assert not leaks(text), text
    check(outcome.error)


def wire(request: Any) -> bytes:
    """What reached the server, so that a test cannot pass because nothing was sent."""
    return request.target.encode() + str(request.headers).encode() + bytes(request.body)


@pytest.mark.one_loop
async def test_refused_connection_shows_no_secret() -> None:
    """Where an error of the operating system is kept as the cause, that shows none either."""
    async with APIClient(refused_url(), auth=BearerAuth("canary-token"), **OPTIONS) as api:
        outcome = await api.run(Call.post("/users/{id}?inline=canary-inline", **PLACES))
    assert isinstance(outcome, Failure)
    check(outcome.error)


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_pickle_holds_no_secret_of_reply(server: FaultServer) -> None:
    """A pickle has neither the query that was asked nor the cookies that came. Copies in this process have both."""
    location = "http://canary:canary@other.example/x?canary=canary"
    fields = {"Set-Cookie": "session=canary", "Retry-After": "7", "X-Request-Id": "42", "Location": location}
    async with APIClient(server.url, retry=None) as api:
        for status in (503, 302):
            server.script(faults.reply(status, json={"detail": "no"}, headers=fields))
            outcome = await soon(api.run(Call.get("/users?inline=canary", params={"q": "canary"})))
            assert isinstance(outcome, Failure)
            data = pickle.dumps(outcome.error)
            assert not leaks(data)
            loaded = pickle.loads(data)  # noqa: S301 -- made above
            assert (loaded.response.status, loaded.response.json()) == (status, {"detail": "no"})
            assert (loaded.response.headers["Retry-After"], loaded.response.request_id) == ("7", "42")
            for copied in (copy.copy(outcome.error), copy.deepcopy(outcome.error)):
                response = getattr(copied, "response")  # noqa: B009 -- APIError has none
                assert response.headers["Set-Cookie"] == "session=canary"
                assert response.url.query["q"] == "canary"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("http://user:canary@elsewhere.example/canary", {}),
        ("//user:canary@elsewhere.example", {}),
        ("/a b?canary", {}),
        ("/../?canary", {}),
        ("/{id}?canary=canary", {}),
        ("/?canary", {"path_params": {"id": "canary"}}),
        ("/{id}", {"path_params": {"id": "../canary"}}),
        ("/{id}", {"path_params": {"id": "canary\ud800"}}),
        ("/", {"params": {"q": "canary\ud800"}}),
        ("/", {"params": {"q": {"canary": "canary"}}}),
        ("/", {"headers": {"X-Token": "canary\r\n"}}),
        ("/", {"headers": {"X-Token": b"canary"}}),
        ("/", {"idempotency_key": "canary\n"}),
        ("/", {"json": {"canary": object()}}),
        ("/", {"json": {"secret": ("canary", float("nan"))}}),
        ("/", {"json": SecretStr("canary\ud800").get_secret_value()}),
        ("/", {"data": "canary"}),
        ("/", {"files": {"f": ["canary"]}}),
        ("/", {"json": 1, "data": {"canary": "canary"}}),
    ],
)
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_invalid_call_error_shows_no_value(path: str, options: dict[str, Any]) -> None:
    """An error about an invalid value names its parameter, never the value."""
    async with APIClient("https://api.example.com") as api:
        outcome = await api.run(Call("POST", path, **options))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, InvalidRequestError)
    check(outcome.error)


@pytest.mark.parametrize(
    "url", ["https://user:canary@api.example.com", "https://user:canary@h:port", "user:canary@h", "https://h/?k=canary"]
)
@pytest.mark.one_loop
@pytest.mark.one_path
def test_base_url_error_shows_no_credentials(url: str) -> None:
    """A base URL with secrets in it is refused without repeating them."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient(url)
    assert not leaks(str(caught.value))
    assert not [link for link in chain(caught.value) if leaks(repr(link))]


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_settings_show_no_secret() -> None:
    """Neither the configuration nor an auth object shows what it keeps."""
    proxy = SecretStr("http://user:canary@proxy.example:3128")
    oauth = OAuth2ClientCredentials("https://h/token", client_id="id", client_secret="canary")
    async with APIClient("https://h", connection=ConnectionSettings(proxy=proxy), auth=oauth) as api:
        texts = [repr(api), repr(api.config), api.config.model_dump_json(), repr(oauth), *map(repr, AUTHS)]
    assert not [text for text in texts if leaks(text)]
