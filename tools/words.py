"""Refuse words that the project no longer uses, and prose that is hard to read.

::

    python tools/words.py

Checks the identifiers, strings, docstrings and comments of ``src/``, and the prose of the Markdown pages without their
code blocks. ``tools/words.toml`` lists the retired words with their replacements, and the good uses that are allowed,
each with a reason. Docstrings and comments of ``src/`` may also have at most 4 semicolons and 2 words for people
(nobody, whoever) per 1,000 words: the subject of a sentence is the thing it is about.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("words.toml")

MAX_SEMICOLONS = 4.0  # per 1,000 words of docstrings and comments
MAX_PEOPLE = 2.0  # likewise
PEOPLE = {"nobody", "somebody", "whoever", "whom", "who", "whatever", "anybody", "everybody"}

_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_FENCE = re.compile(r"^ *```")
_LINK_TARGET = re.compile(r"\]\([^)]*\)")
_CODE = re.compile(r"`[^`]*`")


class Text(NamedTuple):
    """A piece of a file: an identifier or prose, and the line on which it begins."""

    line: int
    text: str
    is_name: bool = False


class Finding(NamedTuple):
    """A retired word in a file."""

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word!r} is retired; say: {self.instead}"


class Allowed(NamedTuple):
    """A good use of a retired word."""

    word: str
    reason: str
    text: str = ""
    file: str = "*"


class Words:
    """The retired words, as ``words.toml`` lists them, and what is allowed."""

    def __init__(self, path: Path = LIST) -> None:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
        self.words = {form: instead for forms, instead in listed.get("words", {}).items() for form in forms.split()}
        self.names = {form: instead for forms, instead in listed.get("names", {}).items() for form in forms.split()}
        self.phrases = {
            re.compile(rf"\b{phrase.replace(' ', chr(92) + 's+')}\b", re.IGNORECASE): instead
            for phrase, instead in listed.get("phrases", {}).items()
        }
        self.allowed = [Allowed(**entry) for entry in listed.get("allowed", [])]
        self.used = set[Allowed]()

    def findings(self, file: str, source: str, texts: Iterable[Text]) -> Iterator[Finding]:
        """Yield the retired words in the texts of a file, except for allowed uses."""
        lines = source.splitlines()
        for piece in texts:
            for offset, word, instead in self._matches(piece):
                line = piece.line + piece.text.count("\n", 0, offset)
                if not self._is_allowed(file, word, lines[line - 1] if line <= len(lines) else ""):
                    yield Finding(file, line, word, instead)

    def unused(self) -> list[Allowed]:
        """Return the allowed uses that no file has."""
        return [entry for entry in self.allowed if entry not in self.used]

    def _matches(self, piece: Text) -> Iterator[tuple[int, str, str]]:
        for part in _PART.finditer(piece.text):
            if (instead := self.words.get(part[0].lower())) is not None:
                yield part.start(), part[0], instead
        if piece.is_name:
            if (instead := self.names.get(piece.text.lstrip("_"))) is not None:
                yield 0, piece.text, instead
            return
        for phrase, instead in self.phrases.items():
            for found in phrase.finditer(piece.text):
                yield found.start(), " ".join(found[0].split()), instead

    def _is_allowed(self, file: str, word: str, line: str) -> bool:
        """Return whether an entry allows the word on this line, and mark the entry as used."""
        for entry in self.allowed:
            forms = {entry.word, f"{entry.word}s"}
            if word.lower() in forms and Path(file).match(entry.file) and re.search(entry.text, line, re.IGNORECASE):
                self.used.add(entry)
                return True
        return False


def texts_of_python(source: str) -> Iterator[Text]:
    """Yield the identifiers, strings and comments of a module. Adjacent comment lines are one text."""
    comment: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            yield Text(token.start[0], token.string, is_name=True)
        elif token.type == tokenize.COMMENT:
            if comment and token.start[0] != comment[-1][0] + 1:
                yield _joined(comment)
                comment = []
            comment.append((token.start[0], token.string.lstrip("# ")))
    if comment:
        yield _joined(comment)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(node.lineno, node.value)


def texts_of_markdown(source: str, *, inline_code: bool = True) -> Iterator[Text]:
    """Yield the prose of a page: no code blocks, no targets of links, and inline code only if it is asked for."""
    inside, kept = False, list[str]()
    for line in source.splitlines():
        fence = _FENCE.match(line) is not None
        inside ^= fence
        kept.append("" if inside or fence else _LINK_TARGET.sub("]", line if inline_code else _CODE.sub("", line)))
    yield Text(1, "\n".join(kept))


def _joined(comment: list[tuple[int, str]]) -> Text:
    return Text(comment[0][0], "\n".join(text for _, text in comment))


class Prose(NamedTuple):
    """The style of docstrings and comments in numbers."""

    words: int
    semicolons: int
    people: int

    def complaints(self) -> list[str]:
        """Say which rates are too high."""
        rates = [("semicolons", self.semicolons, MAX_SEMICOLONS), ("words for people", self.people, MAX_PEOPLE)]
        return [
            f"src: {1000 * count / self.words:.1f} {what} per 1,000 words of docstrings and comments, allowed {limit:g}"
            for what, count, limit in rates
            if self.words and 1000 * count / self.words > limit
        ]


def prose_of(sources: Iterable[str]) -> Prose:
    """Count the docstrings and comments of modules."""
    words = semicolons = people = 0
    for source in sources:
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        texts = [token.string for token in tokens if token.type == tokenize.COMMENT]
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
        texts += [ast.get_docstring(node) or "" for node in nodes]
        for text in texts:
            found = re.findall(r"[A-Za-z']+", text)
            words += len(found)
            semicolons += text.count(";")
            people += sum(word.lower() in PEOPLE for word in found)
    return Prose(words, semicolons, people)


def check(root: Path = ROOT, words: Words | None = None) -> list[str]:
    """Return what is wrong in the project, one line each."""
    words = words or Words()
    modules = {path: path.read_text(encoding="utf-8") for path in sorted((root / "src").rglob("*.py"))}
    found = list[Finding]()
    for path, source in modules.items():
        found += words.findings(path.relative_to(root).as_posix(), source, texts_of_python(source))
    for path in sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")]):
        source = path.read_text(encoding="utf-8")
        # The changelog has to name what was renamed.
        texts = texts_of_markdown(source, inline_code=path.name != "CHANGELOG.md")
        found += words.findings(path.relative_to(root).as_posix(), source, texts)
    unused = [
        f"{LIST.name}: nothing needs the allowed use of {e.word!r} ({e.reason}); remove it" for e in words.unused()
    ]
    return [*map(str, dict.fromkeys(found)), *unused, *prose_of(modules.values()).complaints()]


def main() -> int:
    """Print what is wrong, and return the exit code."""
    complaints = check()
    print(*complaints, sep="\n", end="\n" if complaints else "", file=sys.stderr)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
