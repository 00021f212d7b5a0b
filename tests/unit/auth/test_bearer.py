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
    """Gives t1, t2, t3 ..., and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(0)
        return f"t{self.calls}"


async def test_fixed_token_is_sent_and_final() -> None:
    """A fixed token has no successor."""
    upstream = Upstream("Bearer t2")
    assert (await AuthMiddleware(BearerAuth("t1"))(request_to(), upstream)).status == 401
    assert [request.headers["Authorization"] for request in upstream.seen] == ["Bearer t1"]


async def test_hundred_first_calls_ask_the_provider_once() -> None:
    """However many calls wait for the first token, the provider is called once, and not for the next ones."""
    provider = Provider()
    auth = BearerAuth(provider)
    requests = [request_to() for _ in range(100)]
    await asyncio.gather(*(auth.apply(request) for request in requests))
    await auth.close()
    await auth.apply(request_to())
    assert {request.headers["Authorization"] for request in requests} == {"Bearer t1"}
    assert provider.calls == 1


async def test_401_gets_another_token() -> None:
    """A token that meets a 401 is dropped; the calls are served with the next one."""
    provider, upstream = Provider(), Upstream("Bearer t2")
    link = AuthMiddleware(BearerAuth(provider))
    replies = await asyncio.gather(*(link(request_to(), upstream) for _ in range(100)))
    assert {reply.status for reply in replies} == {200}
    assert provider.calls == 2


async def test_provider_that_repeats_itself_causes_no_resend() -> None:
    """The same token again would meet the same 401."""

    async def provider() -> Token:
        return Token("t1", expires_in=60)

    upstream = Upstream()
    assert (await AuthMiddleware(BearerAuth(provider))(request_to(), upstream)).status == 401
    assert len(upstream.seen) == 1


async def test_clients_whose_401s_meet_share_one_fetch() -> None:
    """An auth may serve several clients: what they need at the same time is fetched once."""
    provider, upstream = Provider(), Upstream("Bearer t2")
    auth = BearerAuth(provider)
    await auth.apply(request_to())
    await asyncio.gather(*(AuthMiddleware(auth)(request_to(), upstream) for _ in range(2)))
    assert provider.calls == 2


async def test_hanging_provider_is_a_timeout_and_leaves_no_task() -> None:
    """A provider is given a limit of its own, so that one hung fetch does not bind all later calls."""

    async def provider() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(APITimeoutError, match="no token came within") as caught:
        await AuthMiddleware(BearerAuth(provider, timeout=1e-9))(request_to(), Upstream())
    assert caught.value.stage is Stage.LOCAL
    assert not caught.value.maybe_processed
    assert not others()


async def test_provider_slow_to_end_holds_up_nobody_who_leaves() -> None:
    """Whoever leaves last does not wait out the provider's cleanup, which still comes to its end, in silence."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
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
    assert complaints == []
    assert not others()


async def test_cancelled_first_call_leaves_the_others_served() -> None:
    """Cancelling whoever came first does not take the token from those who wait for it."""
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


@pytest.mark.parametrize("given", [f"{CANARY}\r\n", f"Bearer {CANARY}", "", f"{CANARY}é"])
async def test_token_that_fits_into_no_header_is_refused_unseen(given: str) -> None:
    """Fixed or provided, such a token is never sent, and never shown."""

    async def provider() -> str:
        return given

    with pytest.raises(ConfigurationError, match="printable ASCII") as fixed:
        BearerAuth(given)
    with pytest.raises(APIError, match="printable ASCII") as provided:
        await AuthMiddleware(BearerAuth(provider))(request_to(), Upstream())
    assert CANARY not in f"{fixed.value} {provided.value}"


async def test_synchronous_provider_is_refused_with_the_remedy() -> None:
    """The most likely mistake gets a sentence of its own."""
    auth = BearerAuth(lambda: "t1")  # type: ignore[arg-type, return-value]  # the mistake
    with pytest.raises(APIError, match="async def"):
        await AuthMiddleware(auth)(request_to(), Upstream())


def test_secrets_are_never_shown() -> None:
    """Neither a bearer auth nor a token shows what it holds."""
    assert repr(BearerAuth(CANARY)) == str(BearerAuth(SecretStr(CANARY))) == "BearerAuth('***')"
    assert repr(Token(CANARY, 60)) == "Token('***', expires_in=60)"


def test_token_serves_one_event_loop_after_another() -> None:
    """A token outlives its loop, and a fetch that was cut off does not spoil the next."""
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
