"""The pytest plugin that the package ships (tasker_core.testing.plugin)."""

import types

import pytest
import tasker_core
from tasker_core import EventBridge, FfiStepEvent, HandlerRegistry, StepContext
from tasker_core.testing import plugin


def test_the_package(tasker_core_module: types.ModuleType) -> None:
    assert tasker_core_module is tasker_core


def test_the_event_bridge_is_started(event_bridge: EventBridge) -> None:
    assert event_bridge is EventBridge.instance()
    assert event_bridge.is_active


def test_the_handler_registry_is_new_and_empty(handler_registry: HandlerRegistry) -> None:
    assert handler_registry is HandlerRegistry.instance()
    assert handler_registry.handler_count() == 0


def test_a_sample_event(sample_ffi_step_event: FfiStepEvent, event_uuids: dict[str, str]) -> None:
    assert set(event_uuids) == {"task_uuid", "step_uuid", "correlation_id", "event_id"}
    for name, value in event_uuids.items():
        assert getattr(sample_ffi_step_event, name) == value


def test_a_sample_context(sample_step_context: StepContext) -> None:
    assert sample_step_context.handler_name == "test_handler"
    assert sample_step_context.get_dependency_result("first_step") == {"value": 42}


def test_a_minimal_event(minimal_ffi_step_event: FfiStepEvent) -> None:
    assert minimal_ffi_step_event.task_sequence_step == {}


@pytest.mark.parametrize("name", ["integration", "slow", "client_integration"])
def test_markers_are_known(name: str, pytestconfig: pytest.Config) -> None:
    assert any(line.startswith(f"{name}: ") for line in pytestconfig.getini("markers"))


class Marked:
    """A test that is marked for a running API."""

    def __init__(self, *markers: str) -> None:
        self.markers = list(markers)
        self.added: list[pytest.MarkDecorator] = []

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.markers else None

    def add_marker(self, marker: pytest.MarkDecorator) -> None:
        self.added.append(marker)


@pytest.mark.parametrize(("setting", "skipped"), [(None, 1), ("false", 1), ("true", 0)])
def test_what_needs_an_api_is_skipped_unless_asked_for(
    setting: str | None, skipped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FFI_CLIENT_TESTS", raising=False)
    if setting is not None:
        monkeypatch.setenv("FFI_CLIENT_TESTS", setting)
    items = [Marked("client_integration"), Marked("slow")]
    plugin.pytest_collection_modifyitems(items)  # type: ignore[arg-type]
    assert [len(item.added) for item in items] == [skipped, 0]
