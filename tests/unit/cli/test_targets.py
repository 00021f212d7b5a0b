"""Reading a file of targets, and the errors that name file, table, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilient_client._cli.targets import read_targets
from resilient_client._core.errors import ConfigurationError


def written(folder: Path, text: str) -> str:
    """Write a file with this text, and return its name."""
    path = folder / "targets.toml"
    path.write_text(text)
    return str(path)


def test_file_holds_targets_and_options(tmp_path: Path) -> None:
    """Every key is read into the option or the target that it belongs to."""
    file = read_targets(
        written(
            tmp_path,
            """
            timeout = "3s"
            concurrency = 7
            rise = 1
            fall = 2
            [targets]
            users = "https://users.example.com/health"
            [targets.search]
            url = "http://search.example.com/"
            critical = false
            expect_status = "200-299"
            expect_body = "ready"
            timeout = "500ms"
            slow = 0.2
            method = "POST"
            headers = { X-One = "1" }
            certificate_days = 30
            """,
        )
    )
    users, search = file.probes
    assert file.options == {"timeout": 3.0, "concurrency": 7, "rise": 1, "fall": 2}
    assert (users.name, users.target, users.critical) == ("users", "https://users.example.com/health", True)
    assert (search.critical, search.expect_status, search.expect_body) == (False, range(200, 300), "ready")
    assert (search.timeout, search.slow, search.certificate_days) == (0.5, 0.2, 30)
    assert (search.call(0).method, search.call(0).given["headers"]) == ("POST", [("X-One", "1")])


@pytest.mark.parametrize(
    ("given", "expected"), [("204", {204}), ("[200, 404]", {200, 404}), ('"200 - 204"', set(range(200, 205)))]
)
def test_expected_status_has_three_forms(tmp_path: Path, given: str, expected: set[int]) -> None:
    """A status, a list and a range are allowed."""
    file = read_targets(written(tmp_path, f'[targets.a]\nurl = "http://a/"\nexpect_status = {given}'))
    assert set(file.probes[0].expect_status) == expected


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", "there are no targets"),
        ("targets = 1", "there are no targets"),
        ("timeot = 1", "there is no key 'timeot' at the top; did you mean 'timeout'?"),
        ("timeout = 0", "timeout is 0; give seconds above 0"),
        ("[targets.a]\nurl = x", "is not TOML: invalid value (at line 2, column 7)"),
        ("a = " + "[" * 10_000, "is not TOML: nested too deeply"),
        ("a = " + "9" * 5_000, "is not TOML: a number has too many digits"),
        ("[targets.a]\nurl = ", "is not TOML: invalid value (at line 2, the end of the file)"),
        ("[targets]\na = 1", "targets.a is 1; give a URL, or a table with a url"),
        ("[targets.a]\ncritical = true", "targets.a has no url"),
        ('[targets.a]\nurl = "ftp://a/"', "targets.a.url: the URL has the scheme 'ftp'"),
        ("[targets.a]\nurl = 1", "targets.a.url is 1; give a text"),
        ('[targets.a]\nurl = "http://a/"\ncrtical = false', "targets.a has no key 'crtical'; did you mean 'critical'?"),
        ('[targets.a]\nurl = "http://a/"\ncritical = "no"', "targets.a.critical is 'no'; give true or false"),
        ('[targets.a]\nurl = "http://a/"\nslow = -1', "targets.a.slow is -1; give seconds above 0"),
        ('[targets.a]\nurl = "http://a/"\nexpect_status = "2xx"', "targets.a.expect_status is '2xx'; give a status"),
        ('[targets.a]\nurl = "http://a/"\nexpect_status = [true]', "targets.a.expect_status is [True]; give a status"),
        ('[targets.a]\nurl = "http://a/"\nexpect_status = 99', "targets.a.expect_status is 99; give a status"),
        ('[targets.a]\nurl = "http://a/"\nexpect_status = "9-3"', "targets.a.expect_status is '9-3'; give a status"),
        ('[targets.a]\nurl = "http://a/"\nexpect_status = "299-200"', "is '299-200'; give a status"),
        ('[targets.a]\nurl = "http://u:secret@a/"', "targets.a.url: the URL of a carries credentials; give an Auth"),
        ("concurrency = 0", "concurrency is 0; give a whole number, 1 or more"),
        ("rise = true", "rise is True; give a whole number, 1 or more"),
        ('[targets.a]\nurl = "http://a/"\nheaders = { A = 1 }', "targets.a.headers is not a table of texts"),
        ('[targets.a]\nurl = "http://a/"\ncertificate_days = "x"', "targets.a.certificate_days is 'x'; give a number"),
        ('[targets.a]\nurl = "http://a/"\nmethod = "HEAD"\nexpect_body = "x"', "targets.a: expect_body needs a body"),
    ],
)
def test_error_in_a_file_names_its_place(tmp_path: Path, text: str, printed: str) -> None:
    """The message names the file, the table, the key and the remedy."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        read_targets(path)
    assert str(refused.value).startswith(path)
    assert str(refused.value).count(path) == 1
    assert printed in str(refused.value)
    assert str(refused.value).count(path) == 1


def test_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are not TOML."""
    (tmp_path / "targets.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not TOML: byte 0 is not UTF-8"):
        read_targets(str(tmp_path / "targets.toml"))


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Some editors write one at the beginning."""
    (tmp_path / "targets.toml").write_bytes(b'\xef\xbb\xbf[targets]\na = "http://a/"')
    assert [target.name for target in read_targets(str(tmp_path / "targets.toml")).probes] == ["a"]


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    """The message names the file and the reason."""
    with pytest.raises(ConfigurationError, match=r"--config: '.*/none.toml' cannot be read: no such file or directory"):
        read_targets(str(tmp_path / "none.toml"))
