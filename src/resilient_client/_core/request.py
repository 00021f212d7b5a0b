"""A request, one per attempt, and its redacted form."""

from __future__ import annotations

from collections.abc import Mapping

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.attempt import Attempt
from resilient_client._core.body import Body
from resilient_client._core.call import route_of
from resilient_client._core.context import CallContext
from resilient_client._core.endpoint import Endpoint


class RequestInfo:
    """What was asked, fit to be shown: no credentials, no query values. Frozen by convention, picklable.

    Attributes:
        method: In upper case.
        url: With query values redacted.
        route: The path as the caller wrote it, ``{placeholders}`` and all, without the query.
        headers: The headers as the caller gave them; all but harmless ones redacted.
        endpoint: Who was called.
        idempotency_key: The key sent along, or ``None``.
    """

    __slots__ = ("endpoint", "headers", "idempotency_key", "method", "route", "url")

    def __init__(
        self,
        method: str,
        url: str,
        route: str,
        headers: Mapping[str, str],
        endpoint: Endpoint,
        idempotency_key: str | None,
    ) -> None:
        self.method = method
        self.url = url
        self.route = route
        self.headers = headers
        self.endpoint = endpoint
        self.idempotency_key = idempotency_key

    def __repr__(self) -> str:
        return f"<RequestInfo {self.method} {self.url}>"


class Request:
    """One attempt's request. Middlewares may change ``headers`` and ``url``: the next attempt gets its own.

    Attributes:
        method: In upper case.
        headers: Secret: they carry credentials.
        body: What to send, or ``None``.
        context: What the attempts of this call share.
        endpoint: Where it goes; follows ``url``.
        attempt: The attempt it belongs to; set by the attempt middleware, not there before.
        redirected_from: The request whose redirect led to this one; ``None`` if it was not redirected.
    """

    attempt: Attempt
    redirected_from: Request | None = None

    def __init__(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: Body | None,
        context: CallContext,
        attempt: Attempt | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.method = method
        self._url = url
        self.endpoint = endpoint or Endpoint.of(url)
        self.headers = headers
        self.body = body
        self.context = context
        if attempt is not None:
            self.attempt = attempt

    def copy(self) -> Request:
        """The same request with headers of its own."""
        attempt = getattr(self, "attempt", None)
        return Request(self.method, self._url, self.headers.copy(), self.body, self.context, attempt, self.endpoint)

    @property
    def url(self) -> URL:
        """Where it goes; absolute. Secret, too: its query may carry credentials."""
        return self._url

    @url.setter
    def url(self, url: URL) -> None:
        self._url = url
        self.endpoint = Endpoint.of(url)

    def place(self, url: URL, endpoint: Endpoint) -> None:
        """Let it go to ``url``, which lies at ``endpoint``: as setting ``url``, without looking for whose it is."""
        self._url = url
        self.endpoint = endpoint

    @property
    def label(self) -> str:
        """Method, origin and route: what an error message calls this request. No query, no path parameter.

        A redirected one is called by what its caller asked for, and by where that has led.
        """
        if self.redirected_from is not None:
            return f"{self.redirected_from.label}: redirected to {self._url.with_query(None)}"
        path = route_of(self.context.call.path)
        return f"{self.method} {path if '://' in path else f'{self.endpoint}{path}'}"

    def __repr__(self) -> str:
        return f"<Request {self.label}>"
