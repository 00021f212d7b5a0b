"""The program as a process with pipes: data on stdout, messages on stderr, and the exit code."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.background import BackgroundServer
from tests.cli.terminal import PROGRAM, TIME_LIMIT, completed, errors_of, output_of, piped, started

import resilient_client
from resilient_client.testing.faults import hang_before_headers, hold, reply


def test_version_is_that_of_the_package() -> None:
    """``--version`` prints the version of the package."""
    end = piped("--version")
    assert (end.returncode, end.stdout.decode()) == (0, f"resilient-client {resilient_client.__version__}\n")


def test_library_never_imports_the_cli_extra() -> None:
    """Neither the library nor ``resilient_client._cli`` itself imports typer or rich."""
    source = (
        "import sys, resilient_client._cli, resilient_client._client.client; print({'typer', 'rich'} & {*sys.modules})"
    )
    end = completed([sys.executable, "-c", source])
    assert (end.returncode, end.stdout) == (0, b"set()\n")


@pytest.mark.parametrize("absent", ["typer", "rich"])
def test_missing_extra_names_the_install_command(absent: str) -> None:
    """Without its extra the program prints one sentence with the install command."""
    source = f"import sys; sys.modules[{absent!r}] = None; from resilient_client._cli import main; sys.exit(main())"
    end = completed([sys.executable, "-c", source])
    assert (end.returncode, end.stdout) == (2, b"")
    assert end.stderr.decode() == (
        f"the command line needs {absent}; install with: pip install 'resilient-client[cli]'\n"
    )


def test_piped_body_is_unchanged(upstream: BackgroundServer) -> None:
    """A pipe gets the bytes of the body, even if they are binary."""
    body = bytes(range(256))
    upstream.script(reply(body=body, headers={"Content-Type": "image/png"}))
    end = piped("get", upstream.url)
    assert (end.returncode, end.stdout, end.stderr) == (0, body, b"")


def test_body_is_read_from_stdin(upstream: BackgroundServer) -> None:
    """``@-`` sends the content of stdin."""
    assert piped("post", upstream.url, "--json", "@-", stdin=b'{"a": 1}').returncode == 0
    assert upstream.requests[0].body == b'{"a": 1}'


def test_piped_probe_writes_a_line_per_target(upstream: BackgroundServer) -> None:
    """The lines are plain, aligned and in the given order. A critical target that is down means exit code 1."""
    upstream.route("GET", "/down", reply(503))
    end = piped("probe", f"{upstream.url}/", f"{upstream.url}/down")
    up, down = end.stdout.decode().splitlines()
    assert end.returncode == 1
    assert up.split()[:3] == ["up", f"127.0.0.1:{upstream.port}/", "200"]
    assert down.split()[:3] == ["DOWN", f"127.0.0.1:{upstream.port}/down", "503"]
    assert down.endswith("status 503, expected 200-399")
    assert up.index("200") == down.index("503")
    assert b"\x1b" not in end.stdout


def test_stdout_reader_exit_ends_silently(upstream: BackgroundServer) -> None:
    """As with ``| head -1``: no traceback, and the exit code of a program killed by SIGPIPE."""
    with started("probe", upstream.url, "--watch", "0.05") as process:
        assert output_of(process).readline()
        output_of(process).close()
        assert errors_of(process).read() == b""
        assert process.wait(TIME_LIMIT) == 141


@pytest.mark.parametrize("status", [200, 503])
def test_stderr_reader_exit_ends_silently(upstream: BackgroundServer, status: int) -> None:
    """As with ``2>&1 | head -1``, in the middle of a trace, whether the call succeeds or fails."""
    held = hold(reply(status))
    upstream.script(held)
    with started("get", upstream.url, "--trace", "--no-retry", stderr=subprocess.STDOUT) as process:
        assert output_of(process).readline().startswith(b"attempt 1")
        output_of(process).close()
        upstream.soon(held.release)
        assert process.wait(TIME_LIMIT) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_full_disk_is_reported(upstream: BackgroundServer) -> None:
    """Output that cannot be written is a failure with one sentence, not a traceback."""
    with open("/dev/full", "wb") as full:
        end = completed([*PROGRAM, "get", upstream.url, "-i"], stdout=full)
    assert (end.returncode, end.stderr) == (1, b"error: no space left on device\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_full_disk_behind_stderr_keeps_the_body(upstream: BackgroundServer) -> None:
    """If no message can be written the exit code is 1, and stdout still gets the body of the error reply."""
    upstream.script(reply(404, body=b"no"))
    with open("/dev/full", "wb") as full:
        end = completed([*PROGRAM, "get", upstream.url, "--trace"], stderr=full)
    assert (end.returncode, end.stdout) == (1, b"no")


def test_stderr_reader_exit_keeps_the_body(upstream: BackgroundServer) -> None:
    """If only the reader of stderr has exited, stdout still gets the body that was received."""
    upstream.script(reply(200, body=b"data"))
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as broken:
        end = completed([*PROGRAM, "get", upstream.url, "--trace"], stderr=broken)
    assert (end.returncode, end.stdout) == (141, b"data")


@pytest.mark.parametrize("arguments", [("get",), ("get", "-i"), ("probe",), ("probe", "--json")])
def test_closed_stdout_leaves_the_exit_code(upstream: BackgroundServer, arguments: tuple[str, ...]) -> None:
    """With ``>&-`` the call is made and nothing is printed. The exit code is as usual."""
    end = _with_closed(">&-", *arguments, upstream.url)
    assert (end.returncode, end.stdout, end.stderr, upstream.hits) == (0, b"", b"", 1)


def test_closed_stderr_keeps_messages_out_of_stdout(upstream: BackgroundServer) -> None:
    """With ``2>&-`` stdout holds the body and nothing else."""
    upstream.script(reply(404, body=b"no"))
    end = _with_closed("2>&-", "get", upstream.url, "--trace")
    assert (end.returncode, end.stdout) == (1, b"no")


def test_closed_stdin_is_not_an_empty_body(upstream: BackgroundServer) -> None:
    """A body that should be read from a closed stdin is an error. Nothing is sent."""
    end = _with_closed("<&-", "post", upstream.url, "--data", "@-")
    assert (end.returncode, upstream.hits) == (2, 0)
    assert end.stderr.decode() == "error: --data: '@-' reads stdin, but stdin is closed\n"


def _with_closed(redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program from a shell that closes one of its streams."""
    command = f"{shlex.join([*PROGRAM, *arguments])} {redirection}"
    return completed(["/bin/sh", "-c", command])


