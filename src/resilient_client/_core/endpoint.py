"""Who is called: scheme, host and port."""

from __future__ import annotations

from typing import NamedTuple

from yarl import URL

_USUAL_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """An origin in the sense of RFC 6454: what circuits are keyed by and what credentials never leave."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: URL | str) -> Endpoint:
        """The endpoint of an absolute http(s) URL."""
        url = URL(url)
        return cls(url.scheme, url.host or "", url.port or 0)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        origin = f"{self.scheme}://{host}"
        return origin if self.port == _USUAL_PORTS.get(self.scheme) else f"{origin}:{self.port}"
