"""An endpoint: the scheme, host and port of a URL."""

from __future__ import annotations

from typing import NamedTuple

from yarl import URL

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """An origin in the sense of RFC 6454. There is one circuit per endpoint, and credentials never leave theirs."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: URL | str) -> Endpoint:
        """Return the endpoint of an absolute http(s) URL."""
        url = URL(url)
        return cls(url.scheme, url.host or "", url.port or 0)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        origin = f"{self.scheme}://{host}"
        return origin if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{origin}:{self.port}"
