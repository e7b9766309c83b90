"""Tests written as coroutines, with the pytest plugin that the package ships."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tasker_core

COROUTINE = """
async def test_a_coroutine():
    pass
"""


def run_pytest(folder: Path, *arguments: str, settings: str = "") -> str:
    """Return what pytest says of a project with one coroutine for a test."""
    pytest.importorskip("pytest_asyncio")
    (folder / "test_coroutine.py").write_text(COROUTINE)
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
    command = [sys.executable, "-m", "pytest", "-p", "tasker_core.testing.plugin", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(tasker_core.__file__).parents[1])}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def test_coroutines_are_run_without_a_marker(tmp_path: Path) -> None:
    assert "1 passed" in run_pytest(tmp_path)


def test_the_mode_that_a_project_sets_is_kept(tmp_path: Path) -> None:
    assert "1 failed" in run_pytest(tmp_path, settings="asyncio_mode = strict")


@pytest.mark.parametrize("argument", ["--asyncio-mode=strict", "-oasyncio_mode=strict"])
def test_the_mode_of_the_command_line_is_kept(tmp_path: Path, argument: str) -> None:
    assert "1 failed" in run_pytest(tmp_path, argument)


def test_without_a_plugin_for_coroutines_pytest_says_so_itself(tmp_path: Path) -> None:
    assert "1 failed" in run_pytest(tmp_path, "-p", "no:asyncio")
