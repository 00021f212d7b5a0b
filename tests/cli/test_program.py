"""The program as a process with pipes: data on stdout, the rest on stderr, and an exit code that means something."""

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
from tests.cli.terminal import PATIENCE, PROGRAM, piped

import resilient_client
from resilient_client.testing.faults import hang_before_headers, hold, reply


def test_version_is_that_of_the_package() -> None:
    """``--version`` says which release this is."""
    end = piped("--version")
    assert (end.returncode, end.stdout.decode()) == (0, f"resilient-client {resilient_client.__version__}\n")


def test_library_never_loads_what_only_the_command_line_needs() -> None:
    """Neither the library nor ``resilient_client._cli`` itself imports typer or rich."""
    source = (
        "import sys, resilient_client._cli, resilient_client._client.client; print({'typer', 'rich'} & {*sys.modules})"
    )
    end = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True, timeout=PATIENCE)  # noqa: S603 -- our own text
    assert end.stdout == b"set()\n"


@pytest.mark.parametrize("absent", ["typer", "rich"])
def test_missing_extra_is_told_with_the_install_command(absent: str) -> None:
    """Without its extra the program says in one sentence what to install."""
    source = f"import sys; sys.modules[{absent!r}] = None; from resilient_client._cli import main; sys.exit(main())"
    end = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False, timeout=PATIENCE)  # noqa: S603 -- our own text
    assert (end.returncode, end.stdout) == (2, b"")
    assert end.stderr.decode() == (
        f"the command line needs {absent}; install with: pip install 'resilient-client[cli]'\n"
    )


def test_body_goes_through_a_pipe_unchanged(upstream: BackgroundServer) -> None:
    """Binary bodies, too."""
    body = bytes(range(256))
    upstream.script(reply(body=body, headers={"Content-Type": "image/png"}))
    end = piped("get", upstream.url)
    assert (end.returncode, end.stdout, end.stderr) == (0, body, b"")


def test_body_is_read_from_stdin(upstream: BackgroundServer) -> None:
    """``@-`` stands for what stdin holds."""
    assert piped("post", upstream.url, "--json", "@-", stdin=b'{"a": 1}').returncode == 0
    assert upstream.requests[0].body == b'{"a": 1}'


def test_probe_writes_a_plain_line_a_target(upstream: BackgroundServer) -> None:
    """No escape sequence, no table, aligned, in the order given; critical and down is exit code 1."""
    upstream.route("GET", "/down", reply(503))
    end = piped("probe", f"{upstream.url}/", f"{upstream.url}/down")
    up, down = end.stdout.decode().splitlines()
    assert end.returncode == 1
    assert up.split()[:3] == ["up", f"127.0.0.1:{upstream.port}/", "200"]
    assert down.split()[:3] == ["DOWN", f"127.0.0.1:{upstream.port}/down", "503"]
    assert down.endswith("status 503, expected 200-399")
    assert up.index("200") == down.index("503")
    assert b"\x1b" not in end.stdout


