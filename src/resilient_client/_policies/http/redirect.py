"""Whether a redirect is followed, and what of the request may go along (RFC 9110 section 15.4).

Nothing secret crosses an origin: only a short list of harmless headers does, and never a body.
"""

from __future__ import annotations

from typing import NamedTuple

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._settings.config import FollowRedirects

MAX_HOPS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})
_OF_CONTENT = frozenset({"content-type", "content-encoding", "content-language"})


class Hop(NamedTuple):
    """Where the redirect leads, and with what.

    Attributes:
        method: The method of the next request.
        url: Its target.
        keep_body: Whether the body goes along.
        headers: The headers that go along.
    """

    method: str
    url: URL
    keep_body: bool
    headers: CIMultiDict[str]


class Refusal(NamedTuple):
    """A redirect that is not followed.

    Attributes:
        reason: Why, and what to do.
    """

    reason: str


def next_hop(
    *,
    status: int,
    location: str | None,
    method: str,
    url: URL,
    headers: CIMultiDict[str],
    has_body: bool,
    sendable: bool,
    hops: int,
    mode: FollowRedirects,
) -> Hop | Refusal | None:
    """The next request of a redirected one; ``None`` when the reply is no redirect to follow.

    Args:
        status: Of the reply.
        location: Its ``Location`` header.
        method: Of the request that got it.
        url: Of that request.
        headers: Of that request.
        has_body: Whether that request has a body.
        sendable: Whether that body can be sent again.
        hops: Redirects followed so far.
        mode: What the settings allow.
    """
    if mode is None or status not in REDIRECTS or location is None:
        return None
    if hops >= MAX_HOPS:
        return Refusal(f"more than {MAX_HOPS} redirects in a row; the server seems to redirect in a circle")
    target = _target(url, location)
    if target is None:
        return Refusal("its Location is not an http(s) URL with a valid host")
    same = Endpoint.of(target) == Endpoint.of(url)
    if not same and mode == "same-origin":
        return Refusal(
            f"it leads to another origin, {target.origin()}; call that origin, or pass follow_redirects='any'"
        )
    if url.scheme == "https" and target.scheme == "http":
        return Refusal("it leads from https to http; nothing is sent unencrypted that began encrypted")
    becomes_get = (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST")
    keep_body = has_body and not becomes_get
    if keep_body and not same:
        return Refusal("it would carry the body to another origin")
    if keep_body and not sendable:
        return Refusal("its body is one-shot and was already sent; give bytes, a file or a factory")
    return Hop(
        "GET" if becomes_get else method, target, keep_body, _headers_along(headers, same=same, keep_body=keep_body)
    )


def _target(url: URL, location: str) -> URL | None:
    try:
        target = url.join(URL(location)).with_fragment(None)
        (target.raw_host or "").encode("idna")  # as the resolver will: no label may be empty or above 63 bytes
    except ValueError:  # a UnicodeError is one
        return None
    if target.scheme not in ("http", "https") or not target.host:
        return None
    return target.with_user(None)


def _headers_along(headers: CIMultiDict[str], *, same: bool, keep_body: bool) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (name.lower() in _HARMLESS or same) and (keep_body or name.lower() not in _OF_CONTENT)
    )
