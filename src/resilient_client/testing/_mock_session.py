"""Answers requests from a script in place of aiohttp's session, below the real transport.

The transport above is the real one, so pool slots, uploads, decoding, size limits and the translation of errors are
those of production. This module selects the step that answers a request. `_mock_wire` then produces the reply or the
failure.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, cast

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client._core.kinds import Stage
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport import AiohttpTransport
from resilient_client._transport.request_body import Upload
from resilient_client._transport.trace import WireTrace, current_trace
from resilient_client.testing._mock_steps import Answer, MockFailure, MockReply, MockRequest, Step, reply
from resilient_client.testing._mock_wire import BEFORE_SENDING, MemoryResponse, MemoryWire

ChooseStep: TypeAlias = Callable[[str, URL], tuple[Step, Mapping[str, str]]]
"""Returns the step for a method and URL, and the values of the route's placeholders."""


class ActiveRequests:
    """Counts the requests that an upstream is handling, and their highest number so far."""

    __slots__ = ("active", "peak")

    def __init__(self) -> None:
        self.active = 0
        self.peak = 0

    def __enter__(self) -> None:
        self.active += 1
        self.peak = max(self.peak, self.active)

    def __exit__(self, *_: object) -> None:
        self.active -= 1


class MemoryTransport(AiohttpTransport):
    """The real transport on a session that answers from a script. Bound to one event loop."""

    def __init__(
        self,
        settings: ConnectionSettings,
        choose_step: ChooseStep,
        on_request: Callable[[MockRequest], None],
        active: ActiveRequests,
    ) -> None:
        """Create the transport.

        Args:
            settings: Only the settings that do not concern real connections have an effect.
            choose_step: Called for every request.
            on_request: Called with every request that reached the upstream.
            active: Counts the requests at the upstream.
        """
        super().__init__(settings)
        self._choose_step = choose_step
        self._on_request = on_request
        self._active = active

    @property
    def path(self) -> str:
        """Shown by ``explain``."""
        return "to an upstream in memory"

    def make_direct_path(self) -> None:
        """Everything goes through the session in memory."""

    def make_session(self) -> aiohttp.ClientSession:
        """Create a session in memory."""
        session = _MockSession(self._choose_step, self._on_request, self._active)
        return cast("aiohttp.ClientSession", session)  # it implements the part of a session that the transport uses


class _MockSession:
    """Answers `request` with the step that is chosen for it."""

    def __init__(
        self, choose_step: ChooseStep, on_request: Callable[[MockRequest], None], active: ActiveRequests
    ) -> None:
        self._choose_step = choose_step
        self._on_request = on_request
        self._active = active
        self.closed = False

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: CIMultiDict[str],
        data: object = None,
        timeout: aiohttp.ClientTimeout,
        **_options: object,
    ) -> MemoryResponse:
        """Send a request as `aiohttp.ClientSession.request` would. The body of the response is not yet read."""
        step, params = self._choose_step(method, url)
        trace = current_trace.get()
        if trace is None:
            raise RuntimeError("the session of a MockUpstream works only below its transport")
        wire = MemoryWire(trace, timeout)
        if isinstance(step, MockFailure) and step.stage in BEFORE_SENDING:
            await wire.fail(step)
        # As on a real connection, the head is sent before the body: an upload that fails may have been processed.
        wire.send()
        request = await _received(method, url, params, headers, data, trace)
        self._on_request(request)
        with self._active:
            return await _answer(step, request, wire)

    async def close(self) -> None:
        """Mark the session as closed. There is nothing to release."""
        self.closed = True


async def _received(
    method: str, url: URL, params: Mapping[str, str], headers: CIMultiDict[str], data: object, trace: WireTrace
) -> MockRequest:
    return MockRequest(
        method=method,
        url=url,
        path=url.path,
        path_params=MappingProxyType(dict(params)),
        query=url.query,
        headers=CIMultiDictProxy(headers.copy()),  # copied: the client may change its own later
        body=await _read_body(data),
        attempt=trace.attempt,
        at=asyncio.get_running_loop().time(),
    )


async def _answer(step: Step, request: MockRequest, wire: MemoryWire) -> MemoryResponse:
    answer = await _resolve(step, request)
    if isinstance(answer, MockFailure):
        if answer.stage is not Stage.BODY:
            await wire.fail(answer)
        # A failure in the body comes after a proper head, so it is the only part of a reply's content.
        answer = reply(content=[answer])
    await wire.silence(answer.delay)
    return MemoryResponse(answer, wire, bodiless=request.method == "HEAD")


async def _resolve(step: Step, request: MockRequest) -> Answer:
    """Return the reply or failure of a step, calling the step if it is a function."""
    if isinstance(step, MockReply | MockFailure):
        return step
    answer: object = step(request)
    if inspect.isawaitable(answer):
        answer = await answer
    if not isinstance(answer, MockReply | MockFailure):
        raise TypeError(f"a step of the MockUpstream returned {answer!r}; it must return reply(...) or fail(...)")
    if isinstance(answer, MockFailure) and answer.stage in BEFORE_SENDING:
        raise ValueError(
            f"a step of the MockUpstream returned {answer!r} after it received the request, but that failure happens "
            "before anything is sent; put it into the script itself"
        )
    return answer


async def _read_body(data: object) -> bytes:
    """Return the bytes of a body, in whichever form the transport passes it."""
    if isinstance(data, Upload):
        return b"".join([piece async for piece in data])
    return cast("bytes | None", data) or b""
