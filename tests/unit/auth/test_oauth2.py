import asyncio
import json
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import pytest
from tests.unit.auth.support import CANARY, Upstream, others, reply_to, request_to

from resilient_client._core.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
)
from resilient_client._core.kinds import Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._middleware.auth import AuthMiddleware
from resilient_client.auth import BasicAuth, OAuth2ClientCredentials
from resilient_client.testing._virtual_time import run_virtual

URL = "https://id.example.com/token"


class TokenEndpoint:
    """A transport that answers token requests: t1, t2 ... unless told otherwise."""

    def __init__(self, answer: Mapping[str, object] | bytes | None = None, *, status: int = 200) -> None:
        self.answer = answer
        self.status = status
        self.seen: list[Request] = []
        self.closed = False

    async def send(self, request: Request) -> Response:
        self.seen.append(request)
        await asyncio.sleep(0.1)
        answer = self.answer
        if answer is None:
            answer = {"access_token": f"t{len(self.seen)}", "token_type": "Bearer", "expires_in": 3600}
        return reply_to(request, self.status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    async def close(self) -> None:
        self.closed = True

    @property
    def form(self) -> dict[str, str]:
        """The form of the last request."""
        body = self.seen[-1].body
        assert body is not None
        return dict(parse_qsl(body.source.decode()))


def auth_at(endpoint: TokenEndpoint, **options: Any) -> OAuth2ClientCredentials:
    """Credentials with a secret that must never be seen."""
    return OAuth2ClientCredentials(URL, "me", CANARY, transport=endpoint, **options)


def failure_of(endpoint: TokenEndpoint, **options: Any) -> APIError:
    """What a call meets that needs a token from ``endpoint``."""

    async def main() -> None:
        await AuthMiddleware(auth_at(endpoint, **options))(request_to(), Upstream())

    with pytest.raises(APIError) as caught:
        run_virtual(main())
    return caught.value


def test_hundred_first_calls_fetch_one_token() -> None:
    """However many calls come first, the token endpoint sees one request, and nothing stays open."""
    endpoint, upstream = TokenEndpoint(), Upstream("Bearer t1")

    async def main() -> None:
        link = AuthMiddleware(auth_at(endpoint))
        replies = await asyncio.gather(*(link(request_to(), upstream) for _ in range(100)))
        assert {reply.status for reply in replies} == {200}
        assert not others()

    run_virtual(main())
    assert len(endpoint.seen) == 1
    assert not endpoint.closed


def test_401_fetches_another_token() -> None:
    """A revoked token is replaced once for all who meet the 401."""
    endpoint, upstream = TokenEndpoint(), Upstream("Bearer t2")

    async def main() -> None:
        link = AuthMiddleware(auth_at(endpoint))
        replies = await asyncio.gather(*(link(request_to(), upstream) for _ in range(100)))
        assert {reply.status for reply in replies} == {200}

    run_virtual(main())
    assert len(endpoint.seen) == 2


def test_token_request_is_what_the_rfc_says() -> None:
    """By default id and secret travel form-encoded in a Basic header (RFC 6749 sections 2.3.1 and 4.4.2)."""
    endpoint = TokenEndpoint()
    auth = OAuth2ClientCredentials(
        URL, "me:1", "a b%", scope="read write", audience="orders", extra={"tenant": "7"}, transport=endpoint
    )
    run_virtual(auth.apply(request_to()))
    expected = request_to()
    asyncio.run(BasicAuth("me%3A1", "a+b%25").apply(expected))
    request = endpoint.seen[0]
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["Authorization"] == expected.headers["Authorization"]
    assert endpoint.form == {
        "grant_type": "client_credentials",
        "scope": "read write",
        "audience": "orders",
        "tenant": "7",
    }


def test_client_auth_post_puts_the_secret_into_the_body() -> None:
    """The other way of RFC 6749 section 2.3.1, for servers that want it."""
    endpoint = TokenEndpoint()
    run_virtual(auth_at(endpoint, client_auth="post").apply(request_to()))
    assert "Authorization" not in endpoint.seen[0].headers
    assert endpoint.form == {"grant_type": "client_credentials", "client_id": "me", "client_secret": CANARY}


@pytest.mark.parametrize(
    ("expires_in", "fetches"), [(3600, 2), ("3600", 2), (None, 1), ("soon", 1), (0, 1), (True, 1), (float("inf"), 1)]
)
def test_lifetime_is_read_leniently(expires_in: object, fetches: int) -> None:
    """A lifetime that cannot be read means: until a 401."""
    endpoint = TokenEndpoint({"access_token": "t", "token_type": "bearer", "expires_in": expires_in})

    async def main() -> None:
        auth = auth_at(endpoint)
        await auth.apply(request_to())
        await asyncio.sleep(3601)
        await auth.apply(request_to())

    run_virtual(main())
    assert len(endpoint.seen) == fetches


def test_refused_client_is_an_error_that_names_the_endpoint_and_the_code() -> None:
    """A wrong secret says so: who refused, and the OAuth error; free text of the server is not repeated."""
    answer = {"error": "invalid_client\n", "error_description": f"wrong secret {CANARY}"}
    error = failure_of(TokenEndpoint(answer, status=401))
    assert isinstance(error, AuthenticationError)
    assert str(error) == "no token from https://id.example.com: status 401, error 'invalid_client'"
    assert (error.stage, error.maybe_processed) == (Stage.LOCAL, False)


def test_failing_token_endpoint_is_retried_here_and_not_by_the_call() -> None:
    """The fetch has its own retries, so the call that waits for it must not multiply them."""
    endpoint = TokenEndpoint(b"oops", status=503)
    error = failure_of(endpoint)
    assert isinstance(error, InternalServerError)
    assert not error.retryable
    assert len(endpoint.seen) == 3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "no JSON object"),
        ({"access_token": CANARY}, "token_type"),
        ({"access_token": CANARY, "token_type": "mac"}, "token_type"),
        ({"token_type": "bearer"}, "access_token"),
        ({"access_token": f"{CANARY}\r\n", "token_type": "bearer"}, "access_token"),
        ({"access_token": 7, "token_type": "bearer"}, "access_token"),
    ],
)
def test_unusable_answer_is_refused_unseen(answer: Mapping[str, object] | bytes, why: str) -> None:
    """A reply that holds no bearer token is an error that says what is wrong with it, and not what is in it."""
    error = failure_of(TokenEndpoint(answer))
    assert isinstance(error, APIResponseValidationError)
    assert why in str(error)
    assert CANARY not in str(error)
    assert error.response is None


