"""Chooses by a file's suffix how a picture is written: ``.png``, ``.svg`` or ``.html``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._core.errors import ConfigurationError, MissingExtraError

FORMATS = (".png", ".svg", ".html")


def picture_writer(path: Path) -> Callable[[Experiment, Sequence[Result]], None]:
    """Return the function that draws a comparison into ``path``.

    Raises:
        ConfigurationError: The suffix is not a known format.
        MissingExtraError: matplotlib is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ConfigurationError(f"--output: {str(path)!r} is not a picture; name a file that ends in {_or(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise MissingExtraError("pictures need matplotlib; install with: pip install 'resilient-client[cli,figures]'")

    def draw(experiment: Experiment, results: Sequence[Result]) -> None:
        from resilient_client._cli.simulate.figure import figure, saved
        from resilient_client._cli.simulate.page import page

        if suffix == ".html":
            path.write_text(page(experiment, results), encoding="utf-8")
        else:
            path.write_bytes(saved(figure(experiment, results), suffix.removeprefix(".")))

    return draw


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
