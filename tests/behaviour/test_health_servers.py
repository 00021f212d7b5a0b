"""Health checks of real servers: nginx and HAProxy."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from tests.behaviour.support import soon

from resilient_client import ConnectionSettings, ErrorKind, HealthReport, HealthState, Probe, Prober, Timings, probe
from resilient_client.testing._fault_server import black_hole, refused_url

UP, DEGRADED, DOWN, UNKNOWN = HealthState

AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)

NGINX = """
daemon off; master_process off; pid {here}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {here}; proxy_temp_path {here};
    fastcgi_temp_path {here}; uwsgi_temp_path {here}; scgi_temp_path {here};
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {here}/certificate.pem; ssl_certificate_key {here}/certificate.pem;
        location /health {{ return 200 "ready\\n"; }}
        location /migrating {{ return 503 "migrating\\n"; }}
        location /old {{ return 301 /health; }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string alive if {{ path /alive }}
    default_backend users
backend users
    server nginx 127.0.0.1:{behind}
"""


class Nginx(NamedTuple):
    """Where an nginx listens, and what it takes to start it."""

    port: int
    tls_port: int
    command: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def binary(name: str) -> str:
    """The path of an installed server. The test is skipped without it, which fails in CI."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed; on Debian: apt-get install nginx-light haproxy")
    return found


def free_ports(count: int) -> list[int]:
    """Return unused ports below those that the system hands out to other programs."""
    ports: set[int] = set()
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


def started(command: list[str], port: int) -> subprocess.Popen[bytes]:
    """A server process that accepts connections."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603 -- ours
    for _ in range(3_000):
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return process
        with contextlib.suppress(subprocess.TimeoutExpired):  # it does not tell when it is ready, only when it is over
            process.wait(0.01)
            break
    process.kill()
    raise AssertionError(f"{command[0]} did not start: {process.communicate()[1].decode()}")


def stopped(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def prepared(tmp_path: Path) -> Nginx:
    """An nginx that is not running yet."""
    port, tls_port = free_ports(2)
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "certificate.pem")
    settings = tmp_path / "nginx.conf"
    settings.write_text(NGINX.format(here=tmp_path, port=port, tls_port=tls_port))
    return Nginx(port, tls_port, [binary("nginx"), "-p", str(tmp_path), "-e", "stderr", "-c", str(settings)])


@pytest.fixture
def nginx(prepared: Nginx) -> Iterator[Nginx]:
    """A running nginx."""
    process = started(prepared.command, prepared.port)
    yield prepared
    stopped(process)


@pytest.fixture
def haproxy(prepared: Nginx, tmp_path: Path) -> Iterator[str]:
    """The URL of a HAProxy in front of that nginx, whether it runs or not."""
    (port,) = free_ports(1)
    settings = tmp_path / "haproxy.cfg"
    settings.write_text(HAPROXY.format(port=port, behind=prepared.port))
    process = started([binary("haproxy"), "-db", "-q", "-f", str(settings)], port)
    yield f"http://127.0.0.1:{port}"
    stopped(process)


async def everything(nginx: Nginx, haproxy: str) -> HealthReport:
    """A check of all there is: real servers, a closed port and a black hole."""
    with black_hole() as hole:
        targets = {
            "nginx": Probe(f"{nginx.url}/health", expect_body="ready", expect_status=200),
            "nginx, moved": Probe(f"{nginx.url}/old", expect_status=200),
            "nginx, TLS": f"https://127.0.0.1:{nginx.tls_port}/health",
            "nginx, plain text to its TLS port": f"http://127.0.0.1:{nginx.tls_port}/health",
            "nginx, TLS to its plain port": f"https://127.0.0.1:{nginx.port}/health",
            "nginx, migrating": f"{nginx.url}/migrating",
            "nginx, nothing there": f"{nginx.url}/nothing",
            "haproxy itself": Probe(f"{haproxy}/alive", expect_body="alive"),
            "through haproxy": Probe(f"{haproxy}/health", expect_body="ready"),
            "closed": refused_url(),
            "black hole": hole,
        }
        return await soon(probe(targets, timeout=5, connection=ConnectionSettings(tls=TRUSTING)))


async def test_real_servers_up_and_down(nginx: Nginx, haproxy: str) -> None:
    """Each gets its verdict, its status and its kind."""
    report = await everything(nginx, haproxy)
    assert {result.name: (result.state, result.status, result.kind) for result in report} == {
        "nginx": (UP, 200, None),
        "nginx, moved": (UP, 200, None),
        "nginx, TLS": (UP, 200, None),
        "nginx, plain text to its TLS port": (DOWN, 400, ErrorKind.CLIENT_ERROR),
        "nginx, TLS to its plain port": (DOWN, None, ErrorKind.TLS),
        "nginx, migrating": (DOWN, 503, ErrorKind.SERVER_ERROR),
        "nginx, nothing there": (DOWN, 404, ErrorKind.CLIENT_ERROR),
        "haproxy itself": (UP, 200, None),
        "through haproxy": (UP, 200, None),
        "closed": (DOWN, None, ErrorKind.CONNECT),
        "black hole": (DOWN, None, ErrorKind.DEADLINE),
    }


async def test_nginx_tls_stages_and_certificate(nginx: Nginx) -> None:
    """The result has the stages and the certificate as for any server."""
    url = f"https://127.0.0.1:{nginx.tls_port}/health"
    result = (await soon(probe([url], connection=ConnectionSettings(tls=TRUSTING))))[0]
    assert result.timings.dns is None
    assert None not in result.timings._replace(dns=0)
    assert result.certificate is not None
    assert result.certificate.names == ("127.0.0.1",)


async def test_nginx_certificate_name_mismatch(nginx: Nginx) -> None:
    """The name was resolved and the connection made before the handshake failed."""
    url = f"https://localhost:{nginx.tls_port}/health"
    result = (await soon(probe([url], connection=ConnectionSettings(tls=TRUSTING))))[0]
    assert (result.state, result.kind) == (DOWN, ErrorKind.TLS)
    assert "Hostname mismatch" in result.reason
    assert [name for name, seconds in zip(Timings._fields, result.timings, strict=True) if seconds is not None] == [
        "pool",
        "dns",
        "connect",
        "tls",
    ]


async def test_haproxy_server_goes_and_comes_back(prepared: Nginx, haproxy: str) -> None:
    """HAProxy answers 503 without a server: down at the third check, up at the second after it is back."""
    process = started(prepared.command, prepared.port)
    states = []
    async with Prober({"users": f"{haproxy}/health"}, rise=2, fall=3) as prober:
        states.append((await soon(prober.check()))["users"].state)
        stopped(process)
        states += [(await soon(prober.check()))["users"].state for _ in range(3)]
        assert prober.report["users"].status == 503
        process = started(prepared.command, prepared.port)
        states += [(await soon(prober.check()))["users"].state for _ in range(2)]
        stopped(process)
    assert states == [UP, UP, UP, DOWN, DOWN, UP]
