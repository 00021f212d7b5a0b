"""From what the caller asked to a request that may be sent. Whatever is wrong with a call is found here, at once."""

from __future__ import annotations

import uuid
from typing import TypeAlias

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.body import Body
from resilient_client._core.call import Call, CallOptions
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import ConfigurationError, InvalidRequestError
from resilient_client._core.types import HeadersLike, QueryParams
from resilient_client._core.validation import check_flag, check_mapping, kind_of
from resilient_client._policies.http.headers import checked_headers
from resilient_client._policies.http.urls import build_url, query_pairs
from resilient_client._settings.fallback import Fallback

_CACHED_URLS = 1024
_BODY_OPTIONS = frozenset({"json", "content", "data", "files"})
_SHAPED = frozenset({"idempotent", "raise_for_status", "coalesce", "fallback", "tags"})


Prepared: TypeAlias = tuple[URL, Endpoint, CIMultiDict[str], Body | None, str | None]
"""URL, its endpoint, all headers but those the transport adds, body, idempotency key."""


class RequestBuilder:
    """Lays a call over the client's base URL, headers and parameters. Belongs to one client or view."""

    __slots__ = ("_endpoint", "_headers", "_idempotency_header", "_params", "_urls", "base")

    def __init__(
        self, base: URL | None, headers: CIMultiDict[str], params: list[tuple[str, str]], idempotency_header: str
    ) -> None:
        self.base = base
        self._endpoint = None if base is None else Endpoint.of(base)
        self._headers = headers
        self._params = params
        self._idempotency_header = idempotency_header
        self._urls: dict[str, URL] = {}

    @classmethod
    def build(
        cls, base: URL | None, headers: HeadersLike | None, params: QueryParams | None, idempotency_header: str
    ) -> RequestBuilder:
        """Check what the client adds to every call.

        Raises:
            ConfigurationError: A header or parameter cannot be sent.
        """
        own = _own_headers(headers, idempotency_header)
        return cls(base, own, _own_params(params), idempotency_header)

    def over(self, headers: HeadersLike | None, params: QueryParams | None) -> RequestBuilder:
        """The same with more headers and parameters on top."""
        merged = self._headers.copy()
        merged.update(_own_headers(headers, self._idempotency_header))
        pairs = [*self._params, *_own_params(params)]
        return RequestBuilder(self.base, merged, pairs, self._idempotency_header)

    def prepare(self, call: Call[object]) -> Prepared:
        """The request that ``call`` stands for.

        Raises:
            InvalidRequestError: It cannot be sent as it is.
        """
        try:
            given = call.given
        except AttributeError:
            raise InvalidRequestError(
                f"{type(call).__name__} is no call; give Call.get(path), or make it at once: api.get(path)"
            ) from None
        if not given:
            url = self._urls.get(call.path)
            if url is None:
                url = self._url(call.path)
            return url, self._endpoint or Endpoint.of(url), self._headers.copy(), None, None
        if not _SHAPED.isdisjoint(given):
            _check_shapes(given)
        if "params" in given or "path_params" in given:
            url = build_url(self.base, call.path, given.get("path_params"), given.get("params"))
            url = url.extend_query(self._params) if self._params else url
        else:
            url = self._url(call.path)
        headers = self._headers.copy()
        if given_headers := given.get("headers"):
            headers.update(checked_headers(given_headers))
        body = _body(given)
        if body is not None and body.boundary is not None:
            headers["Content-Type"] = body.content_type  # with any other, nobody could take the parts apart
        elif body is not None:
            headers.setdefault("Content-Type", body.content_type)
        key = self._idempotency_key(given, headers)
        return url, self._endpoint or Endpoint.of(url), headers, body, key

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = build_url(self.base, path)
            url = url.extend_query(self._params) if self._params else url
            if len(self._urls) >= _CACHED_URLS:
                self._urls.clear()
            self._urls[path] = url
        return url

    def _idempotency_key(self, given: CallOptions, headers: CIMultiDict[str]) -> str | None:
        key = given.get("idempotency_key", headers.get(self._idempotency_header))
        if key is None:
            return None
        if not isinstance(key, str) or not key.strip():
            raise InvalidRequestError(
                f"idempotency_key is {key!r:.80}; give a text of your own, 'auto', or leave it out"
            )
        if key == "auto":
            key = uuid.uuid4().hex
        headers.update(checked_headers({self._idempotency_header: key}))
        return key


def _check_shapes(given: CallOptions) -> None:
    """Of what nothing else looks at before it is too late."""
    if (idempotent := given.get("idempotent")) is not None:
        check_flag("idempotent", idempotent)
    if (raises := given.get("raise_for_status")) is not None:
        check_flag("raise_for_status", raises)
    if (coalesce := given.get("coalesce")) is not None:
        check_flag("coalesce", coalesce)
    if (fallback := given.get("fallback")) is not None:
        _check_fallback(fallback)
    if (tags := given.get("tags")) is not None:
        check_mapping("tags", tags)


def _check_fallback(fallback: object) -> None:
    """Refuse a bare value: nothing tells whether it is one, or a function that makes one."""
    if not isinstance(fallback, Fallback):
        raise InvalidRequestError(f"fallback is {kind_of(fallback)}; give Fallback(...), or None for none")


def _own_headers(headers: HeadersLike | None, idempotency_header: str) -> CIMultiDict[str]:
    """What a client or view adds to every call; one idempotency key for all of them would merge different calls."""
    own = checked_headers(headers or {}, ConfigurationError)
    if idempotency_header in own:
        raise ConfigurationError(
            f"header {idempotency_header!r} would go out with every call; give each call its own idempotency_key"
        )
    return own


def _own_params(params: QueryParams | None) -> list[tuple[str, str]]:
    """What a client or view adds to every call; wrong there is wrong configuration."""
    try:
        return list(query_pairs(params or {}))
    except InvalidRequestError as error:
        wrong = ConfigurationError(str(error))
    raise wrong


def _body(given: CallOptions) -> Body | None:
    if _BODY_OPTIONS.isdisjoint(given):
        return None
    return Body.build(
        json=given.get("json"), content=given.get("content"), data=given.get("data"), files=given.get("files")
    )
