import asyncio
import traceback
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.auth.support import Upstream, others, reply_to, request_to, settle

from resilient_client._core.body import Body
from resilient_client._core.deadline import ambient_deadline, deadline
from resilient_client._core.errors import APIConnectionError, APIError, ConfigurationError
from resilient_client._core.events import Event, TokenRefreshed
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.listeners import Events
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._middleware.auth import AuthMiddleware


class Rotating:
    """An ``Auth`` whose credentials are v1, and after each refresh v2, v3 ..."""

    def __init__(self) -> None:
        self.version = 1
        self.refreshes = 0
        self.open = asyncio.Event()
        self.open.set()

    async def apply(self, request: Request) -> None:
        request.headers["Authorization"] = f"v{self.version}"
        request.url = request.url.extend_query(key=f"v{self.version}")

    async def refresh(self, rejected: Response) -> bool:
        self.refreshes += 1
        await self.open.wait()
        self.version += 1
        return True


class Signing(Rotating):
    """One whose every application differs from the last."""

    def __init__(self, *, always_differs: bool) -> None:
        super().__init__()
        self.always_differs = always_differs
        self.applied = 0

    async def apply(self, request: Request) -> None:
        await super().apply(request)
        self.applied += 1
        request.headers["X-Nonce"] = f"{self.applied}"


