"""Draw the replies of other projects' test suites into this directory, with what those suites expect.

::

    git clone https://github.com/curl/curl
    git clone https://github.com/nodejs/llhttp
    python tests/data/http1/generate.py curl llhttp

The arguments are git repositories; a bare one will do. README.md says what the files hold and under which licence.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MAX_REPLY = 8_000
"""Bytes of a reply that is kept. The few larger ones differ from others in their size only."""


def main(curl: str, llhttp: str) -> None:
    """Write the files."""
    write("curl.jsonl", without_repeats(curl_replies(Repository(curl))))
    write("llhttp.jsonl", llhttp_fixtures(Repository(llhttp)))


class Repository:
    """The newest state of a git repository."""

    def __init__(self, path: str) -> None:
        self._git = ["git", "-C", path]

    def names(self, folder: str) -> list[str]:
        """The files of a folder."""
        listed = self._run("ls-tree", "--name-only", "HEAD", f"{folder}/")
        return listed.decode().split()

    def read(self, names: list[str]) -> Iterator[str]:
        """The files, one character per byte."""
        asked = "".join(f"HEAD:{name}\n" for name in names).encode()
        answer = self._run("cat-file", "--batch", given=asked)
        while answer:
            head, _, answer = answer.partition(b"\n")
            size = int(head.split()[-1])
            yield answer[:size].decode("latin-1")
            answer = answer[size + 1 :]

    def _run(self, *arguments: str, given: bytes = b"") -> bytes:
        return subprocess.run([*self._git, *arguments], input=given, check=True, capture_output=True).stdout  # noqa: S603 - git


def write(name: str, rows: Iterator[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    lines = [json.dumps(row, ensure_ascii=True) for row in rows]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{name}: {len(lines)} rows")


# -- curl: docs/tests/FILEFORMAT.md of that project describes its files


def curl_replies(repository: Repository) -> Iterator[dict[str, Any]]:
    """Yield the replies of every test of HTTP, each with what the test expects."""
    names = [name for name in repository.names("tests/data") if re.fullmatch(r"tests/data/test\d+", name)]
    names.sort(key=lambda name: int(name.removeprefix("tests/data/test")))
    for name, text in zip(names, repository.read(names), strict=True):
        number = name.removeprefix("tests/data/test")
        text = preprocess(text)
        servers = part(text, "server").split()
        if not servers or not all(server.startswith("http") for server in servers):
            continue
        replies = list(parts(part(text, "reply"), r"data\d*"))
        error = int(part(text, "errorcode").strip().split(",")[0] or 0)
        method = "HEAD" if re.search(r"(^|\s)(-I|--head|-X\s*HEAD|--request HEAD)\b", part(text, "command")) else "GET"
        for label, reply in replies:
            if not reply or len(reply) > MAX_REPLY:
                continue
            row: dict[str, Any] = {"test": f"{number} {label}", "method": method, "reply": reply}
            # A test of one reply says what becomes of it. One of several replies says it if all of them are accepted.
            if len(replies) == 1 or error == 0:
                row["error"] = error
            if len(replies) == 1 and error == 0 and method == "GET":
                content = expected_content(text, reply)
                if content is not None:
                    row["content"] = content
            yield row


def expected_content(text: str, reply: str) -> str | None:
    """What curl writes after the head, or ``None`` if the test does not check it, or asks for something else."""
    options = re.search(
        r"--(compressed|tr-encoding|raw|next|write-out|time-cond)|(^|\s)-[zCw]\s", part(text, "command")
    )
    if options or 'nocheck="yes"' in text or part(text, "tool") or "<connect" in text or "\nTrailer:" in reply:
        return None
    output = next((content for _, content in parts(part(text, "reply"), "datacheck")), reply)
    if not output.startswith("HTTP/"):
        return None  # written without the head
    while head := re.match(r"HTTP/[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n", output):
        output = output[head.end() :]
        if not re.match(r"HTTP/\S+ 1\d\d", head[0]):
            return output
    return None


def part(text: str, label: str) -> str:
    """The first part with this label, or nothing."""
    return next((content for _, content in parts(text, label)), "")


def parts(text: str, label: str) -> Iterator[tuple[str, str]]:
    """The parts whose label matches."""
    for found in re.finditer(rf"^ *<({label})( [^>\n]*)?>\n(.*?)^ *</\1>", text, re.DOTALL | re.MULTILINE):
        attributes, content = found[2] or "", found[3]
        if 'base64="yes"' in attributes:
            content = base64.b64decode(content).decode("latin-1")
        if 'crlf="yes"' in attributes:
            content = re.sub("\r*\n", "\r\n", content)
        elif 'crlf="headers"' in attributes:
            content = "".join(header_lines(content))
        if 'nonewline="yes"' in attributes:
            content = content.removesuffix("\n").removesuffix("\r")
        yield found[1], content


def header_lines(content: str) -> Iterator[str]:
    """Give lines that look like a head the line end of one, as curl's test suite does."""
    follows = False
    for line in content.splitlines(keepends=True) if "\r" not in content else re.findall(r"[^\n]*\n|[^\n]+", content):
        header = re.match(r"HTTP/(1\.1|1\.0|2|3) ([1-5]|9)[^\r]*\Z", line) or re.match(
            r"[a-z0-9_-]+: [^\r]*\Z", line, re.IGNORECASE
        )
        yield re.sub("\r*\n", "\r\n", line) if header or (follows and line == "\n") else line
        follows = bool(header)