def test_reader_that_leaves_ends_the_program_in_silence(upstream: BackgroundServer) -> None:
    """As behind ``| head -1``: no traceback, and the exit code of a program killed by SIGPIPE."""
    command = [*PROGRAM, "probe", upstream.url, "--watch", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 -- our own program
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 141


def test_reader_of_stderr_that_leaves_ends_the_program_in_silence(upstream: BackgroundServer) -> None:
    """As behind ``2>&1 | head -1``, in the middle of a trace."""
    held = hold(reply(503))
    upstream.script(held)
    command = [*PROGRAM, "get", upstream.url, "--trace", "--no-retry"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # noqa: S603 -- our own program
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"attempt 1")
        process.stdout.close()
        upstream.soon(held.release)
        assert process.wait(PATIENCE) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_full_disk_is_told_in_one_sentence(upstream: BackgroundServer) -> None:
    """What cannot be written is a failure, not a traceback."""
    with open("/dev/full", "wb") as full:
        end = subprocess.run([*PROGRAM, "get", upstream.url, "-i"], stdout=full, stderr=subprocess.PIPE, check=False)  # noqa: S603 -- our own program
    assert end.returncode == 1
    assert end.stderr.decode().startswith("error: ")
    assert end.stderr.decode() == "error: no space left on device\n"


@pytest.mark.parametrize("arguments", [("get",), ("get", "-i"), ("probe",), ("probe", "--json")])
def test_closed_stdout_leaves_the_exit_code(upstream: BackgroundServer, arguments: tuple[str, ...]) -> None:
    """As with ``>&-``, by who wants the code alone: the call is made, and nothing is said."""
    end = _with_closed(">&-", *arguments, upstream.url)
    assert (end.returncode, end.stdout, end.stderr, upstream.hits) == (0, b"", b"", 1)


def test_closed_stderr_lets_no_complaint_into_the_data(upstream: BackgroundServer) -> None:
    """As with ``2>&-``: stdout holds the body and nothing else."""
    upstream.script(reply(404, body=b"no"))
    end = _with_closed("2>&-", "get", upstream.url, "--trace")
    assert (end.returncode, end.stdout) == (1, b"no")


def test_closed_stdin_is_no_empty_body(upstream: BackgroundServer) -> None:
    """What shall be read from a stdin that is closed is missing, and nothing is sent in its place."""
    end = _with_closed("<&-", "post", upstream.url, "--data", "@-")
    assert (end.returncode, upstream.hits) == (2, 0)
    assert end.stderr.decode() == "error: --data: '@-' reads stdin, and that is closed\n"


def _with_closed(redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program as a shell does that was told to close one of its streams."""
    command = f"{shlex.join([*PROGRAM, *arguments])} {redirection}"
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False, timeout=PATIENCE)  # noqa: S603 -- our own program


def test_reader_of_the_help_that_leaves_ends_the_program_in_silence() -> None:
    """The help is written by typer; at its end, too, stands the exit code of a program killed by SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as nobody:
        end = subprocess.run([*PROGRAM, "--help"], stdout=nobody, stderr=subprocess.PIPE, check=False, timeout=PATIENCE)  # noqa: S603 -- our own program
    assert (end.returncode, end.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("number", "code", "told"), [(signal.SIGINT, 130, b"interrupted\n"), (signal.SIGTERM, 143, b"")]
)
def test_signal_while_the_program_is_loaded_ends_it_as_later(number: signal.Signals, code: int, told: bytes) -> None:
    """Loading takes a second on a slow machine; who changes their mind within it sees no traceback."""
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
    end = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False, timeout=PATIENCE)  # noqa: S603 -- our own text
    assert (end.returncode, end.stdout, end.stderr) == (code, b"", told)


@pytest.mark.parametrize("command", ["probe", "get"])
@pytest.mark.parametrize("closed", [[1], [2], [1, 2]])
def test_closed_output_is_no_reason_to_fail(upstream: BackgroundServer, command: str, closed: list[int]) -> None:
    """As with ``>&-``: who does not want to read still learns the exit code, and no bug is made of it."""
    where = " ".join(f"{number}>&-" for number in closed)
    line = ["sh", "-c", f'"$@" {where}', "sh", *PROGRAM, command, upstream.url]
    end = subprocess.run(line, capture_output=True, timeout=PATIENCE, check=False)  # noqa: S603 -- our own program
    assert (end.returncode, end.stderr) == (0, b"")


def test_encoding_without_our_marks_is_no_reason_to_fail() -> None:
    """What a terminal cannot show is replaced."""
    end = piped("get", "--help", PYTHONIOENCODING="ascii")
    assert (end.returncode, end.stderr) == (0, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_call_at_once(upstream: BackgroundServer, number: signal.Signals, code: int) -> None:
    """An interrupted call says so in one word, a terminated one nothing; neither shows a traceback."""
    upstream.script(hang_before_headers())
    command = [*PROGRAM, "get", upstream.url, "--trace"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 -- our own program
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"attempt 1 to")
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, b"")
    assert err == (b"interrupted\n" if number is signal.SIGINT else b"")


def test_watch_through_a_pipe_dates_every_line_and_turns_a_target_late(
    upstream: BackgroundServer, tmp_path: Path
) -> None:
    """With ``--watch`` a target that was up is down only after ``fall`` failures in a row."""
    upstream.script(reply(200), reply(503))
    file = tmp_path / "targets.toml"
    file.write_text(f'fall = 2\n[targets]\nusers = "{upstream.url}"\n')
    command = [*PROGRAM, "probe", "--config", str(file), "--watch", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 -- our own program
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert [line.split()[1] for line in lines] == ["up", "up", "DOWN"]
    assert [line.split()[3] for line in lines] == ["200", "503", "503"]
    assert "failed once: status 503" in lines[1]
    assert all(line[:2] == "20" and line[19] == "Z" for line in lines)


def test_watch_with_json_is_one_object_a_line(upstream: BackgroundServer) -> None:
    """Each check is one line that a program can read, with the version of its form."""
    command = [*PROGRAM, "probe", upstream.url, "--watch", "0.05", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 -- our own program
        assert process.stdout is not None
        reports = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert [(report["schema"], report["state"]) for report in reports] == [(1, "up")] * 2