class Scripted:
    """An ``Auth`` that does what a test says."""

    def __init__(
        self,
        *,
        apply: Callable[[], Awaitable[object]] | None = None,
        refresh: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._apply = apply
        self._refresh = refresh

    async def apply(self, request: Request) -> None:
        if self._apply is not None:
            await self._apply()

    async def refresh(self, rejected: Response) -> bool:
        return self._refresh is not None and await self._refresh()


def heard(events: Events) -> list[Event]:
    """Record everything that ``events`` emits from now on."""
    told: list[Event] = []
    events.subscribe(told.append)
    return told


async def test_credentials_are_added_to_a_copy() -> None:
    """Success takes one request, and the original stays without credentials."""
    auth, upstream, request = Rotating(), Upstream("v1"), request_to()
    reply = await AuthMiddleware(auth)(request, upstream)
    assert (reply.status, len(upstream.seen), auth.refreshes) == (200, 1, 0)
    assert "Authorization" not in request.headers
    assert not request.attempt.reauthenticated


async def test_hundred_401s_cause_one_refresh() -> None:
    """However many callers meet a 401 together, the credentials are refreshed once."""
    auth, upstream = Rotating(), Upstream("v2")
    link = AuthMiddleware(auth)
    requests = [request_to() for _ in range(100)]
    replies = await asyncio.gather(*(link(request, upstream) for request in requests))
    assert {reply.status for reply in replies} == {200}
    assert (auth.refreshes, len(upstream.seen)) == (1, 200)
    assert all(request.attempt.reauthenticated for request in requests)
    assert not others()


async def late_401(late: AuthMiddleware, early: AuthMiddleware) -> Response:
    """Through ``late``, a 401 that arrives only after ``early`` has refreshed the credentials it refuses."""
    arrives = asyncio.Event()
    upstream = Upstream("v2")

    async def slow(request: Request) -> Response:
        reply = await upstream(request)
        await arrives.wait()
        return reply

    task = asyncio.create_task(late(request_to(), slow))
    await settle()
    assert (await early(request_to(), upstream)).status == 200
    arrives.set()
    return await task


async def test_401_to_outdated_credentials_resends() -> None:
    """A 401 to credentials that were replaced meanwhile does not cause another refresh."""
    auth = Rotating()
    link = AuthMiddleware(auth)
    assert (await late_401(link, link)).status == 200
    assert auth.refreshes == 1


async def test_401_after_refresh_by_other_client() -> None:
    """An Auth shared by two clients: what one has refreshed, the other finds when it applies again."""
    auth = Rotating()
    assert (await late_401(AuthMiddleware(auth), AuthMiddleware(auth))).status == 200
    assert auth.refreshes == 1


async def test_401_to_always_new_credentials() -> None:
    """Negative control: where a difference says nothing, another client's refresh goes unseen and is repeated."""
    auth = Signing(always_differs=True)
    await late_401(AuthMiddleware(auth), AuthMiddleware(auth))
    assert auth.refreshes == 2


async def test_401_after_own_renewal_resends() -> None:
    """Credentials that were renewed while the old ones were on their way are not thrown away."""
    auth, accepting = Rotating(), Upstream("v2")

    async def upstream(request: Request) -> Response:
        reply = await accepting(request)
        auth.version = 2
        return reply

    assert (await AuthMiddleware(auth)(request_to(), upstream)).status == 200
    assert (auth.refreshes, len(accepting.seen)) == (0, 2)


async def test_changed_headers_are_not_credentials() -> None:
    """A change by an inner middleware does not look like a renewal."""
    auth, accepting = Rotating(), Upstream("v2")

    async def upstream(request: Request) -> Response:
        request.headers["X-Trace"] = f"{len(accepting.seen)}"
        request.url = request.url.extend_query(traced="1")
        return await accepting(request)

    assert (await AuthMiddleware(auth)(request_to(), upstream)).status == 200
    assert (auth.refreshes, len(accepting.seen)) == (1, 2)


async def test_declared_signature_resends_once() -> None:
    """An Auth that says that it always differs is refreshed after the first 401."""
    auth, upstream = Signing(always_differs=True), Upstream("v2")
    assert (await AuthMiddleware(auth)(request_to(), upstream)).status == 200
    assert (auth.refreshes, len(upstream.seen)) == (1, 2)


async def test_undeclared_signature_refreshes_once() -> None:
    """An Auth that always differs without declaring it looks renewed: its second 401 refreshes."""
    auth, upstream = Signing(always_differs=False), Upstream("v2")
    link = AuthMiddleware(auth)
    assert (await link(request_to(), upstream)).status == 401
    assert (auth.refreshes, len(upstream.seen)) == (1, 2)
    assert (await link(request_to(), upstream)).status == 200
    assert (auth.refreshes, len(upstream.seen)) == (1, 3)


async def test_failed_credentials_return_the_401() -> None:
    """Where applying again fails, one refresh is tried, and the 401 is the answer."""
    failing = False
    refreshes = 0

    async def apply() -> None:
        if failing:
            raise APIConnectionError("down", kind=ErrorKind.TIMEOUT, stage=Stage.BODY)

    async def refresh() -> bool:
        nonlocal refreshes
        refreshes += 1
        return False

    async def upstream(request: Request) -> Response:
        nonlocal failing
        failing = True
        return reply_to(request, 401)

    assert (await AuthMiddleware(Scripted(apply=apply, refresh=refresh))(request_to(), upstream)).status == 401
    assert refreshes == 1


async def test_cancelled_leader_leaves_followers_served() -> None:
    """The refresh goes on for those that wait when the caller that started it is cancelled."""
    auth, upstream = Rotating(), Upstream("v2")
    auth.open.clear()
    link = AuthMiddleware(auth)
    leader, *followers = [asyncio.create_task(link(request_to(), upstream)) for _ in range(5)]
    await settle()
    leader.cancel()
    await settle()
    assert leader.cancelled()
    auth.open.set()
    assert {reply.status for reply in await asyncio.gather(*followers)} == {200}
    assert auth.refreshes == 1


async def test_all_waiters_cancelled() -> None:
    """Without waiters the refresh ends, and nothing stays behind."""
    auth, upstream = Rotating(), Upstream("v2")
    auth.open.clear()
    link = AuthMiddleware(auth)
    callers = [asyncio.create_task(link(request_to(), upstream)) for _ in range(5)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert not others()
    assert all(caller.cancelled() for caller in callers)
    auth.open.set()
    assert (await link(request_to(), upstream)).status == 200
    assert auth.refreshes == 2


async def test_hanging_refresh_returns_401() -> None:
    """A refresh ends by its own timeout. The 401 is returned, and the event says why."""
    events = Events()
    told = heard(events)
    auth, upstream = Rotating(), Upstream("v2")
    auth.open.clear()
    reply = await AuthMiddleware(auth, refresh_timeout=0.0)(request_to(events=events), upstream)
    assert (reply.status, len(upstream.seen)) == (401, 1)
    assert [(event.ok, event.detail) for event in told if isinstance(event, TokenRefreshed)] == [
        (False, "TimeoutError")
    ]
    assert not others()


async def test_failing_refresh_returns_401() -> None:
    """An exception of a refresh does not replace the 401, and its text is not shown."""

    async def refresh() -> bool:
        raise OSError("s3cret")

    events = Events()
    told = heard(events)
    reply = await AuthMiddleware(Scripted(refresh=refresh))(request_to(events=events), Upstream())
    assert reply.status == 401
    assert [(event.ok, event.detail) for event in told if isinstance(event, TokenRefreshed)] == [(False, "OSError")]


async def test_successful_refresh_emits_once() -> None:
    """One refresh, one event, however many waited for it."""
    events = Events()
    told = heard(events)
    link, upstream = AuthMiddleware(Rotating()), Upstream("v2")
    await asyncio.gather(*(link(request_to(events=events), upstream) for _ in range(10)))
    assert [(type(event), event.client) for event in told] == [(TokenRefreshed, "test")]


async def test_second_401_is_returned() -> None:
    """Fresh credentials that are refused, too, end the matter: no loop."""
    auth, upstream = Rotating(), Upstream()
    reply = await AuthMiddleware(auth)(request_to(), upstream)
    assert (reply.status, len(upstream.seen), auth.refreshes) == (401, 2, 1)


async def test_resend_carries_only_fresh_credentials() -> None:
    """The resend starts from the original request: nothing of the refused credentials is left in it."""
    upstream = Upstream("v2")
    await AuthMiddleware(Rotating())(request_to("https://api.example.com/orders?a=1%262"), upstream)
    first, second = upstream.seen
    assert str(first.url) == "https://api.example.com/orders?a=1%262&key=v1"
    assert str(second.url) == "https://api.example.com/orders?a=1%262&key=v2"
    assert second.headers.getall("Authorization") == ["v2"]


async def test_one_shot_body_is_not_resent() -> None:
    """A one-shot body is not sent twice, and the refresh serves the next call."""
    auth, upstream = Rotating(), Upstream("v2")
    body = Body.build(content=iter([b"once"]))
    assert body is not None
    body.spent = True
    request = request_to(body=body)
    reply = await AuthMiddleware(auth)(request, upstream)
    assert (reply.status, len(upstream.seen), auth.version) == (401, 1, 2)
    assert not request.attempt.reauthenticated


async def test_401_of_another_origin_is_ignored() -> None:
    """After a redirect to an origin that never saw the credentials, its 401 does not concern them."""
    auth = Rotating()

    async def redirected(request: Request) -> Response:
        return reply_to(request_to("https://elsewhere.example/orders"), 401)

    assert (await AuthMiddleware(auth)(request_to(), redirected)).status == 401
    assert auth.refreshes == 0


async def test_refresh_inherits_no_deadline() -> None:
    """The refresh serves all waiters, so the deadline around one of them does not bound it."""
    seen: list[float] = []

    async def refresh() -> bool:
        seen.append(ambient_deadline())
        return False

    with deadline(after=5):
        await AuthMiddleware(Scripted(refresh=refresh))(request_to(), Upstream())
    assert seen == [float("inf")]


async def test_foreign_apply_error_hides_text() -> None:
    """A bug in an ``Auth`` fails the call before anything is sent, and no trace of it holds a secret."""

    async def apply() -> None:
        secret = "-".join(["s3", "cret"])
        raise ValueError(f"cannot parse {secret}")

    upstream = Upstream()
    with pytest.raises(APIError) as caught:
        await AuthMiddleware(Scripted(apply=apply))(request_to(), upstream)
    error = caught.value
    assert (error.kind, error.stage, error.detail) == (ErrorKind.UNEXPECTED, Stage.LOCAL, "ValueError")
    assert not error.maybe_processed
    assert error.__context__ is None
    assert not upstream.seen
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert "s3-cret" not in "".join(shown.format())


async def test_configuration_error_keeps_text() -> None:
    """Our own errors say what to do and hold no secret, so the caller may read them."""

    async def apply() -> None:
        raise ConfigurationError("give the other thing")

    with pytest.raises(APIError, match="give the other thing"):
        await AuthMiddleware(Scripted(apply=apply))(request_to(), Upstream())


async def test_apply_api_error_is_copied_per_call() -> None:
    """A token endpoint that is down fails the call with its error, which says that nothing was sent here."""
    down = APIConnectionError("refused", kind=ErrorKind.TIMEOUT, stage=Stage.BODY)

    async def apply() -> None:
        raise down

    link = AuthMiddleware(Scripted(apply=apply))
    first, second = await asyncio.gather(
        link(request_to(), Upstream()), link(request_to(), Upstream()), return_exceptions=True
    )
    for error in (first, second):
        assert isinstance(error, APIConnectionError)
        assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TIMEOUT, Stage.LOCAL, False)
    assert first is not second
    assert down.maybe_processed


def test_middleware_serves_successive_loops() -> None:
    """A link that was cut off in the middle of a refresh works on the next loop."""
    auth = Rotating()
    auth.open = asyncio.Event()
    link = AuthMiddleware(auth)

    async def cut_off() -> None:
        task = asyncio.create_task(link(request_to(), Upstream("v2")))
        await settle()
        assert auth.refreshes == 1
        assert not task.done()

    asyncio.run(cut_off())
    auth.open.set()
    for _ in range(2):
        assert asyncio.run(link(request_to(), Upstream(f"v{auth.version + 1}"))).status == 200
