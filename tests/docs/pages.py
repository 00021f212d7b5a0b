"""The Markdown pages as data: their code blocks, prose, links, headings and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_FENCE = re.compile(r"^```(.*)$")
_HEADING = re.compile(r"^#{1,6} +(.+)$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")


class Block(NamedTuple):
    """A fenced block: its info string (such as ``python``), its text, and the number of its first line."""

    info: str
    text: str
    line: int


def name_of(page: Path) -> str:
    """Return the path of a page relative to the checkout."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    info, start, lines = None, 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if (fence := _FENCE.match(line)) is None:
            lines.append(line)
        elif info is None:
            info, start, lines = fence[1].strip(), number + 1, []
        else:
            yield Block(info, "\n".join(lines) + "\n", start)
            info = None


def pages_with(info: str) -> list[ParameterSet]:
    """Return the pages with blocks of a kind, as parameters of a test; those that simulate for long are slow."""
    pages = [page for page in PAGES if any(block.info == info for block in blocks(page))]
    slow = ROOT / "docs" / "simulation.md"
    return [pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] * (page == slow)) for page in pages]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    inside, kept = False, list[str]()
    for line in page.read_text().splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def sentences(page: Path) -> str:
    """Return the prose of a page without tables, inline code and the targets of links."""
    text = "\n".join(line for line in prose(page).splitlines() if not line.lstrip().startswith("|"))
    return re.sub(r"\]\([^)]*\)", "]", _CODE.sub("", text))


def headings(page: Path) -> list[str]:
    """Return the headings of a page, without their marks."""
    return [found[1] for line in prose(page).splitlines() if (found := _HEADING.match(line))]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page (``page.md#anchor``), formed from its headings as GitHub does."""
    kept = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings(page))
    return {text.replace(" ", "-") for text in kept}


def links(page: Path) -> list[str]:
    """Return the targets of all links of a page, except those in code."""
    return _LINK.findall(_CODE.sub("", prose(page)))


def rows(page: Path) -> list[list[str]]:
    """Return the rows of all tables of a page, cell by cell, including headers and separators."""
    lines = (line for line in prose(page).splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
