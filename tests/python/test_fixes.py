"""The table of what is mended names tests that exist."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def defined() -> set[str]:
    """Return the names of all tests, Python's and Go's."""
    names: set[str] = set()
    for file in HERE.rglob("test_*.py"):
        names.update(re.findall(r"^\s*(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))
    for folder in ("tests", "worker"):
        for file in (ROOT / folder).rglob("*_test.go"):
            names.update(re.findall(r"^func (Test\w+)", file.read_text(), re.MULTILINE))
    return names


def test_every_test_of_the_table_exists() -> None:
    named = re.findall(r"`((?:test_|Test)\w+)`", (HERE / "fixes.md").read_text())
    assert len(named) > 80
    assert [name for name in named if name not in defined()] == []
