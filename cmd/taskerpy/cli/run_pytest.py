"""What `taskerpy test` runs: pytest with tasker_core's fixtures."""

import importlib.util
import runpy
import sys
from pathlib import Path

PLUGIN = "tasker_core.testing.plugin"

# What pytest and the fixtures need, and the name to install it by.
NEEDED = {
    "pytest": "pytest",
    "pydantic": "pydantic",
    "pyee": "pyee",
    "httpx": "httpx",
    "yaml": "pyyaml",
}

missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
if missing:
    print(
        f"taskerpy: the Python environment of {sys.prefix} lacks {', '.join(missing)};"
        f" install with: {sys.executable} -m pip install {' '.join(missing)}",
        file=sys.stderr,
    )
    sys.exit(3)

sys.path[0] = str(Path.cwd())  # as python -m does
sys.argv = ["pytest", "-p", PLUGIN, *sys.argv[1:]]
runpy.run_module("pytest", run_name="__main__", alter_sys=True)
