"""The Python versions that the metadata names are those that CI tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_classifiers_are_the_versions_of_ci() -> None:
    """Each version that a classifier names is tested, from the lowest that may be installed."""
    found = re.search(r"^        python: \[(.+)\]$", CI, re.MULTILINE)
    assert found is not None
    tested = re.findall(r"3\.\d+", found[1])
    named = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert tested == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_unreleased_python_is_tried_and_may_fail() -> None:
    """The version after the last one is in the matrix, and does not turn CI red."""
    last = int(re.findall(r":: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))[-1])
    assert f'- python: "3.{last + 1}"\n            unreleased: true\n' in CI
    assert "continue-on-error: ${{ matrix.unreleased }}" in CI
    assert "allow-prereleases: ${{ matrix.unreleased }}" in CI
