"""Retired words are found where they are written, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.words import Prose, Words, check, prose_of, texts_of_markdown, texts_of_python

LIST = """
[words]
"edge edges" = "client boundary"
[names]
"Plan told" = "settings"
[phrases]
"at hand" = "buffered"
[[allowed]]
word = "edge"
text = "histogram edges?"
reason = "the term of statistics"
"""


@pytest.fixture
def words(tmp_path: Path) -> Words:
    """Return a short list."""
    path = tmp_path / "words.toml"
    path.write_text(LIST)
    return Words(path)


def found(words: Words, source: str, file: str = "src/x.py") -> list[tuple[int, str]]:
    """Return line and word of each finding."""
    texts = texts_of_python(source) if file.endswith(".py") else texts_of_markdown(source)
    return sorted((finding.line, finding.word) for finding in words.findings(file, source, texts))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open_edge = 1", [(1, "edge")]),
        ("class EdgeCase: ...", [(1, "Edge")]),
        ("api.edges()", [(1, "edges")]),
        ("knowledge = hedge = pledged = 1", []),
        ("class _Plan: ...", [(1, "_Plan")]),
        ("plan = Planner()", []),
        ("x = told", [(1, "told")]),
        ("x = 1  # the edge of the client", [(1, "edge")]),
        ("# what is at\n# hand\nx = 1", [(1, "at hand")]),
        ("# first\n# then the edge\nx = 1", [(2, "edge")]),
        ('"""First.\n\nThe edge."""', [(3, "edge")]),
        ("x = f'an edge of {y}'", [(1, "edge")]),
        ("# a cat told the dog\nx = 1", []),
    ],
)
def test_retired_words_are_found_in_python(words: Words, source: str, expected: list[tuple[int, str]]) -> None:
    """Identifiers are split at underscores and capitals, and comments are joined; a word inside a word is none."""
    assert found(words, source) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("# Title\n\nThe edge and `_call/edge.py`.", [(3, "edge"), (3, "edge")]),
        ("See [here](edge.md).", []),
        ("```python\nedge = 1\n```\nThe body is at\nhand.", [(4, "at hand")]),
    ],
)
def test_retired_words_are_found_in_pages(words: Words, page: str, expected: list[tuple[int, str]]) -> None:
    """Prose and inline code are checked, code blocks and the targets of links are not."""
    assert found(words, page, "docs/x.md") == expected


def test_inline_code_can_be_left_out(words: Words) -> None:
    """The changelog names renamed things in inline code."""
    assert list(words.findings("x.md", "`edge` is gone", texts_of_markdown("`edge` is gone", inline_code=False))) == []


def test_allowed_use_is_not_a_finding(words: Words) -> None:
    """An entry allows its word only where its expression matches the line."""
    assert [entry.word for entry in words.unused()] == ["edge"]
    assert found(words, "# the histogram edges\n\n# the edges\nx = 1") == [(3, "edges")]
    assert words.unused() == []


def test_finding_names_place_and_replacement(words: Words) -> None:
    """A message can be acted on."""
    [finding] = words.findings("src/x.py", "edge = 1", texts_of_python("edge = 1"))
    assert str(finding) == "src/x.py:1: 'edge' is retired; say: client boundary"


def test_prose_is_counted_in_docstrings_and_comments() -> None:
    """Semicolons and words for people count per word of docstrings and comments, not in code and other strings."""
    source = '"""Nobody waits; it returns."""\n# One; two.\nx = "nobody; who"; y = 1\n'
    assert prose_of([source]) == Prose(words=6, semicolons=2, people=1)


@pytest.mark.parametrize(
    ("prose", "expected"),
    [
        (Prose(1000, 4, 2), 0),
        (Prose(1000, 5, 2), 1),
        (Prose(1000, 5, 3), 2),
        (Prose(0, 0, 0), 0),
    ],
)
def test_rates_above_the_limits_are_complaints(prose: Prose, expected: int) -> None:
    """At most 4 semicolons and 2 words for people per 1,000 words are allowed."""
    assert len(prose.complaints()) == expected


def test_check_covers_source_and_pages(tmp_path: Path, words: Words) -> None:
    """Source files, the pages in the root and those in ``docs`` are read; an unused entry is a complaint, too."""
    for name, text in {"src/a.py": "edge = 1\n", "README.md": "The edge.\n", "docs/b.md": "At hand.\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    places = [complaint.partition(" ")[0] for complaint in check(tmp_path, words)]
    assert places == ["src/a.py:1:", "README.md:1:", "docs/b.md:1:", "words.toml:"]


def test_list_of_the_project_can_be_read() -> None:
    """Each word has a replacement, and each allowed use a reason."""
    words = Words()
    assert all([*words.words.values(), *words.names.values(), *words.phrases.values()])
    assert all(entry.reason for entry in words.allowed)
