"""Plays a script where aiohttp's session would be, below the real transport.

The transport above it is the real one, so places in the pool, uploads, decoding, size limits and the translation of
errors are those of production. It decides which step answers how; what then happens is the business of `mock_wire`.
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
from resilient_client._transport.trace import current_trace
from resilient_client.testing._mock_wire import BEFORE_SENDING, MemoryReply, MemoryWire
from resilient_client.testing._scripted import Answer, MockRequest, ScriptedFailure, ScriptedReply, Step, reply

Choose: TypeAlias = Callable[[str, URL], tuple[Step, Mapping[str, str]]]
"""Gives the step for a method and URL, and the values of the route's placeholders."""


class Load:
    """How many requests an upstream has in its hands, and the most it ever had."""

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
    """The real transport on a session that plays a script. Belongs to one event loop."""

    def __init__(
        self, settings: ConnectionSettings, choose: Choose, received: Callable[[MockRequest], None], load: Load
    ) -> None:
        """Play a script.

        Args:
            settings: Those that mean something without connections apply.
            choose: Is asked for every request.
            received: Is told of every request that reached the upstream.
            load: Counts the requests at the upstream.
        """
        super().__init__(settings)
        self._choose = choose
        self._received = received
        self._load = load

    def make_session(self) -> aiohttp.ClientSession:
        """A session in memory."""
        session = _ScriptedSession(self._choose, self._received, self._load)
        return cast("aiohttp.ClientSession", session)  # it has all that the transport uses of one


class _ScriptedSession:
    """Answers `request` as the steps say that it is given."""

    def __init__(
        self,
        choose: Choose,
        received: Callable[[MockRequest], None],
        load: Load,
    ) -> None:
        self._choose = choose
        self._received = received
        self._load = load
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
    ) -> MemoryReply:
        """Send a request, as `aiohttp.ClientSession.request` would; give the reply, its body still to be read."""
        step, params = self._choose(method, url)
        progress = current_trace.get()
        if progress is None:
            raise RuntimeError("a scripted session only works below the transport")
        wire = MemoryWire(progress, timeout)
        if isinstance(step, ScriptedFailure) and step.stage in BEFORE_SENDING:
            await wire.strike(step)
        wire.send()
        content = await _content(data)
        request = MockRequest(
            method=method,
            url=url,
            path=url.path,
            path_params=MappingProxyType(dict(params)),
            query=url.query,
            headers=CIMultiDictProxy(headers.copy()),
            body=content,
            attempt=progress.attempt,
            at=asyncio.get_running_loop().time(),
        )
        self._received(request)
        with self._load:
            return await _answer(step, request, wire)

    async def close(self) -> None:
        """Nothing to give back."""
        self.closed = True


async def _answer(step: Step, request: MockRequest, wire: MemoryWire) -> MemoryReply:
    answer = await _decide(step, request)
    if isinstance(answer, ScriptedFailure):
        if answer.stage is not Stage.BODY:
            await wire.strike(answer)
        answer = reply(content=[answer])
    await wire.silence(answer.delay)
    return MemoryReply(answer, wire, bodiless=request.method == "HEAD")


async def _decide(step: Step, request: MockRequest) -> Answer:
    if isinstance(step, ScriptedReply | ScriptedFailure):
        return step
    answer: object = step(request)
    if inspect.isawaitable(answer):
        answer = await answer
    if not isinstance(answer, ScriptedReply | ScriptedFailure):
        raise TypeError(f"a step of the MockUpstream returned {answer!r}; it must return reply(...) or fail(...)")
    if isinstance(answer, ScriptedFailure) and answer.stage in BEFORE_SENDING:
        raise ValueError(
            f"a step of the MockUpstream returned {answer!r} with the request in its hands, but that strikes before "
            "anything is sent; put it into the script itself"
        )
    return answer


async def _content(data: object) -> bytes:
    """The bytes of a body, as the transport hands it over."""
    if isinstance(data, Upload):
        return b"".join([piece async for piece in data])
    return cast("bytes | None", data) or b""
