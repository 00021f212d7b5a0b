"""What grows with the number of hosts, paths and listeners is counted, not timed."""

from __future__ import annotations

import asyncio
import random

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from resilient_client import APIClient, Request, Response
from resilient_client._call import prepare
from resilient_client._middleware import endpoint
from resilient_client.testing import run_virtual

HEADERS = CIMultiDictProxy(CIMultiDict({"Content-Type": "text/plain"}))


class WireInMemory:
    """A transport that answers every request at once."""

    async def send(self, request: Request) -> Response:
        return Response(200, HEADERS, b"", request.url)

    async def close(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.one_loop
async def test_hosts_beyond_a_thousand_cost_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second round on, no URL of 1,100 hosts is built."""
    built: list[str] = []
    build_url = prepare.build_url

    def counting(base: object, path: str, *more: object) -> object:
        built.append(path)
        return build_url(base, path, *more)

    monkeypatch.setattr(prepare, "build_url", counting)
    hosts = [f"https://h{number}.example/" for number in range(1_100)]
    async with APIClient(transport=WireInMemory()) as api:
        for _ in range(2):
            for host in hosts:
                await api.get(host)
    assert built == hosts


def test_balanced_call_builds_no_url_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL of a path at an endpoint is built once."""
    built: list[object] = []
    rebase = endpoint.rebase
    monkeypatch.setattr(endpoint, "rebase", lambda url, base: built.append(base) or rebase(url, base))

    async def calls() -> set[str]:
        urls = [f"https://e{number}.example" for number in range(4)]
        async with APIClient(urls, transport=WireInMemory(), rng=random.Random(1)) as api:
            return {str((await api.get("/x")).url) for _ in range(200)}

    used = run_virtual(calls())
    assert len(built) == len(used) > 1
