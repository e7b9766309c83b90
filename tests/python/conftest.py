"""What all Python tests share: the package's own fixtures, and no host."""

import pytest
from tasker_core import _tasker_core

pytest_plugins = ["tasker_core.testing.plugin"]


@pytest.fixture(autouse=True)
def without_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the binary too, tests start without a host."""
    monkeypatch.setattr(_tasker_core, "_taskerpy", None)
