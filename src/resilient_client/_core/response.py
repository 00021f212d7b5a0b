"""A reply whose body is read."""

from __future__ import annotations

import json as jsonlib
import re
from codecs import lookup
from typing import Any, TypeVar

from multidict import CIMultiDictProxy
from pydantic import ValidationError
from typing_extensions import TypeForm
from yarl import URL

from resilient_client._core.errors import APIResponseValidationError
from resilient_client._core.models import validator_for
from resilient_client._core.record import AttemptRecord
from resilient_client._core.timings import Timings, Trace

T = TypeVar("T")

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid")
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Python's codecs for text that only names or source code are written in."""


class Response:
    """A reply, its body read and undone of its content codings.

    Attributes:
        status: The HTTP status.
        headers: Case-insensitive; a name may come more than once.
        content: The body, as bytes. Empty when the reply was opened with ``stream``.
        url: Where it came from, after redirects. Secret where the query is.
        truncated: Whether only the first 64 KiB of an error reply were kept.
        attempts: How many attempts the call took.
        elapsed: Seconds the whole call took.
        history: One record an attempt, in order.
        timings: Where the last attempt spent its time.
        from_fallback: Whether the ``Call`` of a ``Fallback`` got it, in place of the call that was made.
    """

    from_fallback = False
    attempts = 1
    elapsed = 0.0
    history: tuple[AttemptRecord, ...] = ()

    def __init__(
        self,
        status: int,
        headers: CIMultiDictProxy[str],
        content: bytes,
        url: URL,
        truncated: bool = False,
        timings: Trace | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.url = url
        self.truncated = truncated
        self._timings = timings

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
        return Timings() if self._timings is None else self._timings.timings()

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
        return vars(self) | {"headers": list(self.headers.items()), "_timings": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from multidict import CIMultiDict

        for name, value in state.items():
            setattr(self, name, CIMultiDictProxy(CIMultiDict(value)) if name == "headers" else value)

    def __repr__(self) -> str:
        cut = ", truncated" if self.truncated else ""
        return (
            f"<Response {self.status} from {self.url.with_query(None).with_user(None)}, {len(self.content)} bytes{cut}>"
        )
