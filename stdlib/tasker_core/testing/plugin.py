"""Fixtures and markers for pytest: ``pytest -p tasker_core.testing.plugin``.

A project that defines a fixture of the same name keeps its own.
"""

import os
import warnings
from collections.abc import Iterator
from types import ModuleType
from uuid import uuid4

import pytest

import tasker_core
from tasker_core.event_bridge import EventBridge
from tasker_core.handler import HandlerRegistry
from tasker_core.testing._events import step_event
from tasker_core.types import FfiStepEvent, StepContext

_MARKERS = {
    "integration": "needs parts outside this process",
    "slow": "takes long",
    "client_integration": "needs a running orchestration API; skipped unless FFI_CLIENT_TESTS=true",
}


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and run ``async def`` tests without a marker of their own.

    The latter needs pytest-asyncio, whose ``asyncio_mode`` is ``auto`` where
    neither the project nor the command line says otherwise.
    """
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    # Without pytest-asyncio there is no such option; None is the option not given.
    if getattr(config.option, "asyncio_mode", "") is None and not _sets(config, "asyncio_mode"):
        config.option.asyncio_mode = "auto"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an orchestration API, unless it was asked for."""
    if os.environ.get("FFI_CLIENT_TESTS") == "true":
        return
    skip = pytest.mark.skip(reason="needs an orchestration API: set FFI_CLIENT_TESTS=true")
    for item in items:
        if item.get_closest_marker("client_integration") is not None:
            item.add_marker(skip)


def _sets(config: pytest.Config, name: str) -> bool:
    """Return whether the project's settings or an ``-o name=value`` set a name."""
    overridden: list[str] = config.getoption("override_ini", None) or []
    if any(text.startswith(f"{name}=") for text in overridden):
        return True
    with warnings.catch_warnings():
        # getini() does not tell a default from the same value written down.
        warnings.simplefilter("ignore")
        settings = getattr(config, "inicfg", None)
    return settings is None or name in settings


@pytest.fixture(scope="session")
def tasker_core_module() -> ModuleType:
    """The package ``tasker_core``."""
    return tasker_core


@pytest.fixture
def event_bridge() -> Iterator[EventBridge]:
    """The process's event bridge: new, started, and stopped after the test."""
    EventBridge.reset_instance()
    bridge = EventBridge.instance()
    bridge.start()
    yield bridge
    bridge.stop()
    EventBridge.reset_instance()


@pytest.fixture
def handler_registry() -> Iterator[HandlerRegistry]:
    """The process's handler registry: new and empty, forgotten after the test."""
    HandlerRegistry.reset_instance()
    yield HandlerRegistry.instance(skip_bootstrap=True)
    HandlerRegistry.reset_instance()


@pytest.fixture
def event_uuids() -> dict[str, str]:
    """Fresh ``task_uuid``, ``step_uuid``, ``correlation_id`` and ``event_id``."""
    keys = ("task_uuid", "step_uuid", "correlation_id", "event_id")
    return {key: str(uuid4()) for key in keys}


@pytest.fixture
def sample_ffi_step_event(event_uuids: dict[str, str]) -> FfiStepEvent:
    """The event of a step with input, settings and the result of an earlier step."""
    return step_event(
        "test_step",
        handler="test_handler",
        input_data={"order_id": "order-1", "amount": 100},
        dependency_results={"first_step": {"value": 42}},
        step_config={"limit": 10},
        ids=event_uuids,
    )


@pytest.fixture
def sample_step_context(sample_ffi_step_event: FfiStepEvent) -> StepContext:
    """The context of the sample event for the handler ``test_handler``."""
    return StepContext.from_ffi_event(sample_ffi_step_event, "test_handler")


@pytest.fixture
def minimal_ffi_step_event(event_uuids: dict[str, str]) -> FfiStepEvent:
    """An event whose payload is empty."""
    return FfiStepEvent(**event_uuids, task_sequence_step={})
