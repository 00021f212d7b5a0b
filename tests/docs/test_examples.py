"""The examples of the README and the docs do what the pages say."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import logging
from collections.abc import Iterator
from doctest import ELLIPSIS, OutputChecker
from functools import partial
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, Block, blocks, name_of, pages_with
from tests.docs.upstream import Upstream, Wire

from resilient_client.testing._virtual_time import VirtualTimeLoop, run_virtual

_MAX_UNRUN = 3


@pytest.mark.parametrize("page", pages_with("python"))
def test_blocks_of_page_print_what_it_shows(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block runs, in one namespace per page. An ``output`` block is what the block above it prints."""
    wire = partial(Wire, Upstream())
    monkeypatch.setattr("resilient_client._client.client.AiohttpTransport", wire)
    monkeypatch.setattr("resilient_client.auth._oauth2.AiohttpTransport", wire)
    monkeypatch.setattr(asyncio, "run", run_virtual)  # scripts that end in asyncio.run() also use virtual time
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    with _own_logging(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        for block in blocks(page):
            if block.info == "python":
                printed = _run(block, page, namespace, runner)
            elif block.info == "output":
                matches = OutputChecker().check_output(block.text, printed, ELLIPSIS)
                assert matches, f"{name_of(page)}:{block.line} shows\n{block.text}\nbut the block prints\n{printed}"


def test_pages_have_few_blocks_that_do_not_run() -> None:
    """At most three Python blocks are marked as not run, and none escapes by another spelling of its language."""
    marked = [block.info for page in PAGES for block in blocks(page) if block.info.lower().startswith(("py", "async"))]
    assert set(marked) <= {"python", "python no-run"}
    assert marked.count("python no-run") <= _MAX_UNRUN


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Let a page configure logging as a program does, and undo that."""
    loggers = logging.getLogger(), logging.getLogger("resilient_client"), logging.getLogger("resilient_client.circuit")
    kept = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    loggers[0].handlers.clear()  # pytest's: with one, basicConfig() does nothing
    try:
        yield
    finally:
        for logger, handlers, level in kept:
            logger.handlers[:] = handlers
            logger.setLevel(level)


def _run(block: Block, page: Path, namespace: dict[str, object], runner: asyncio.Runner) -> str:
    """Run one block and return what it printed. It may await at its top level, as in ``python -m asyncio``."""
    source = "\n" * (block.line - 1) + block.text  # a traceback then shows the line number of the page
    code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, namespace))  # noqa: S307 -- this project's own pages; only eval() returns the coroutine
        else:
            exec(code, namespace)  # noqa: S102 -- as above
    return out.getvalue()
