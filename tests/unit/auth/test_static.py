import base64
from collections.abc import Callable

import pytest
from pydantic import SecretStr
from tests.unit.auth.support import CANARY, reply_to, request_to

from resilient_client._core.errors import ConfigurationError
from resilient_client.auth import APIKeyAuth, BasicAuth


async def test_basic_auth_encodes_in_utf8() -> None:
    """User name and password travel as UTF-8 (RFC 7617 section 2.1, whose example this is)."""
    request = request_to()
    await BasicAuth("test", "123£").apply(request)
    assert request.headers["Authorization"] == "Basic dGVzdDoxMjPCow=="


async def test_basic_auth_password_may_hold_colons() -> None:
    """Only the first colon separates."""
    request = request_to()
    await BasicAuth("me", "a:b").apply(request)
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"me:a:b"


async def test_api_key_in_header_replaces_what_was_there() -> None:
    """There is one key in the end, whatever the caller set."""
    request = request_to()
    request.headers.add("x-api-key", "old")
    await APIKeyAuth(SecretStr("new")).apply(request)
    assert request.headers.getall("X-Api-Key") == ["new"]


async def test_api_key_in_query_is_quoted_and_leaves_the_rest_alone() -> None:
    """The key is appended, and not one character of the query before it changes."""
    request = request_to("https://api.example.com/orders?path=a%26b")
    await APIKeyAuth("a&b=c", "key", "query").apply(request)
    assert str(request.url) == "https://api.example.com/orders?path=a%26b&key=a%26b%3Dc"


@pytest.mark.parametrize("auth", [BasicAuth("me", CANARY), APIKeyAuth(CANARY)])
async def test_fixed_credentials_have_no_others_and_are_never_shown(auth: BasicAuth | APIKeyAuth) -> None:
    """A 401 to fixed credentials is final; repr and str hide them."""
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
        lambda: APIKeyAuth(CANARY, location="cookie"),  # type: ignore[arg-type]  # the mistake
        lambda: APIKeyAuth(CANARY.encode()),  # type: ignore[arg-type]  # the mistake
    ],
)
def test_what_cannot_be_sent_is_refused_unseen(build: Callable[[], object]) -> None:
    """A wrong credential is a configuration error that names the field and not the value."""
    with pytest.raises(ConfigurationError, match=r"^(BasicAuth|APIKeyAuth)\.\w+ ") as caught:
        build()
    assert CANARY not in str(caught.value)
