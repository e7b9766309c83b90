"""What `taskerpy doctor` asks the running Python."""

from __future__ import annotations

import json
import sys
from importlib import metadata

# Packages that matter: what tasker_core needs, then what helps.
PACKAGES = ("pydantic", "pydantic-core", "pyee", "httpx", "pyyaml", "pytest")


def describe(_: bytes) -> bytes:
    """Versions of packages that are installed, and how this Python was built."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(
        {
            "packages": versions,
            "build": sys.version.replace("\n", " "),
            "free_threaded": not getattr(sys, "_is_gil_enabled", lambda: True)(),
        }
    ).encode("ascii")


def import_tasker_core(_: bytes) -> bytes:
    """Imports the whole package and tells its version."""
    import tasker_core

    for name in tasker_core.__all__:
        getattr(tasker_core, name)
    return json.dumps(tasker_core.__version__).encode("ascii")
