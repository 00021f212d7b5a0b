"""Whether a redirect is followed, and which parts of the request are sent along (RFC 9110 section 15.4).

Nothing secret is sent to another origin: only a short list of harmless headers is, and never a body.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.http.quoting import quote_path, quote_query, split_reference
from resilient_client._policies.http.urls import parse_url
from resilient_client._settings.config import FollowRedirects

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})
_OF_CONTENT = frozenset({"content-type", "content-encoding", "content-language"})


class Hop(NamedTuple):
    """The next request of a redirected one.

    Attributes:
        method: Its method.
        url: Its URL.
        keep_body: Whether the body is sent along.
        headers: The headers that are sent along.
    """

    method: str
    url: URL
    keep_body: bool
    headers: CIMultiDict[str]


class Refusal(NamedTuple):
    """A redirect that is not followed.

    Attributes:
        reason: Why.
        endless: Whether too many redirects followed each other.
        cross_origin: Whether only the mode forbids it, because it leads to another origin.
        advice: What to do about it, unless the reason says so.
    """

    reason: str
    endless: bool = False
    cross_origin: bool = False
    advice: str = ""


def next_hop(
    *,
    status: int,
    location: str | None,
    method: str,
    url: URL,
    headers: CIMultiDict[str],
    has_body: bool,
    sendable: bool,
    visited: Collection[URL],
    mode: FollowRedirects,
    max_redirects: int,
) -> Hop | Refusal | None:
    """Decide the next request after a reply, or ``None`` if the reply is not a redirect to follow.

    Args:
        status: The status of the reply.
        location: Its ``Location`` header.
        method: The method of the redirected request.
        url: The URL of that request.
        headers: The headers of that request.
        has_body: Whether that request has a body.
        sendable: Whether that body can be sent again.
        visited: The URLs asked so far, that request included: one more than redirects followed.
        mode: The redirects that the settings allow.
        max_redirects: How many of them may follow each other.
    """
    if mode is None or status not in REDIRECTS or location is None:
        return None
    if not location.partition("#")[0].strip(" \t"):
        return Refusal("its Location is empty, which leads back to the same URL")
    target = _target(url, location)
    if target is None:
        return Refusal("its Location is not an http(s) URL with a valid host")
    if len(visited) > max_redirects:
        if target in visited:
            return Refusal(f"it leads in a circle, back to {target.with_query(None)}", endless=True)
        return Refusal(
            f"it is one more than max_redirects={max_redirects} in a row; raise that, or call its target", endless=True
        )
    same_origin = Endpoint.of(target) == Endpoint.of(url)
    if not same_origin and mode == "same-origin":
        return Refusal(
            f"it leads to another origin, {target.origin()}",
            cross_origin=True,
            advice="call that origin, or pass follow_redirects='any'",
        )
    if url.scheme == "https" and target.scheme == "http":
        return Refusal("it leads from https to http; nothing is sent unencrypted that began encrypted")
    # A POST becomes a GET after 301 and 302, too: RFC 9110 sections 15.4.2 and 15.4.3 allow it, and browsers do it.
    becomes_get = (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST")
    keep_body = has_body and not becomes_get
    if keep_body and not same_origin:
        return Refusal("it would carry the body to another origin")
    if keep_body and not sendable:
        return Refusal("its body is one-shot and was already sent; give bytes, a file or a factory")
    forwarded = _forwarded_headers(headers, same_origin=same_origin, keep_body=keep_body)
    return Hop("GET" if becomes_get else method, target, keep_body, forwarded)


def _target(url: URL, location: str) -> URL | None:
    """The URL to ask next (RFC 3986 section 5.2), with every byte as the server wrote it: it may be signed."""
    written = split_reference(location.strip(" \t"))
    if written.scheme is not None and written.authority is None:
        return None
    try:
        base = url if written.authority is None else parse_url(f"{written.scheme or url.scheme}://{written.authority}")
        path, query = quote_path(written.path), quote_query(written.query or "")
        target = base.join(URL.build(path=path, query_string=query, encoded=True))
        (target.raw_host or "").encode("idna")  # as the resolver will: no label may be empty or above 63 bytes
    except ValueError:  # UnicodeError is a subclass
        return None
    if target.scheme not in ("http", "https") or not target.host:
        return None
    return target.with_user(None)


def _forwarded_headers(headers: CIMultiDict[str], *, same_origin: bool, keep_body: bool) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (name.lower() in _HARMLESS or same_origin) and (keep_body or name.lower() not in _OF_CONTENT)
    )
