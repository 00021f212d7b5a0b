"""The response to a call, with a body that was read or is still open."""

from __future__ import annotations

import json as jsonlib
import re
from codecs import lookup
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError
from pydantic_core import from_json
from typing_extensions import TypeForm
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIResponseValidationError, ResponseTooLargeError
from resilient_client._core.foreign_names import RESPONSE
from resilient_client._core.kinds import Stage
from resilient_client._core.media_type import parse_media_type
from resilient_client._core.models import ALL_ERRORS_UP_TO, MAX_JSON_VALUES, describe, validator_for
from resilient_client._core.record import AttemptRecord
from resilient_client._core.text import quoted
from resilient_client._core.timings import Timings, Trace
from resilient_client._core.validation import hide_userinfo

if TYPE_CHECKING:
    from resilient_client._core.attempt import Attempt

T = TypeVar("T")

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid")
_MARKS = (b"\xef", b"\xfe", b"\xff")  # the first byte of a byte order mark
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""The texts in JSON. One without an end reaches to the end of the body, so that the search takes one pass."""
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Python codecs that are text encodings, but not charsets of HTTP: for host names and source code."""


class OpenBody(Protocol):
    """A body that has not been read to its end. It holds a connection until then."""

    async def read(self) -> bytes:
        """Return the next piece, with content codings removed, or ``b""`` at the end.

        Raises:
            APIError: The body ended early, or is corrupt.
        """
        ...

    def close(self) -> None:
        """Discard the rest of the body together with its connection. Never blocks. May be called twice."""
        ...


class HeldBody:
    """An open body that calls ``release``, for example for a permit, at its end or when it is closed."""

    __slots__ = ("_body", "_release")

    def __init__(self, body: OpenBody, release: Callable[[], None]) -> None:
        self._body = body
        self._release: Callable[[], None] | None = release

    async def read(self) -> bytes:
        """Return the next piece, or ``b""`` at the end."""
        try:
            piece = await self._body.read()
        except Exception:
            self.close()
            raise
        if not piece:
            self.close()
        return piece

    def close(self) -> None:
        """Close the body and call ``release`` if that was not done yet. May be called twice."""
        self._body.close()
        release, self._release = self._release, None
        if release is not None:
            release()


