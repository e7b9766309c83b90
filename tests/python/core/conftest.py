"""The parts that the tests of this folder work with."""

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from tasker_core import EventBridge, HandlerRegistry, StepExecutionSubscriber, _tasker_core
from tasker_core import step_execution_subscriber as subscriber_module

from tests.python.core.execution import Parts

_VARIABLES = ("TASKER_ENV", "TASKER_TEMPLATE_PATH", "WORKSPACE_PATH", "TELEMETRY_ENABLED")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of the machine and no singleton of another test reaches a test."""
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    HandlerRegistry.reset_instance()
    EventBridge.reset_instance()
    yield
    HandlerRegistry.reset_instance()
    EventBridge.reset_instance()


@pytest.fixture
def registry() -> HandlerRegistry:
    return HandlerRegistry()


class FakeHost:
    """Stands where the binary's native module would be, and keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {}

    def call(self, name: str, payload: bytes | None = None) -> bytes | None:
        self.calls.append((name, None if payload is None else json.loads(payload)))
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else json.dumps(answer).encode()

    @property
    def only_call(self) -> tuple[str, Any]:
        """The one call that was made."""
        assert len(self.calls) == 1, self.calls
        return self.calls[0]


@pytest.fixture
def host(without_host: None, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host that answers what a test tells it to."""
    fake = FakeHost()
    monkeypatch.setattr(_tasker_core, "_taskerpy", fake)
    return fake


class Calls(list[tuple[Any, ...]]):
    """A callable that keeps the arguments it was called with."""

    # Listeners are told apart by what they are, not by what they have heard.
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __call__(self, *args: Any) -> None:
        self.append(args)


@pytest.fixture
def calls() -> Calls:
    """Keeps the arguments it is called with."""
    return Calls()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """A subscriber whose completions are kept, and what it works with."""
    complete, checkpoint = mock.Mock(return_value=True), mock.Mock(return_value=True)
    monkeypatch.setattr(subscriber_module, "_complete_step_event", complete)
    monkeypatch.setattr(subscriber_module, "_checkpoint_yield_step_event", checkpoint)
    bridge, registry = EventBridge(), HandlerRegistry()
    bridge.start()
    subscriber = StepExecutionSubscriber(bridge, registry, "worker-1")
    return Parts(subscriber, bridge, registry, complete, checkpoint)
