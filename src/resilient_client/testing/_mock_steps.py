"""The steps of a `MockUpstream`: `reply(...)`, `fail(...)`, or a function that returns one of them.

Steps are descriptions: nothing here waits, raises a failure or sends. `_mock_session` carries them out. The faults of
a `FaultServer` (`faults.drop()` and others) are different: they are bytes on a real socket.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from multidict import CIMultiDict, CIMultiDictProxy, MultiDictProxy
from yarl import URL

from resilient_client._core.body import encode_json
from resilient_client._core.kinds import ErrorKind, Stage

FailureKind: TypeAlias = Literal["dns", "connect", "tls", "pool", "timeout", "disconnected", "protocol"]
"""The network failures that `fail` can produce, named as in `ErrorKind`."""

_STAGES_OF_KIND: Mapping[ErrorKind, tuple[Stage, ...]] = {
    ErrorKind.DNS: (Stage.DNS,),
    ErrorKind.CONNECT: (Stage.CONNECT,),
    ErrorKind.TLS: (Stage.TLS,),
    ErrorKind.POOL: (Stage.POOL,),
    ErrorKind.TIMEOUT: (Stage.HEADERS, Stage.DNS, Stage.CONNECT, Stage.TLS, Stage.SEND, Stage.BODY),
    ErrorKind.DISCONNECTED: (Stage.HEADERS, Stage.SEND, Stage.BODY),
    ErrorKind.PROTOCOL: (Stage.HEADERS, Stage.BODY),
}
"""The stages in which each kind can happen. The first one is the default."""


@dataclass(frozen=True, slots=True)
class MockRequest:
    """One request as the upstream received it."""

    method: str
    url: URL
    path: str
    """Percent-decoded, base path included, without the query."""
    path_params: Mapping[str, str]
    """The values of the `{names}` in the route that matched. Empty without a route."""
    query: MultiDictProxy[str]
    headers: CIMultiDictProxy[str]
    """The headers that the client sent. Those that aiohttp adds itself (`Host`, `User-Agent`) are missing."""
    body: bytes
    """The whole body, or `b""` if there was none."""
    attempt: int
    """The number of the attempt within its call, counted from 1. A redirect hop has the number of its attempt."""
    at: float
    """When the whole request had arrived, in seconds of the event loop's clock."""

    def json(self) -> Any:
        """Return the body, parsed as JSON."""
        return jsonlib.loads(self.body)


@dataclass(frozen=True, slots=True)
class MockFailure:
    """A network failure, created by `fail`."""

    kind: ErrorKind
    stage: Stage
    delay: float
    reused: bool

    def __repr__(self) -> str:
        return f"fail({str(self.kind)!r})"


@dataclass(frozen=True, slots=True)
class MockReply:
    """A reply, created by `reply`."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    content: tuple[bytes | float | MockFailure, ...] = field(repr=False)
    delay: float = field(repr=False)

    def __repr__(self) -> str:
        return f"reply({self.status})"


Answer: TypeAlias = MockReply | MockFailure
Step: TypeAlias = Answer | Callable[[MockRequest], Answer | Awaitable[Answer]]
"""Answers one request: `reply(...)`, `fail(...)`, or a plain or async function that returns one of them."""


def reply(
    status: int = 200,
    *,
    json: object = None,
    text: str | None = None,
    content: bytes | Iterable[bytes | float | MockFailure] = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    delay: float = 0.0,
) -> MockReply:
    """Describe a reply of a `MockUpstream`.

    Args:
        status: The HTTP status, 200 to 999. 204, 304 and the reply to HEAD carry no body.
        json: Sent as JSON unless None (`content=b"null"` sends a null). Pydantic models and dataclasses are allowed.
        text: Sent as UTF-8 text, unless `json` is given.
        content: Sent unchanged, unless `json` or `text` is given. Either bytes, or a sequence of parts: bytes arrive
            as one piece each, a number is a silence of that many seconds, and `fail(...)` ends the body.
        headers: Sent before the headers that this function adds. Pass pairs to repeat a name.
        delay: Seconds before the head of the reply.

    Raises:
        ValueError: `status` is not a final status, or the content holds a failure that cannot happen in a body.
    """
    if not 200 <= status <= 999:
        raise ValueError(f"status is {status}; it must be a final status, 200 to 999")
    fields = CIMultiDict(headers)
    if json is not None:
        content = encode_json(json)
        fields.setdefault("Content-Type", "application/json")
    elif text is not None:
        content = text.encode()
        fields.setdefault("Content-Type", "text/plain; charset=utf-8")
    if isinstance(content, bytes):
        if status not in (204, 304):
            fields.setdefault("Content-Length", str(len(content)))
        content = (content,) if content else ()
    parts = tuple(_at_body_stage(part) if isinstance(part, MockFailure) else part for part in content)
    return MockReply(status, CIMultiDictProxy(fields), parts, delay)


def fail(
    kind: FailureKind | ErrorKind, *, stage: Stage | str | None = None, delay: float = 0.0, reused: bool = False
) -> MockFailure:
    """Describe a network failure. The client raises the same error as on a real network.

    `"timeout"` and `"pool"` are silences: the client's own timers end them, and without a timer they never end.

    Args:
        kind: The kind of failure, named as in `ErrorKind`. An error status is a reply instead: `reply(503)`.
        stage: The stage in which it happens. None is the default of its kind. `"timeout"` (default `headers`) can
            happen in each stage from `dns` to `body`, `"disconnected"` (default `headers`) also in `send` and `body`,
            `"protocol"` (default `headers`) also in `body`.
        delay: Seconds before it happens, spent in that stage.
        reused: Whether the request was sent on a kept-alive connection. A `"disconnected"` is then a stale
            connection, which the client repeats at once and outside its retry budget.

    Raises:
        ValueError: `kind` is not a network failure, or it cannot happen in `stage`. The message lists what is allowed.
    """
    try:
        known = ErrorKind(kind)
        stages = _STAGES_OF_KIND[known]
    except (ValueError, KeyError):
        kinds = ", ".join(_STAGES_OF_KIND)
        raise ValueError(
            f"fail({str(kind)!r}): not a network failure; use one of {kinds}, or reply(status) for an error status"
        ) from None
    where = stages[0] if stage is None else Stage(stage)
    if where not in stages:
        allowed = ", ".join(stages)
        raise ValueError(f"fail({str(known)!r}) cannot happen in stage {where}; use one of {allowed}")
    return MockFailure(known, where, delay, reused)


def _at_body_stage(failure: MockFailure) -> MockFailure:
    return fail(failure.kind, stage=Stage.BODY, delay=failure.delay)


def check_step(step: object) -> Step:
    """Return the step unchanged if it is one.

    Raises:
        TypeError: It is not a step. The message lists what is.
    """
    if isinstance(step, MockReply | MockFailure):
        return step
    if callable(step) and not isinstance(step, type) and not _is_fault(step):
        return cast("Step", step)
    hint = "; faults are for a FaultServer" if _is_fault(step) else ""
    raise TypeError(f"{step!r} is not a step of a MockUpstream; pass reply(...), fail(...) or a function{hint}")


def _is_fault(step: object) -> bool:
    # Imported here because only a mistaken step needs it.
    from resilient_client.testing._wire import Fault, Hold

    return isinstance(step, Fault | Hold)