class Response:
    """A response. Unless the call was opened with ``stream``, the body is read and its content codings are removed.

    Attributes:
        status: The HTTP status.
        headers: Case-insensitive. A name may occur more than once.
        content: The body, as bytes. Empty while ``open_body`` is set.
        url: The URL that answered, after redirects. Secret if its query is.
        truncated: Whether only the first 64 KiB of an error response were kept.
        elapsed: Seconds the whole call took.
        from_fallback: Whether this is the response to the ``Call`` of a ``Fallback``, in place of the original call.
        open_body: The unread body of a call opened with ``stream``, or ``None`` if the body was read.
        undecoded: Why a content coding was not removed from ``content``, such as "unknown content coding 'none'", else
            ``""``. Some servers announce a coding and send none, so the body may be usable as it is.
        max_json_values: The number of JSON values that ``json`` and ``parse`` accept, or ``None`` for any.
    """

    from_fallback = False
    undecoded = ""
    elapsed = 0.0
    open_body: OpenBody | None = None
    max_json_values: int | None = MAX_JSON_VALUES
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
        """The number of attempts that the call took."""
        return len(self._attempts or self._history) or 1

    @property
    def history(self) -> tuple[AttemptRecord, ...]:
        """One record per attempt, in order."""
        return self._history or tuple(attempt.record() for attempt in self._attempts)

    def complete(self, attempts: Sequence[Attempt], elapsed: float) -> None:
        """Attach the attempts of the call, and the seconds that it took."""
        self._attempts = attempts  # made into records only when they are read: most never are
        self.elapsed = elapsed

    def attach_history(self, history: tuple[AttemptRecord, ...], elapsed: float) -> None:
        """Attach the history of the error that carries this response."""
        self._history, self.elapsed = history, elapsed

    def hold(self, release: Callable[[], None]) -> bool:
        """Arrange for ``release`` to be called when an open body ends or is closed.

        Returns:
            Whether the body is open. If not, ``release`` is never called.
        """
        if self.open_body is None:
            return False
        self.open_body = HeldBody(self.open_body, release)
        return True

    def close_body(self) -> None:
        """Close an open body and release everything held for it. May be called twice."""
        if self.open_body is not None:
            self.open_body.close()

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text, in the declared charset or else UTF-8. Never raises: invalid bytes become U+FFFD."""
        charset = parse_media_type(self.headers.get("content-type", "")).charset
        if charset:
            try:
                if lookup(charset).name not in _NO_CHARSETS:
                    return self.content.decode(charset, errors="replace")
            except (LookupError, UnicodeError):  # an unknown charset, or a codec that is not for text, such as hex
                pass
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """Parse the body as JSON (RFC 8259), in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

        Raises:
            APIResponseValidationError: The body is not JSON.
            ResponseTooLargeError: It holds more values than ``max_json_values`` allows.
        """
        self._check_json_values()
        try:
            return from_json(_as_utf8(self.content))
        except UnicodeDecodeError:
            where = "not text"
        except ValueError as error:
            where = quoted(str(error))
        raise self._validation_error("is not JSON", where)

    def parse(self, model: TypeForm[T]) -> T:
        """Parse the body as JSON and validate it against a type. An empty body counts as ``null``.

        Args:
            model: Any type form: a pydantic model, ``list[User]``, ``User | None``, a dataclass, a TypedDict.

        Raises:
            APIResponseValidationError: The body does not fit. ``detail`` lists where, without the values. In a body
                above 16 KiB, a collection is left at its first wrong item.
            ResponseTooLargeError: The body holds more values than ``max_json_values`` allows.
        """
        validator = validator_for(model)
        self._check_json_values()
        try:
            return validator.validate(_as_utf8(self.content) if self.content else b"null")
        except ValidationError as error:
            where = describe(error, all_errors=len(self.content) <= ALL_ERRORS_UP_TO)
        except RecursionError:
            where = "nested too deep"
        except UnicodeDecodeError:
            where = "not text"
        # Raised outside the except block: else __context__ would keep pydantic's error, which holds the values.
        raise self._validation_error(f"does not fit {getattr(model, '__name__', model)}", where)

    @property
    def timings(self) -> Timings:
        """Where the last attempt spent its time. All ``None`` after pickling."""
        return Timings() if self._trace is None else self._trace.timings()

    @property
    def request_id(self) -> str | None:
        """The id that the server gave this request, or ``None`` if it sent none."""
        return next((self.headers[name] for name in _REQUEST_ID_HEADERS if name in self.headers), None)

    @property
    def problem(self) -> dict[str, Any] | None:
        """The problem details (RFC 9457), or ``None`` if the body does not hold any."""
        if not parse_media_type(self.headers.get("content-type", "")).is_problem:
            return None
        try:
            problem = from_json(_as_utf8(self.content))
        except ValueError:
            return None
        return problem if isinstance(problem, dict) else None

    def _validation_error(self, fault: str, where: str) -> APIResponseValidationError:
        if self.undecoded:
            where += f"; {self.undecoded}"
        media_type = quoted(self.headers.get("content-type", "no media type"))
        return APIResponseValidationError(
            f"the body of the reply {self.status} ({len(self.content)} bytes, {media_type}) {fault}: {where}",
            response=self,
            detail=where,
        )

    def _check_json_values(self) -> None:
        """Refuse JSON that would expand to gigabytes of objects, before it holds the event loop for seconds.

        Each value but the first follows a comma or a bracket outside of texts, so these are counted. A value takes up
        to 100 bytes.
        """
        content, limit = self.content, self.max_json_values
        if limit is None or len(content) <= limit:  # a value takes a byte at least
            return
        values = _count_values(content)
        if values > limit:  # perhaps within texts: look closer
            values = _count_values(_TEXTS.sub(b"", content))
        if values > limit:
            raise ResponseTooLargeError(
                f"the body of the reply holds about {values:,} JSON values, above max_json_values={limit:,}; "
                "raise that limit, ask for less at once, or read it with stream()",
                stage=Stage.DECODE,
            )

    def without_secrets(self) -> Response:
        """A copy for the pickle of an error: no userinfo and query in its URLs, no cookies. Its body is kept."""
        shown = object.__new__(type(self))
        vars(shown).update(vars(self))
        shown.url = self.url.with_user(None).with_query(None).with_fragment(None)
        shown.headers = CIMultiDictProxy(
            CIMultiDict((name, _harmless(name, text)) for name, text in self.headers.items())
        )
        return shown

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {
            "headers": list(self.headers.items()),
            "_trace": None,
            "_attempts": (),
            "_history": self.history,
            "open_body": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, CIMultiDictProxy(CIMultiDict(value)) if name == "headers" else value)

    if not TYPE_CHECKING:  # a type checker would take it for a promise that every attribute exists

        def __getattr__(self, name: str) -> Any:
            """Say what to write for an attribute that the responses of other libraries have."""
            hint = RESPONSE.get(name)
            raise AttributeError(f"a Response has no {name!r}" + ("" if hint is None else f"; write {hint}"))

    def __repr__(self) -> str:
        cut = ", truncated" if self.truncated else ""
        return f"<Response {self.status} from {Endpoint.of(self.url)}, {len(self.content)} bytes{cut}>"


def _count_values(content: bytes) -> int:
    return sum(map(content.count, (b",", b"[", b"{")))


def _as_utf8(content: bytes) -> bytes:
    """Return JSON in UTF-8 without a byte order mark, whatever encoding of Unicode it is in (RFC 8259 section 8.1)."""
    if content[:1] not in _MARKS and b"\0" not in content[:4]:
        return content
    return content.decode(jsonlib.detect_encoding(content)).encode()


def _harmless(name: str, text: str) -> str:
    """The value of a header without a cookie, and without userinfo and query of a URL."""
    if name.lower() in ("set-cookie", "set-cookie2"):
        return "***"
    if name.lower() in ("location", "content-location", "refresh", "link"):
        return hide_userinfo(text.partition("?")[0])
    return text
