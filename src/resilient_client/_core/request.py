"""The request of one attempt, and its redacted form."""

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
    """A redacted request that is safe to show: no credentials, no query values. Frozen by convention, picklable.

    Attributes:
        method: In upper case.
        url: With query values redacted.
        route: The path as the caller wrote it, ``{placeholders}`` and all, without the query.
        headers: The headers as the caller set them. All except harmless ones are redacted.
        endpoint: The endpoint that was called.
        idempotency_key: The key sent with the request, or ``None``.
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
    """The request of one attempt. Middlewares may change ``headers`` and ``url``: each attempt gets its own copy.

    Attributes:
        method: In upper case.
        headers: Secret, since they carry credentials.
        body: The body, or ``None``.
        context: The state that the attempts of this call share.
        endpoint: The endpoint of ``url``. Setting ``url`` updates it.
        attempt: The attempt that this request belongs to. The attempt middleware sets it. Before that, the
            attribute does not exist.
        kept_headers: A copy of ``headers`` that a middleware keeps while inner ones may change them. Here, because a
            local variable would show its secrets to whoever reads the frames of a traceback.
        kept_url: Likewise, of ``url``.
        redirected_from: The request whose redirect led to this one, or ``None`` if it was not redirected.
    """

    attempt: Attempt
    redirected_from: Request | None = None
    kept_headers: CIMultiDict[str]
    kept_url: URL

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
        """Return a copy of the request with its own headers. The body and the context are shared."""
        attempt = getattr(self, "attempt", None)
        return Request(self.method, self._url, self.headers.copy(), self.body, self.context, attempt, self.endpoint)

    @property
    def url(self) -> URL:
        """The absolute URL. Secret, too: its query may carry credentials."""
        return self._url

    @url.setter
    def url(self, url: URL) -> None:
        self._url = url
        self.endpoint = Endpoint.of(url)

    def place(self, url: URL, endpoint: Endpoint) -> None:
        """Set ``url`` and its known ``endpoint``. Faster than setting ``url``, which parses the endpoint."""
        self._url = url
        self.endpoint = endpoint

    @property
    def label(self) -> str:
        """Method, origin and route, by which error messages name this request. No query, no path parameters.

        The label of a redirected request starts with that of the original request, followed by the redirect target.
        """
        if self.redirected_from is not None:
            return f"{self.redirected_from.label}: redirected to {self._url.with_query(None)}"
        path = route_of(self.context.call.path)
        return f"{self.method} {path if '://' in path else f'{self.endpoint}{path}'}"

    def __repr__(self) -> str:
        return f"<Request {self.label}>"
