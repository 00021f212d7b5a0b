import asyncio
import gc

import pytest
from pydantic import SecretStr
from tests.unit.auth.support import CANARY, Upstream, others, reply_to, request_to, settle

from resilient_client._core.errors import APIError, APITimeoutError, ConfigurationError
from resilient_client._core.kinds import Stage
from resilient_client._middleware.auth import AuthMiddleware
from resilient_client.auth import BearerAuth, Token


class Provider:
    """Returns t1, t2, t3 ..., and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(0)
        return f"t{self.calls}"


async def test_fixed_token_is_sent_once() -> None:
    """A 401 to a fixed token is final: there is no other token to send."""
    upstream = Upstream("Bearer t2")
    assert (await AuthMiddleware(BearerAuth("t1"))(request_to(), upstream)).status == 401
    assert [request.headers["Authorization"] for request in upstream.seen] == ["Bearer t1"]


async def test_provider_is_called_once_for_many_calls() -> None:
    """All calls that wait for the first token share one call of the provider. Later calls need none."""
    provider = Provider()
    auth = BearerAuth(provider)
    requests = [request_to() for _ in range(100)]
    await asyncio.gather(*(auth.apply(request) for request in requests))
    await auth.close()
    await auth.apply(request_to())
    assert {request.headers["Authorization"] for request in requests} == {"Bearer t1"}
    assert provider.calls == 1


async def test_401_fetches_another_token() -> None:
    """The refused token is dropped, and the calls are repeated with the next one."""
    provider, upstream = Provider(), Upstream("Bearer t2")
    link = AuthMiddleware(BearerAuth(provider))
    replies = await asyncio.gather(*(link(request_to(), upstream) for _ in range(100)))
    assert {reply.status for reply in replies} == {200}
    assert provider.calls == 2


async def test_provider_with_same_token_causes_no_resend() -> None:
    """The same token would get the same 401."""

    async def provider() -> Token:
        return Token("t1", expires_in=60)

    upstream = Upstream()
    assert (await AuthMiddleware(BearerAuth(provider))(request_to(), upstream)).status == 401
    assert len(upstream.seen) == 1


async def test_clients_share_one_fetch_after_401() -> None:
    """Two clients with the same auth that get a 401 at the same time share one fetch."""
    provider, upstream = Provider(), Upstream("Bearer t2")
    auth = BearerAuth(provider)
    await auth.apply(request_to())
    await asyncio.gather(*(AuthMiddleware(auth)(request_to(), upstream) for _ in range(2)))
    assert provider.calls == 2


async def test_provider_hanging_times_out() -> None:
    """The provider has its own timeout, so a hung fetch does not block later calls, and no task is left."""

    async def provider() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(APITimeoutError, match="no token came within") as caught:
        await AuthMiddleware(BearerAuth(provider, timeout=1e-9))(request_to(), Upstream())
    assert caught.value.stage is Stage.LOCAL
    assert not caught.value.maybe_processed
    assert not others()


async def test_provider_cleanup_does_not_delay_cancelled_caller() -> None:
    """The last caller does not wait for the cleanup. The cleanup completes, and its error is not reported."""
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    cleanup, cleaned = asyncio.Event(), asyncio.Event()

    async def provider() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await cleanup.wait()
            cleaned.set()
            raise OSError

    caller = asyncio.create_task(BearerAuth(provider).apply(request_to()))
    await settle()
    caller.cancel()
    await asyncio.wait((caller,), timeout=60)
    assert caller.cancelled()
    gc.collect()
    cleanup.set()
    await asyncio.wait_for(cleaned.wait(), 60)
    await settle()
    gc.collect()
    assert reports == []
    assert not others()


async def test_provider_survives_cancelled_caller() -> None:
    """Cancelling the first caller does not cancel the fetch that a second one waits for."""
    gate = asyncio.Event()

    async def provider() -> str:
        await gate.wait()
        return "t1"

    auth = BearerAuth(provider)
    first, second = (asyncio.create_task(auth.apply(request_to())) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    gate.set()
    await second
    assert first.cancelled()


@pytest.mark.parametrize("text", [f"{CANARY}\r\n", f"Bearer {CANARY}", "", f"{CANARY}é"])
async def test_token_invalid_in_header_is_refused(text: str) -> None:
    """Such a token, fixed or provided, is neither sent nor shown."""

    async def provider() -> str:
        return text

    with pytest.raises(ConfigurationError, match="printable ASCII") as fixed:
        BearerAuth(text)
    with pytest.raises(APIError, match="printable ASCII") as provided:
        await AuthMiddleware(BearerAuth(provider))(request_to(), Upstream())
    assert CANARY not in f"{fixed.value} {provided.value}"


async def test_provider_not_async_is_refused() -> None:
    """The message says what to do."""
    auth = BearerAuth(lambda: "t1")  # type: ignore[arg-type, return-value]  # the mistake
    with pytest.raises(APIError, match="async def"):
        await AuthMiddleware(auth)(request_to(), Upstream())


def test_repr_hides_tokens() -> None:
    """Neither an auth nor a ``Token`` shows its secret."""
    assert repr(BearerAuth(CANARY)) == str(BearerAuth(SecretStr(CANARY))) == "BearerAuth('***')"
    assert repr(Token(CANARY, 60)) == "Token('***', expires_in=60.0)"


def test_token_outlives_event_loop() -> None:
    """Event loops may use a token one after another. A fetch that ended with its loop does not affect the next."""
    provider = Provider()
    auth = BearerAuth(provider)

    async def cut_off() -> None:
        task = asyncio.create_task(auth.apply(request_to()))
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(cut_off())
    provider.calls = 0
    for _ in range(2):
        asyncio.run(auth.apply(request_to()))
    assert provider.calls == 1
    assert asyncio.run(auth.refresh(reply_to(request_to(), 401)))
