"""Pictures as files: PNG, SVG and HTML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.cli.simulate.support import SHORT, compared

from resilient_client._cli import main
from resilient_client._cli.simulate.figure import figure, saved
from resilient_client._cli.simulate.page import page

pytest.importorskip("matplotlib")
THREE = "retry=none,naive,default"


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!DOCTYPE html>")])
def test_output_suffix_selects_the_format(kind: str, begins: bytes, tmp_path: Path) -> None:
    """The content matches the suffix of the file."""
    (tmp_path / "short.toml").write_text(SHORT)
    path = tmp_path / f"picture.{kind}"
    assert main(["simulate", str(tmp_path / "short.toml"), "--output", str(path)]) == 0
    assert path.read_bytes().startswith(begins)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_picture_is_reproducible(kind: str) -> None:
    """Byte for byte: without dates or randomness, ``make figures`` changes only what has changed."""
    results = compared(THREE, seeds=2)
    assert saved(figure(*results), kind) == saved(figure(*results), kind)


@pytest.mark.parametrize(
    "compare", [(), ("retry_budget=off,default", "circuit_breaker=off,default"), ("timeout=1,2,3,4,5",)]
)
def test_picture_has_a_panel_per_variant(compare: tuple[str, ...]) -> None:
    """One variant, a square, and more than fit in a row: all on one scale, named, with units on the axes."""
    experiment, results = compared(*compare)
    axes = [each for each in figure(experiment, results).axes if each.axison]
    assert [each.get_title(loc="left") for each in axes if each.get_title(loc="left")] == [r.name for r in results]
    assert len({each.get_ylim() for each in axes if each.get_title(loc="left")}) == 1
    assert "requests to api per second" in {each.get_ylabel() for each in axes}
    assert "time, s" in {each.get_xlabel() for each in axes}


def test_page_loads_nothing() -> None:
    """No URL, script, style sheet or font: the page can be mailed and opened offline."""
    text = page(*compared(THREE))
    assert "http" not in text
    assert not re.search(r"<(script|link|img|iframe|object)\b|url\((?!#)|@import", text)


def test_page_holds_picture_table_and_command() -> None:
    """The page holds all that is needed to understand and repeat the run."""
    text = page(*compared(THREE))
    svg = re.search(r"<svg.*</svg>", text, re.DOTALL)
    assert svg is not None
    ET.fromstring(svg[0])  # noqa: S314 -- our own, and it must be well-formed
    assert "<code>resilient-client simulate short.toml</code>" in text
    assert text.count('<th scope="col">') == 3
    assert text.count('<th scope="row">') == 10


def test_page_escapes_the_description() -> None:
    """The text of a scenario's file is not markup."""
    experiment, results = compared()
    assert "<b>" not in page(experiment._replace(about="<b>bold</b>"), results)


def test_picture_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error comes before anything is run."""
    monkeypatch.setattr("resilient_client._cli.simulate.drawing.find_spec", lambda _: None)
    assert main(["simulate", "stall", "--output", str(tmp_path / "x.png")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pip install 'resilient-client[cli,figures]'" in printed.err
