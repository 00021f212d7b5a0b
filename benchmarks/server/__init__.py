"""The server of the benchmarks, in its own process and on its own core: in C where it compiles, else in Python."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import pin

HERE = Path(__file__).parent
BACKLOG = 1024


class Server(NamedTuple):
    """The URL of the server, and its language."""

    url: str
    language: str
    ca: bytes | None = None
    """The authority that signed the certificate of the server, as PEM. ``None``: it does not use TLS."""


@contextmanager
def serving(
    bodies: Mapping[str, bytes],
    core: int | None = None,
    compiler: str | None = os.environ.get("CC", "cc"),
    *,
    tls: bool = False,
) -> Iterator[Server]:
    """Serve each body under its name, below ``/`` and, with every tenth reply a 503, below ``/fail10/``.

    Args:
        bodies: The bodies of the replies, by name.
        core: The core of the server. ``None``: any core.
        compiler: The compiler of the C program. ``None``: use the Python server.
        tls: Whether to use TLS, with a certificate of a new authority for 127.0.0.1.

    Raises:
        ImportError: TLS needs trustme, which is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        replies = Path(folder, "replies")
        replies.mkdir()
        for name, body in bodies.items():
            (replies / name).write_bytes(body)
        pem = Path(folder, "server.pem")
        ca = certify(pem) if tls else None
        program = compiled(compiler, Path(folder, "server"), tls=tls)
        command = [program] if program else [sys.executable, str(HERE / "fallback.py")]
        fd = listener.fileno()
        arguments = [str(fd), str(replies), *([str(pem)] if tls else [])]
        process = subprocess.Popen([*command, *arguments], pass_fds=[fd], stdin=subprocess.PIPE)
        try:
            pin(core, process.pid)
            scheme = "https" if tls else "http"
            yield Server(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", "C" if program else "Python", ca)
        finally:
            process.communicate()  # closes its standard input, which ends the server


def certify(target: Path) -> bytes:
    """Write a key and its certificate for 127.0.0.1, and return the new authority that signed it."""
    import trustme

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(target))
    return authority.cert_pem.bytes()


def compiled(compiler: str | None, target: Path, *, tls: bool = False) -> str | None:
    """Compile the server, and return its path; ``None`` if it cannot be compiled."""
    if compiler is None or shutil.which(compiler) is None:
        return None
    command = [compiler, "-O2", "-o", str(target), str(HERE / "server.c")]
    if tls:
        command += ["-DTLS", "-lssl", "-lcrypto"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    if run.returncode:
        print(f"using the Python server, because the C server does not compile:\n{run.stderr}", file=sys.stderr)
        return None
    return str(target)
