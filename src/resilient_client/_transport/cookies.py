"""The cookies of a client's own session: none, or those that servers set, sent back as they came (RFC 6265)."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import Morsel, SimpleCookie
from typing import Any, Final, cast

import aiohttp
from aiohttp.abc import AbstractCookieJar
from yarl import URL


class NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and does not make an empty jar per request."""

    _NONE: Final[SimpleCookie] = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> SimpleCookie:
        """No cookies. aiohttp never changes the result, since it gets cookies of its own only with ``cookies=``."""
        return self._NONE


class VerbatimCookies(aiohttp.CookieJar):
    """Sends each value exactly as the server set it, quotes and spaces included (RFC 6265 sections 5.2 and 5.4).

    aiohttp's jar unquotes a value and quotes it again in another way, so that a server does not recognise it. It also
    keeps no cookies of hosts that are named by an IP address, unless it is called unsafe. Such a cookie goes back to
    that address only.
    """

    def __init__(self) -> None:
        super().__init__(unsafe=True, quote_cookie=False)

    def update_cookies_from_headers(self, headers: Any, response_url: URL) -> None:
        """Keep the cookies of a reply."""
        AbstractCookieJar.update_cookies_from_headers(self, headers, response_url)  # parses, then calls update_cookies

    def update_cookies(self, cookies: Any, response_url: URL = URL()) -> None:  # noqa: B008 -- aiohttp's own
        """Keep cookies."""
        pairs = cookies.items() if isinstance(cookies, Mapping) else cookies
        super().update_cookies([(name, _verbatim(cookie)) for name, cookie in pairs], response_url)


def _verbatim(cookie: Any) -> Any:
    """The cookie with its value as it was on the wire. That is what aiohttp sends if it does not quote."""
    if not isinstance(cookie, Morsel):
        return cookie
    copied = cast("Any", cookie.copy())
    raw = cookie.coded_value
    copied.__setstate__({"key": cookie.key, "value": raw, "coded_value": raw})  # set() would refuse some of them
    return copied
