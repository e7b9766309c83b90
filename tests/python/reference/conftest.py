"""The published package in a virtualenv of its own, beside ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tasker_core

ROOT = Path(__file__).parents[3]
VERSION = "0.1.8"
# What pip says when it cannot reach an index; any other failure is one of ours.
_UNREACHABLE = ("connection", "timed out", "timeout", "name or service not known", "proxyerror")

_python = pytest.StashKey[Path]()
_why_not = pytest.StashKey[str]()


class Unreachable(Exception):
    """The published package can neither be found nor fetched."""


@dataclass(frozen=True)
class Interpreter:
    """A way to run a module of this repository with one ``tasker_core``."""

    command: tuple[str, ...]
    environment: dict[str, str]

    def run(self, module: str, folder: Path) -> dict[str, Any]:
        """Return what a module writes to the file that it is given."""
        answer = folder / "answer.json"
        answer.unlink(missing_ok=True)
        done = subprocess.run(
            [*self.command, "-m", module, str(answer)],
            cwd=ROOT,
            env={**_clean_environment(), **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert answer.exists(), f"{module} failed in {self.command[0]}:\n{done.stderr}"
        seen: dict[str, Any] = json.loads(answer.read_text())
        return seen


def _clean_environment() -> dict[str, str]:
    names = ("TASKER_", "PYTHON", "WORKSPACE_PATH", "TELEMETRY_ENABLED", "COVERAGE")
    return {key: value for key, value in os.environ.items() if not key.startswith(names)}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the published package ready before the first test that needs it."""
    folder = Path(__file__).parent
    needing = [item for item in items if folder in item.path.parents]
    if not needing:
        return
    try:
        config.stash[_python] = published_python()
    except Unreachable as exc:
        config.stash[_why_not] = str(exc)
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was not compared, and why."""
    why = config.stash.get(_why_not, None)
    if why is not None:
        terminalreporter.write_line(f"not compared with tasker-py {VERSION}: {why}", yellow=True)


def published_python() -> Path:
    """Return a Python that has tasker-py: the one named, or one made under build/.

    Raises:
        Unreachable: pip reaches no index.
    """
    named = os.environ.get("TASKER_PY_PYTHON")
    if named:
        return Path(named)
    folder = ROOT / "build" / f"tasker-py-{VERSION}-py{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    finished = folder / "finished"
    if finished.exists() and python.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--retries", "1", "--timeout", "15", f"tasker-py=={VERSION}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        if any(word in done.stderr.lower() for word in _UNREACHABLE):
            last_line = done.stderr.strip().splitlines()[-1]
            raise Unreachable(f"pip cannot fetch it and TASKER_PY_PYTHON is not set ({last_line})")
        raise pytest.UsageError(f"pip install tasker-py=={VERSION} failed:\n{done.stderr}")
    finished.touch()
    return python


@pytest.fixture(scope="session")
def published(pytestconfig: pytest.Config) -> Interpreter:
    """The Python that has the published package."""
    return Interpreter((str(pytestconfig.stash[_python]),), {})


@pytest.fixture(scope="session")
def ours() -> Interpreter:
    """The binary these tests run in, or a plain Python that finds our sources."""
    if "_taskerpy" in sys.modules:
        program = str(Path("/proc/self/exe").readlink())
        return Interpreter((program, "python"), {"VIRTUAL_ENV": sys.prefix})
    sources = Path(tasker_core.__file__).parents[1]
    return Interpreter((sys.executable,), {"PYTHONPATH": str(sources)})


@pytest.fixture
def both(
    published: Interpreter, ours: Interpreter, tmp_path: Path
) -> Callable[[str], tuple[dict[str, Any], dict[str, Any]]]:
    """Runs a module of this folder with both packages and returns what each gave."""

    def run(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        module = f"tests.python.reference.{name}"
        return published.run(module, tmp_path), ours.run(module, tmp_path)

    return run
