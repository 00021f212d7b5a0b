import base64
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from tests.unit.auth.support import CANARY, reply_to, request_to

from resilient_client._core.errors import ConfigurationError
from resilient_client.auth import APIKeyAuth, BasicAuth


async def test_basic_auth_encodes_in_utf8() -> None:
    """User name and password are sent as UTF-8. The example is that of RFC 7617 section 2.1."""
    request = request_to()
    await BasicAuth("test", "123£").apply(request)
    assert request.headers["Authorization"] == "Basic dGVzdDoxMjPCow=="


async def test_basic_auth_password_may_hold_colons() -> None:
    """Only the first colon separates user name and password."""
    request = request_to()
    await BasicAuth("me", "a:b").apply(request)
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"me:a:b"


async def test_api_key_header_replaces_callers() -> None:
    """Exactly one key is sent."""
    request = request_to()
    request.headers.add("x-api-key", "old")
    await APIKeyAuth(SecretStr("new")).apply(request)
    assert request.headers.getall("X-Api-Key") == ["new"]


async def test_api_key_query_is_quoted_and_appended() -> None:
    """The rest of the query does not change."""
    request = request_to("https://api.example.com/orders?path=a%26b")
    await APIKeyAuth("a&b=c", "key", "query").apply(request)
    assert str(request.url) == "https://api.example.com/orders?path=a%26b&key=a%26b%3Dc"


@pytest.mark.parametrize("auth", [BasicAuth("me", CANARY), APIKeyAuth(CANARY)])
async def test_static_auth_has_no_refresh_and_no_secret_in_repr(auth: BasicAuth | APIKeyAuth) -> None:
    """A 401 is final. ``repr`` and ``str`` hide the credentials."""
    assert not await auth.refresh(reply_to(request_to(), 401))
    assert repr(auth) == str(auth) == f"{type(auth).__name__}('***')"


@pytest.mark.parametrize(
    "build",
    [
        lambda: BasicAuth("me", f"{CANARY}\r\nX-Admin: 1"),
        lambda: BasicAuth(f"{CANARY}:me", "x"),
        lambda: BasicAuth("me\x00", CANARY),
        lambda: BasicAuth("me", f"{CANARY}\udcff"),
        lambda: BasicAuth("me\udcff", CANARY),
        lambda: APIKeyAuth(f"{CANARY}\udcff", "key", "query"),
        lambda: APIKeyAuth(f"{CANARY}\n"),
        lambda: APIKeyAuth(f"{CANARY}é"),
        lambda: APIKeyAuth(""),
        lambda: APIKeyAuth(f"{CANARY}\n", "key", "query"),
        lambda: APIKeyAuth(CANARY, "X Key"),
        lambda: APIKeyAuth(CANARY, "", "query"),
        lambda: APIKeyAuth(CANARY, 3),  # type: ignore[arg-type]  # the mistake
        lambda: APIKeyAuth(CANARY, location="cookie"),  # type: ignore[arg-type]  # the mistake
        lambda: APIKeyAuth(CANARY.encode()),  # type: ignore[arg-type]  # the mistake
    ],
)
def test_credentials_invalid_are_refused(build: Callable[[], object]) -> None:
    """The message has the field and not the value."""
    with pytest.raises(ConfigurationError, match=r"^(BasicAuth|APIKeyAuth)\.\w+ ") as caught:
        build()
    assert CANARY not in str(caught.value)
