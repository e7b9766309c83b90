"""What the worker tells of itself."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from tasker_core import ComponentHealth, HealthCheck, WorkerNotInitializedError, observability
from tasker_core.observability import get_health_check, get_metrics, get_worker_config
from tasker_core.types import WorkerConfig, WorkerMetrics

from tests.python.more.fake_host import FakeHost

ALL: list[tuple[str, Callable[[], Any]]] = [
    ("_get_health_check", get_health_check),
    ("_get_metrics", get_metrics),
    ("_get_worker_config", get_worker_config),
]

HEALTH = {
    "status": "healthy",
    "is_running": True,
    "components": {
        "database": {"name": "database", "status": "healthy", "pool_size": 5, "pool_idle": 4}
    },
    "rust": {"environment": "test", "worker_core_status": "Running", "web_api_enabled": True},
    "python": {"handler_count": 3},
}


def answering(native: str, answer: Any) -> Any:
    return patch(f"tasker_core.observability.{native}", return_value=answer)


def test_health_is_told_with_its_components() -> None:
    with answering("_get_health_check", HEALTH):
        health = get_health_check()
    assert (health.status, health.is_running) == ("healthy", True)
    assert health.components == {
        "database": ComponentHealth(name="database", status="healthy", pool_size=5, pool_idle=4)
    }
    assert (health.rust, health.python) == (HEALTH["rust"], HEALTH["python"])


@pytest.mark.parametrize(
    "answer", [{}, {"components": None, "rust": None, "python": None, "unknown": 1}]
)
def test_health_has_defaults(answer: dict[str, Any]) -> None:
    with answering("_get_health_check", answer):
        assert get_health_check() == HealthCheck(status="unknown", is_running=False)


def test_a_component_without_a_name_has_that_of_its_key() -> None:
    with answering("_get_health_check", {"components": {"cache": {"status": "healthy"}}}):
        assert get_health_check().components["cache"].name == "cache"


def test_a_component_that_is_one_already_stays_so() -> None:
    cache = ComponentHealth(name="cache", status="healthy")
    with answering("_get_health_check", {"components": {"cache": cache}}):
        assert get_health_check().components == {"cache": cache}


def test_metrics_are_told() -> None:
    with answering("_get_metrics", {"steps_in_progress": 2, "unknown": 1}):
        assert get_metrics() == WorkerMetrics(steps_in_progress=2)


def test_the_configuration_is_told() -> None:
    with answering("_get_worker_config", {"handler_timeout_ms": 5000, "unknown": 1}):
        assert get_worker_config() == WorkerConfig(handler_timeout_ms=5000)


@pytest.mark.parametrize(("native", "ask"), ALL)
def test_the_host_is_asked(host: FakeHost, native: str, ask: Callable[[], Any]) -> None:
    host.answers[native.removeprefix("_")] = {}
    ask()
    assert host.calls == [native.removeprefix("_")]


@pytest.mark.parametrize(("native", "ask"), ALL)
def test_without_a_worker_there_is_nothing_to_tell(native: str, ask: Callable[[], Any]) -> None:
    with pytest.raises(WorkerNotInitializedError, match=r"^Worker is not running$") as caught:
        ask()
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("text", ["Worker NOT Initialized", "the worker is Not Running now"])
@pytest.mark.parametrize(("native", "ask"), ALL)
def test_a_missing_worker_is_known_by_the_hosts_words(
    native: str, ask: Callable[[], Any], text: str
) -> None:
    with (
        patch(f"tasker_core.observability.{native}", side_effect=RuntimeError(text)),
        pytest.raises(WorkerNotInitializedError, match=r"^Worker is not running$"),
    ):
        ask()


@pytest.mark.parametrize("error", [RuntimeError("FFI error: no"), ValueError("not running")])
@pytest.mark.parametrize(("native", "ask"), ALL)
def test_other_errors_are_not_changed(
    native: str, ask: Callable[[], Any], error: Exception
) -> None:
    with (
        patch(f"tasker_core.observability.{native}", side_effect=error),
        pytest.raises(type(error)) as caught,
    ):
        ask()
    assert caught.value is error


def test_the_public_names_are_those_of_the_contract() -> None:
    assert set(observability.__all__) == {"get_health_check", "get_metrics", "get_worker_config"}
