"""The parts that the tests of this folder work with."""

import threading
from collections.abc import Iterator

import pytest
from tasker_core import EventBridge, HandlerRegistry, Worker, _tasker_core

from tests.python.more.fake_host import FakeApi, FakeHost, serve

_VARIABLES = (
    "TASKER_ENV",
    "TASKER_TEMPLATE_PATH",
    "TASKER_NAMESPACE",
    "WORKSPACE_PATH",
    "PYTHON_HANDLER_PATH",
    "RUST_LOG",
    "HOSTNAME",
    "DATABASE_URL",
    "TASKER_WEB_BIND_ADDRESS",
    "TASKER_CONFIG_PATH",
    "TASKER_ORCHESTRATION_URL",
    "TASKER_ORCHESTRATION_TIMEOUT_MS",
    "TASKER_ORCHESTRATION_AUTH_TOKEN",
    "TASKER_AUTH_TOKEN",
    "TASKER_API_KEY",
    "TASKER_API_KEY_HEADER",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def without_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the binary too, a test has a host only if it asks for one."""
    monkeypatch.setattr(_tasker_core, "_taskerpy", None)


@pytest.fixture
def host(without_host: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    """A host in place of none, and singletons of its own."""
    fake = FakeHost()
    monkeypatch.setattr(_tasker_core, "_taskerpy", fake)
    HandlerRegistry.reset_instance()
    EventBridge.reset_instance()
    yield fake
    fake.failures.clear()
    Worker.reset_instance()
    EventBridge.reset_instance()
    HandlerRegistry.reset_instance()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An orchestration API that the environment points to."""
    fake = FakeApi(url="")
    server = serve(fake)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", fake.url)
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()