def preprocess(text: str) -> str:
    """Put bytes in the place of macros, and something constant in the place of variables."""
    text = "".join(chosen_lines(text))
    text = re.sub(r"%hex\[(.*?)\]hex%", lambda found: from_percent(found[1]), text, flags=re.DOTALL)
    text = re.sub(
        r"%b64\[(.*?)\]b64%", lambda found: base64.b64encode(from_percent(found[1]).encode("latin-1")).decode(), text
    )
    text = re.sub(r"%repeat\[(\d+) x (.*?)\]%", lambda found: from_percent(found[2]) * int(found[1]), text)
    text = re.sub(r"%days\[[^\]]*\]", "1900000000", text)
    for name, value in {"SP": " ", "TAB": "\t", "CR": "\r", "LT": "<", "GT": ">", "AMP": "&"}.items():
        text = text.replace(f"%{name}", value)
    text = re.sub(r"%(HTTP\w*PORT|\w+PORT)\b", "80", text)
    return re.sub(r"%(HOSTIP|CLIENTIP)\b", "127.0.0.1", text.replace("%TESTNUMBER", "1"))


def chosen_lines(text: str) -> Iterator[str]:
    """The lines of a curl that was built with every feature, without comments."""
    active = [True]
    for line in text.splitlines(keepends=True) if "\r" not in text else re.findall(r"[^\n]*\n", text):
        if found := re.match(r"%if (!?)", line):
            active.append(active[-1] and not found[1])
        elif line.startswith("%else"):
            active[-1] = active[-2] and not active[-1]
        elif line.startswith("%endif"):
            active.pop()
        elif active[-1]:
            yield line


def from_percent(text: str) -> str:
    """Bytes in place of %XX."""
    return re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)


def without_repeats(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One of each reply to each method. One that says what is expected wins."""
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["method"], row["reply"]
        if key not in kept or len(row) > len(kept[key]):
            kept[key] = row
    yield from kept.values()


# -- llhttp: its fixtures are pages of Markdown


def llhttp_fixtures(repository: Repository) -> Iterator[dict[str, Any]]:
    """Yield the responses with the messages that the parser is expected to find."""
    names = repository.names("test/response")
    pattern = (
        r"^#+ ([^\n]+)\n(?:(?!^#).)*?<!-- meta=(\{.*?\}) -->\n```http\n((?:(?!```).)*)```(?:(?!```).)*```log\n(.*?)```"
    )
    for name, text in zip(names, repository.read(names), strict=True):
        for found in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
            title, meta, content, log = found.groups()
            reply = unescape(content)
            yield {
                "test": f"{Path(name).stem}: {title}",
                "meta": json.loads(meta),
                "reply": reply,
                "messages": list(messages(reply, log)),
                "error": next(iter(re.findall(r'error code=\d+ reason="(.*)"$', log, re.MULTILINE)), None),
            }


def messages(reply: str, log: str) -> Iterator[list[Any]]:
    """Yield the status, the content and whether it is complete, for each message in a log."""
    message: list[Any] | None = None
    for line in log.splitlines():
        if found := re.search(r"headers complete status=(\d+)", line):
            message = [int(found[1]), "", False]
        elif message is not None and line.startswith("/"):
            message[1] = None  # the log says only roughly where the content is
        elif message is not None and (found := re.search(r"off=(\d+) len=(\d+) span\[body\]", line)):
            begin, size = int(found[1]), int(found[2])
            message[1] = None if message[1] is None else message[1] + reply[begin : begin + size]
        elif message is not None and line.endswith("message complete"):
            yield [message[0], message[1], True]
            message = None
    if message is not None:
        yield message


def unescape(content: str) -> str:
    """Undo the notation of the fixtures: line ends are CRLF, and those that are written stand alone."""
    content = content.removesuffix("\n")
    content = re.sub(r"\\(\r\n|\r|\n)", "", content)
    content = content.replace("\r\n", "\n").replace("\n", "\r\n")
    for written, meant in {r"\r": "\r", r"\n": "\n", r"\t": "\t", r"\f": "\f"}.items():
        content = content.replace(written, meant)
    return re.sub(r"\\x([0-9a-fA-F]+)", lambda found: chr(int(found[1], 16)), content)


if __name__ == "__main__":
    main(*sys.argv[1:])
