"""The exit code and the message for each way in which a command can end."""

from __future__ import annotations

import pytest
import typer

from resilient_client import ConfigurationError
from resilient_client._cli.errors import exit_code_of


def _raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (typer.Exit(3), 3, ""),
        (ConfigurationError("wrong [bold]field[/]"), 2, "error: wrong [bold]field[/]\n"),
        (typer.BadParameter("Odd."), 2, "error: invalid value: Odd\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exception_determines_the_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, printed: str
) -> None:
    """One sentence on stderr, nothing on stdout, and text that looks like markup is printed as it is."""
    assert exit_code_of(lambda: _raising(error)) == code
    assert capsys.readouterr() == ("", printed)


def test_unexpected_exception_prints_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 70 distinguishes a bug from a failed check."""
    assert exit_code_of(lambda: _raising(RuntimeError("a bug"))) == 70
    assert "RuntimeError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(1, 1), (None, 0)])
def test_result_of_a_command_is_its_exit_code(result: int | None, code: int) -> None:
    """A command that returns ``None`` succeeded."""
    assert exit_code_of(lambda: result) == code