@pytest.mark.parametrize("client_auth", ["basic", "post"])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_secret_is_nowhere_to_be_seen(status: int, client_auth: str) -> None:
    """Neither the text of a failure nor its traceback, locals included, shows the secret."""
    error = failure_of(TokenEndpoint(b"{}", status=status), client_auth=client_auth)
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert CANARY not in f"{''.join(shown.format())}{error!r}{error.detail}"
    assert error.__context__ is None
    if isinstance(error, APIStatusError):
        assert CANARY not in repr(error.response)


def test_repr_shows_no_secret() -> None:
    """As with every auth."""
    assert repr(auth_at(TokenEndpoint())) == "OAuth2ClientCredentials('***')"


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/token",
        "http://localhost.example.com/token",
        "ftp://localhost/token",
        "https://me:pw@id.example.com/token",
        "https://id.example.com/token#here",
        "/token",
        "https://[/token",
        "",
    ],
)
def test_token_url_that_is_unsafe_or_none_is_refused(url: str) -> None:
    """Secrets travel over https only, or stay on this machine."""
    with pytest.raises(ConfigurationError, match="token_url"):
        OAuth2ClientCredentials(url, "me", CANARY)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_http_on_this_machine_is_allowed(host: str) -> None:
    """A token endpoint beside us, such as a sidecar or a test server, needs no TLS."""
    OAuth2ClientCredentials(f"http://{host}/token", "me", CANARY)


@pytest.mark.parametrize(
    "options",
    [
        {"client_secret": f"{CANARY}\n"},
        {"client_id": f"{CANARY}\r"},
        {"client_auth": "jwt"},
        {"extra": {"client_secret": CANARY}},
        {"scope": ["read", "write"]},
        {"timeout": 0},
        {"early_refresh": -1},
    ],
)
def test_wrong_setting_is_refused_unseen(options: dict[str, Any]) -> None:
    """Every mistake that can be seen at construction is; no secret is shown."""
    with pytest.raises(ConfigurationError) as caught:
        OAuth2ClientCredentials(**{"token_url": URL, "client_id": "me", "client_secret": "x", **options})
    assert CANARY not in str(caught.value)
