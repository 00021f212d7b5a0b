"""A response: its body read, or still open and owned by it."""

from __future__ import annotations

import json as jsonlib
import re
from codecs import lookup
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from multidict import CIMultiDictProxy
from pydantic import ValidationError
from typing_extensions import TypeForm
from yarl import URL

from resilient_client._core.errors import APIResponseValidationError
from resilient_client._core.models import validator_for
from resilient_client._core.record import AttemptRecord
from resilient_client._core.timings import Timings, Trace

if TYPE_CHECKING:
    from resilient_client._core.attempt import Attempt

T = TypeVar("T")

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid")
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Python's codecs for text that only names or source code are written in."""


class OpenBody(Protocol):
    """A body that is still on the wire."""

    async def read(self) -> bytes:
        """The next piece, decoded; ``b""`` at the end.

        Raises:
            APIError: It ended early, or is corrupt.
        """
        ...

    def close(self) -> None:
        """Give it up and its connection with it; never blocks, may be called twice."""
        ...


class HeldBody:
    """An open body that releases something, such as a permit, at its end or when it is closed."""

    __slots__ = ("_body", "_release")

    def __init__(self, body: OpenBody, release: Callable[[], None]) -> None:
        self._body = body
        self._release: Callable[[], None] | None = release

    async def read(self) -> bytes:
        """The next piece; ``b""`` at the end."""
        try:
            piece = await self._body.read()
        except Exception:
            self.close()
            raise
        if not piece:
            self.close()
        return piece

    def close(self) -> None:
        """Give up the body and release what was held for it. May be called twice."""
        self._body.close()
        release, self._release = self._release, None
        if release is not None:
            release()


class Response:
    """A response. Its body is read and its content codings are undone, unless it was opened with ``stream``.

    Attributes:
        status: The HTTP status.
        headers: Case-insensitive; a name may come more than once.
        content: The body, as bytes. Empty while ``open_body`` is there.
        url: Where it came from, after redirects. Secret where the query is.
        truncated: Whether only the first 64 KiB of an error response were kept.
        elapsed: Seconds the whole call took.
        from_fallback: Whether the ``Call`` of a ``Fallback`` got it, in place of the call that was made.
        open_body: The body that is still on the wire, of a call made with ``stream``; ``None``: it is read.
    """

    from_fallback = False
    elapsed = 0.0
    open_body: OpenBody | None = None
    _attempts: Sequence[Attempt] = ()
    _history: tuple[AttemptRecord, ...] = ()

    def __init__(
        self,
        status: int,
        headers: CIMultiDictProxy[str],
        content: bytes,
        url: URL,
        truncated: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.url = url
        self.truncated = truncated
        self._trace = trace

    @property
    def attempts(self) -> int:
        """How many attempts the call took."""
        return len(self._attempts or self._history) or 1

    @property
    def history(self) -> tuple[AttemptRecord, ...]:
        """One record per attempt, in order."""
        return self._history or tuple(attempt.record() for attempt in self._attempts)

    def complete(self, attempts: Sequence[Attempt], elapsed: float) -> None:
        """Attach what is known of the call that it answers."""
        self._attempts = attempts  # frozen into records only when somebody reads them
        self.elapsed = elapsed

    def attach_history(self, history: tuple[AttemptRecord, ...], elapsed: float) -> None:
        """Attach the history of the error that carries this response."""
        self._history, self.elapsed = history, elapsed

    def hold(self, release: Callable[[], None]) -> bool:
        """Call ``release`` at the end of an open body, or when it is closed. Returns whether the body is open."""
        if self.open_body is None:
            return False
        self.open_body = HeldBody(self.open_body, release)
        return True

    def close_body(self) -> None:
        """Close an open body and everything that is held for it. May be called twice."""
        if self.open_body is not None:
            self.open_body.close()

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text: by the charset it declares, else UTF-8. Never raises: what does not decode is U+FFFD."""
        found = _CHARSET.search(self.headers.get("content-type", ""))
        if found:
            try:
                if lookup(found[1]).name not in _NO_CHARSETS:
                    return self.content.decode(found[1], errors="replace")
            except (LookupError, UnicodeError):  # no such charset, or a codec for something else than text, such as hex
                pass
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            APIResponseValidationError: It is none.
        """
        try:
            return jsonlib.loads(self.content)
        except ValueError as error:
            position = f"at byte {error.pos}" if isinstance(error, jsonlib.JSONDecodeError) else "not text"
        raise self._unfit("is not JSON", position)

    def parse(self, model: TypeForm[T]) -> T:
        """The body as JSON, checked against a type. An empty body counts as ``null``.

        Args:
            model: Any type form: a pydantic model, ``list[User]``, ``User | None``, a dataclass, a TypedDict.

        Raises:
            APIResponseValidationError: It does not fit; ``detail`` lists where, without the values.
        """
        validator = validator_for(model)
        try:
            return validator.validate_json(self.content) if self.content else validator.validate_python(None)
        except ValidationError as error:
            where = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['type']}" for e in error.errors(include_input=False)[:5]
            )
        # Out here, so that not even __context__ keeps the foreign error, which holds the values.
        raise self._unfit(f"does not fit {getattr(model, '__name__', model)}", where)

    @property
    def timings(self) -> Timings:
        """Where the last attempt spent its time; empty after pickling."""
        return Timings() if self._trace is None else self._trace.timings()

    @property
    def request_id(self) -> str | None:
        """The id the server gave this request, where it says one."""
        return next((self.headers[name] for name in _REQUEST_ID_HEADERS if name in self.headers), None)

    @property
    def problem(self) -> dict[str, Any] | None:
        """The problem details (RFC 9457), or ``None`` when the body is none."""
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return None
        try:
            problem = jsonlib.loads(self.content)
        except ValueError:
            return None
        return problem if isinstance(problem, dict) else None

    def _unfit(self, what: str, where: str) -> APIResponseValidationError:
        media = self.headers.get("content-type", "no media type")
        return APIResponseValidationError(
            f"the body of the reply {self.status} ({len(self.content)} bytes, {media}) {what}: {where}",
            response=self,
            detail=where,
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {
            "headers": list(self.headers.items()),
            "_trace": None,
            "_attempts": (),
            "_history": self.history,
            "open_body": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        from multidict import CIMultiDict

        for name, value in state.items():
            setattr(self, name, CIMultiDictProxy(CIMultiDict(value)) if name == "headers" else value)

    def __repr__(self) -> str:
        cut = ", truncated" if self.truncated else ""
        return (
            f"<Response {self.status} from {self.url.with_query(None).with_user(None)}, {len(self.content)} bytes{cut}>"
        )