def test_help_reader_exit_ends_silently() -> None:
    """Typer writes the help on its own console. A broken pipe still gives the exit code of SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as broken:
        end = completed([*PROGRAM, "--help"], stdout=broken)
    assert (end.returncode, end.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("number", "code", "printed"), [(signal.SIGINT, 130, b"interrupted\n"), (signal.SIGTERM, 143, b"")]
)
def test_signal_while_loading_ends_as_later(number: signal.Signals, code: int, printed: bytes) -> None:
    """Loading takes a second on a slow machine. A signal during that time causes no traceback."""
    source = f"""
import os, sys
from resilient_client._cli import main

class Signal:
    def find_spec(self, name, *_):
        if name == "resilient_client._cli.app":
            os.kill(os.getpid(), {int(number)})

sys.meta_path.insert(0, Signal())
sys.exit(main())
"""
    end = completed([sys.executable, "-c", source])
    assert (end.returncode, end.stdout, end.stderr) == (code, b"", printed)


@pytest.mark.parametrize("command", ["probe", "get"])
@pytest.mark.parametrize("closed", [[1], [2], [1, 2]])
def test_closed_output_is_not_a_failure(upstream: BackgroundServer, command: str, closed: list[int]) -> None:
    """With one or both outputs closed, the program succeeds and reports no bug."""
    where = " ".join(f"{number}>&-" for number in closed)
    line = ["sh", "-c", f'"$@" {where}', "sh", *PROGRAM, command, upstream.url]
    end = completed(line)
    assert (end.returncode, end.stderr) == (0, b"")


def test_unencodable_characters_are_replaced() -> None:
    """An encoding without the program's symbols does not make it fail."""
    end = piped("get", "--help", PYTHONIOENCODING="ascii")
    assert (end.returncode, end.stderr) == (0, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_call_at_once(upstream: BackgroundServer, number: signal.Signals, code: int) -> None:
    """An interrupted call prints one word, a terminated one nothing. Neither prints a traceback."""
    upstream.script(hang_before_headers())
    with started("get", upstream.url, "--trace") as process:
        assert errors_of(process).readline().startswith(b"attempt 1 to")
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=TIME_LIMIT)
    assert (process.returncode, out) == (code, b"")
    assert err == (b"interrupted\n" if number is signal.SIGINT else b"")


def test_piped_watch_dates_lines_and_applies_fall(upstream: BackgroundServer, tmp_path: Path) -> None:
    """With ``--watch`` each line has a date, and a target goes down only after ``fall`` failures in a row."""
    upstream.script(reply(200), reply(503))
    file = tmp_path / "targets.toml"
    file.write_text(f'fall = 2\n[targets]\nusers = "{upstream.url}"\n')
    with started("probe", "--config", str(file), "--watch", "0.05") as process:
        lines = [output_of(process).readline().decode() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 130
    assert [line.split()[1] for line in lines] == ["up", "up", "DOWN"]
    assert [line.split()[3] for line in lines] == ["200", "503", "503"]
    assert "failed once: status 503" in lines[1]
    assert all(line[:2] == "20" and line[19] == "Z" for line in lines)


def test_json_watch_is_one_object_per_line(upstream: BackgroundServer) -> None:
    """Each check is one line of JSON with the version of its schema."""
    with started("probe", upstream.url, "--watch", "0.05", "--json") as process:
        reports = [json.loads(output_of(process).readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIME_LIMIT)
    assert [(report["schema"], report["state"]) for report in reports] == [(1, "up")] * 2
