"""The commands on the pages print what the pages show."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shlex
from collections.abc import Iterator
from doctest import ELLIPSIS, OutputChecker
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.docs.pages import Block, blocks, name_of, pages_with
from tests.docs.upstream import Upstream, Wire

from resilient_client._cli import main
from resilient_client.testing._virtual_time import run_virtual


class Command(NamedTuple):
    """A line after a ``$``, the output the page shows below it, and the line number of its block."""

    line: str
    output: str
    at: int


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_of_page_print_what_it_shows(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every command of a ``console`` block runs with piped output. A ``toml NAME`` block is a file in its directory."""
    monkeypatch.setattr("resilient_client._client.client.AiohttpTransport", partial(Wire, Upstream()))
    monkeypatch.setattr(asyncio, "run", run_virtual)
    monkeypatch.chdir(tmp_path)
    code = 0
    for block in blocks(page):
        if block.info.startswith("toml "):
            Path(block.info.removeprefix("toml ")).write_text(block.text)
        elif block.info == "console":
            for command in _commands(block):
                written, code = _run(command.line, code)
                matches = OutputChecker().check_output(command.output, written, ELLIPSIS)
                assert matches, f"{name_of(page)}:{command.at} shows\n{command.output}\nbut it prints\n{written}"


def _commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a block, each with the lines up to the next command."""
    for piece in f"\n{block.text}".split("\n$ ")[1:]:
        line, _, output = piece.rstrip("\n").partition("\n")
        yield Command(line, f"{output}\n" if output else "", block.line)


def _run(line: str, last: int) -> tuple[str, int]:
    """Run a command, or ``echo $?``; return its stdout and stderr together, and its exit code."""
    if line == "echo $?":
        return f"{last}\n", 0
    program, *arguments = shlex.split(line)
    assert program == "resilient-client", f"cannot run {line!r}"
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        code = main(arguments)
    text = buffer.getvalue().decode()
    return text if text.endswith("\n") or not text else f"{text}\n", code
