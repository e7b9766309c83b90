"""Start and stop of the worker (§3)."""

from typing import Any
from unittest import mock

import pytest
import tasker_core
from tasker_core import BootstrapConfig, WorkerStatus, bootstrap


def answering(answer: Any) -> Any:
    return mock.patch.object(bootstrap, "_bootstrap_worker", return_value=answer)


def test_a_start_is_a_success() -> None:
    answer = {"status": "started", "handle_id": "h-1", "worker_id": "w-1", "message": "started"}
    with answering(answer):
        result = bootstrap.bootstrap_worker()
    assert result.success
    assert (result.handle_id, result.worker_id) == ("h-1", "w-1")
    assert (result.status, result.message, result.error_message) == ("started", "started", None)


def test_a_second_start_is_a_result_and_not_an_exception() -> None:
    with answering({"status": "already_running", "handle_id": "h-2", "message": "runs"}):
        result = bootstrap.bootstrap_worker()
    assert (result.success, result.status, result.worker_id) == (False, "already_running", "")


def test_an_empty_answer_is_no_success() -> None:
    with answering({}):
        result = bootstrap.bootstrap_worker()
    assert (result.success, result.status, result.message) == (False, "", None)


def test_without_a_configuration_the_native_function_gets_none() -> None:
    with answering({}) as native:
        bootstrap.bootstrap_worker()
    native.assert_called_once_with(None)


def test_a_configuration_reaches_the_native_function_with_all_four_keys() -> None:
    with answering({}) as native:
        bootstrap.bootstrap_worker(BootstrapConfig(namespace="shop"))
    native.assert_called_once_with(
        {"worker_id": None, "namespace": "shop", "config_path": None, "log_level": "info"}
    )


def test_a_failed_start_raises_what_the_native_function_raises() -> None:
    error = RuntimeError("Bootstrap failed: no database")
    with (
        mock.patch.object(bootstrap, "_bootstrap_worker", side_effect=error),
        pytest.raises(RuntimeError) as caught,
    ):
        bootstrap.bootstrap_worker()
    assert caught.value is error


@pytest.mark.parametrize("name", ["stop_worker", "transition_to_graceful_shutdown"])
def test_texts_are_passed_on_unchanged(name: str) -> None:
    with mock.patch.object(bootstrap, f"_{name}", return_value="done so"):
        assert getattr(bootstrap, name)() == "done so"


def test_a_status_may_have_any_keys_besides_running() -> None:
    with mock.patch.object(
        bootstrap, "_get_worker_status", return_value={"running": True, "new_key": 1}
    ):
        assert bootstrap.get_worker_status() == WorkerStatus(running=True)


def test_whether_a_worker_runs_is_the_native_answer() -> None:
    with mock.patch.object(bootstrap, "_is_worker_running", return_value=True):
        assert bootstrap.is_worker_running() is True


def test_without_a_worker_there_is_a_status_and_nothing_to_stop() -> None:
    status = tasker_core.get_worker_status()
    assert (status.running, status.error) == (False, "Worker system not initialized")
    assert tasker_core.stop_worker() == "Worker system not running"


def test_a_graceful_shutdown_needs_a_worker() -> None:
    with pytest.raises(RuntimeError, match="not initialized"):
        tasker_core.transition_to_graceful_shutdown()
