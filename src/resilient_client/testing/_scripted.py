"""What a `MockUpstream` is told to do: `reply(...)`, `fail(...)`, or a function that decides.

Descriptions only: nothing here waits, raises or sends. `mock_session` plays them. The faults of a `FaultServer`
(`faults.drop()` and the like) are something else: bytes on a real wire.
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
"""What a network can do to a request, in the words of `ErrorKind`."""

_STAGES: Mapping[ErrorKind, tuple[Stage, ...]] = {
    ErrorKind.DNS: (Stage.DNS,),
    ErrorKind.CONNECT: (Stage.CONNECT,),
    ErrorKind.TLS: (Stage.TLS,),
    ErrorKind.POOL: (Stage.POOL,),
    ErrorKind.TIMEOUT: (Stage.HEADERS, Stage.DNS, Stage.CONNECT, Stage.TLS, Stage.SEND, Stage.BODY),
    ErrorKind.DISCONNECTED: (Stage.HEADERS, Stage.SEND, Stage.BODY),
    ErrorKind.PROTOCOL: (Stage.HEADERS, Stage.BODY),
}
"""Where each kind can strike; the first is the usual place."""


@dataclass(frozen=True, slots=True)
class MockRequest:
    """One request as the upstream received it."""

    method: str
    url: URL
    path: str
    """Percent-decoded, base path included, without the query."""
    path_params: Mapping[str, str]
    """What stands for the `{names}` of the route that matched; empty without a route."""
    query: MultiDictProxy[str]
    headers: CIMultiDictProxy[str]
    """As the client's chain made them; what aiohttp would add (`Host`, `User-Agent`) is not among them."""
    body: bytes
    """The whole body; `b""` when there was none."""
    attempt: int
    """The number of the attempt within its call, from 1. A redirect hop has that of its attempt."""
    at: float
    """When it had arrived, in seconds of the event loop's clock."""

    def json(self) -> Any:
        """The body as JSON."""
        return jsonlib.loads(self.body)


@dataclass(frozen=True, slots=True)
class ScriptedFailure:
    """A failure of the network; made by `fail`."""

    kind: ErrorKind
    stage: Stage
    delay: float
    reused: bool

    def __repr__(self) -> str:
        return f"fail({str(self.kind)!r})"


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """A reply; made by `reply`."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    content: tuple[bytes | float | ScriptedFailure, ...] = field(repr=False)
    delay: float = field(repr=False)

    def __repr__(self) -> str:
        return f"reply({self.status})"


Answer: TypeAlias = ScriptedReply | ScriptedFailure
Step: TypeAlias = Answer | Callable[[MockRequest], Answer | Awaitable[Answer]]
"""What answers one request: `reply(...)`, `fail(...)`, or a plain or async function that returns one of them."""


def reply(
    status: int = 200,
    *,
    json: object = None,
    text: str | None = None,
    content: bytes | Iterable[bytes | float | ScriptedFailure] = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    delay: float = 0.0,
) -> ScriptedReply:
    """A reply of a `MockUpstream`.

    Args:
        status: The HTTP status, 200 or above. 204, 304 and the reply to HEAD carry no body.
        json: Sent as JSON unless None (`content=b"null"` sends a null); pydantic models and dataclasses will do.
        text: Sent as UTF-8 text, unless `json` is given.
        content: Sent as it is, unless `json` or `text` is given. Bytes, or what happens one after the other:
            bytes come as one piece each, a number is a silence of that many seconds, `fail(...)` ends the body.
        headers: Sent too, and before our own; pairs where a name repeats.
        delay: Seconds before the head of the reply.

    Raises:
        ValueError: `status` is no final status, or the body holds a failure that cannot strike there.
    """
    if not 200 <= status <= 999:
        raise ValueError(f"status is {status}, but must be a final one, 200 to 999")
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
    parts = tuple(_in_body(part) if isinstance(part, ScriptedFailure) else part for part in content)
    return ScriptedReply(status, CIMultiDictProxy(fields), parts, delay)


def fail(
    kind: FailureKind | ErrorKind, *, stage: Stage | str | None = None, delay: float = 0.0, reused: bool = False
) -> ScriptedFailure:
    """A failure of the network, which the client meets as the error it would meet on a real one.

    `"timeout"` and `"pool"` are silences: the client's own timers end them, and without any they last for ever.

    Args:
        kind: What happens, in the words of `ErrorKind`. Error statuses are replies: `reply(503)`.
        stage: Where, if not at the usual place of its kind: `"timeout"` (usually `headers`) strikes from `dns` to
            `body`, `"disconnected"` (`headers`) also at `send` and `body`, `"protocol"` (`headers`) also at `body`.
        delay: Seconds before it strikes, spent in that stage.
        reused: Whether the request went out on a kept-alive connection. A `"disconnected"` is then a stale
            connection, which the client repeats at once and outside its retry budget.

    Raises:
        ValueError: There is no such failure, or it cannot strike there; the message lists what can.
    """
    try:
        known = ErrorKind(kind)
        stages = _STAGES[known]
    except (ValueError, KeyError):
        kinds = ", ".join(_STAGES)
        raise ValueError(f"fail({str(kind)!r}): no failure of a network; give one of {kinds}, or a reply()") from None
    where = stages[0] if stage is None else Stage(stage)
    if where not in stages:
        raise ValueError(f"fail({str(known)!r}) cannot strike at stage {where}; it can at {', '.join(stages)}")
    return ScriptedFailure(known, where, delay, reused)


def _in_body(failure: ScriptedFailure) -> ScriptedFailure:
    return fail(failure.kind, stage=Stage.BODY, delay=failure.delay)


def checked(step: object) -> Step:
    """The step itself, if it is one.

    Raises:
        TypeError: It is none; the message says what is.
    """
    if isinstance(step, ScriptedReply | ScriptedFailure):
        return step
    if callable(step) and not isinstance(step, type) and not _is_fault(step):
        return cast("Step", step)
    hint = "; faults are for a FaultServer" if _is_fault(step) else ""
    raise TypeError(f"{step!r} is no step of a MockUpstream: give reply(...), fail(...) or a function{hint}")


def _is_fault(step: object) -> bool:
    from resilient_client.testing._wire import Fault, Hold

    return isinstance(step, Fault | Hold)
