"""Models and enumerations: fields, defaults, what they refuse (§7.1 to 7.3, 7.6 to 7.8)."""

from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError
from tasker_core import types
from tasker_core.types import (
    BootstrapConfig,
    ErrorType,
    FfiStepEvent,
    LogContext,
    StepError,
    StepExecutionResult,
)

ID = UUID("018f0000-0000-7000-8000-000000000001")
REQUIRED = object()

ENUMS = {
    "WorkerState": "starting running shutting_down stopped error",
    "ErrorType": "permanent_error retryable_error validation_error timeout handler_error",
    "DecisionType": "create_steps no_branches",
    "FailureStrategy": "continue_on_failure fail_fast isolate",
}

# Name, type and default of every field.
MODELS: dict[str, dict[str, Any]] = {
    "BootstrapConfig": {
        "worker_id": None,
        "namespace": "default",
        "config_path": None,
        "log_level": "info",
    },
    "BootstrapResult": {
        "success": REQUIRED,
        "handle_id": REQUIRED,
        "worker_id": REQUIRED,
        "status": REQUIRED,
        "message": None,
        "error_message": None,
    },
    "WorkerStatus": {
        "running": REQUIRED,
        "environment": None,
        "worker_core_status": None,
        "web_api_enabled": None,
        "supported_namespaces": None,
        "database_pool_size": None,
        "database_pool_idle": None,
        "error": None,
    },
    "StepHandlerCallResult": {
        "success": REQUIRED,
        "result": {},
        "error_message": None,
        "metadata": {},
    },
    "LogContext": {
        "correlation_id": None,
        "task_uuid": None,
        "step_uuid": None,
        "namespace": None,
        "operation": None,
    },
    "FfiStepEvent": {
        "event_id": REQUIRED,
        "task_uuid": REQUIRED,
        "step_uuid": REQUIRED,
        "correlation_id": REQUIRED,
        "task_correlation_id": None,
        "parent_correlation_id": None,
        "task_sequence_step": REQUIRED,
        "trace_id": None,
        "span_id": None,
    },
    "StepError": {
        "error_type": REQUIRED,
        "message": REQUIRED,
        "stack_trace": None,
        "retryable": True,
        "metadata": {},
    },
    "StepExecutionResult": {
        "step_uuid": REQUIRED,
        "task_uuid": REQUIRED,
        "success": REQUIRED,
        "status": REQUIRED,
        "execution_time_ms": REQUIRED,
        "result": None,
        "error": None,
        "worker_id": None,
        "correlation_id": None,
        "metadata": {},
    },
    "FfiDispatchMetrics": {
        "pending_count": REQUIRED,
        "oldest_pending_age_ms": None,
        "newest_pending_age_ms": None,
        "oldest_event_id": None,
        "starvation_detected": False,
        "starving_event_count": 0,
    },
    "StarvationWarning": {
        "event_id": REQUIRED,
        "step_uuid": REQUIRED,
        "pending_duration_ms": REQUIRED,
        "threshold_ms": REQUIRED,
    },
    "StepContext": {
        "event": REQUIRED,
        "task_uuid": REQUIRED,
        "step_uuid": REQUIRED,
        "correlation_id": REQUIRED,
        "handler_name": REQUIRED,
        "input_data": {},
        "dependency_results": {},
        "step_config": {},
        "step_inputs": {},
        "retry_count": 0,
        "max_retries": 3,
    },
    "StepHandlerResult": {
        "is_success": REQUIRED,
        "result": None,
        "error_message": None,
        "error_type": None,
        "retryable": True,
        "error_code": None,
        "metadata": {},
    },
    "DomainEventMetadata": {
        "task_uuid": REQUIRED,
        "step_uuid": None,
        "step_name": None,
        "namespace": None,
        "correlation_id": REQUIRED,
        "fired_at": REQUIRED,
        "fired_by": REQUIRED,
    },
    "ExecutionResult": {
        "success": REQUIRED,
        "result": None,
        "error_message": None,
        "error_type": None,
        "execution_time_ms": None,
    },
    "InProcessDomainEvent": {
        "event_id": REQUIRED,
        "event_name": REQUIRED,
        "event_version": REQUIRED,
        "metadata": REQUIRED,
        "payload": {},
        "execution_result": None,
    },
    "ComponentHealth": {
        "name": REQUIRED,
        "status": REQUIRED,
        "pool_size": None,
        "pool_idle": None,
    },
    "HealthCheck": {
        "status": REQUIRED,
        "is_running": REQUIRED,
        "components": {},
        "rust": {},
        "python": {},
    },
    "WorkerMetrics": {
        "dispatch_channel_pending": 0,
        "oldest_pending_age_ms": None,
        "newest_pending_age_ms": None,
        "starvation_detected": False,
        "starving_event_count": 0,
        "database_pool_size": 0,
        "database_pool_idle": 0,
        "environment": None,
        "steps_processed": 0,
        "steps_succeeded": 0,
        "steps_failed": 0,
        "steps_in_progress": 0,
    },
    "WorkerConfig": {
        "environment": None,
        "supported_namespaces": [],
        "web_api_enabled": False,
        "database_pool_size": 0,
        "polling_interval_ms": 10,
        "starvation_threshold_ms": 1000,
        "max_concurrent_handlers": 10,
        "handler_timeout_ms": 30000,
    },
    "DecisionPointOutcome": {
        "decision_type": REQUIRED,
        "next_step_names": [],
        "dynamic_steps": None,
        "reason": None,
        "routing_context": {},
    },
    "CursorConfig": {
        "start_cursor": REQUIRED,
        "end_cursor": REQUIRED,
        "step_size": 1,
        "metadata": {},
    },
    "BatchAnalyzerOutcome": {"cursor_configs": [], "total_items": None, "batch_metadata": {}},
    "BatchWorkerContext": {
        "batch_id": REQUIRED,
        "cursor_config": REQUIRED,
        "batch_index": REQUIRED,
        "total_batches": REQUIRED,
        "batch_metadata": {},
        "checkpoint": {},
    },
    "BatchWorkerOutcome": {
        "items_processed": 0,
        "items_succeeded": 0,
        "items_failed": 0,
        "items_skipped": 0,
        "results": [],
        "errors": [],
        "last_cursor": None,
        "batch_metadata": {},
    },
    "RustCursorConfig": {
        "batch_id": REQUIRED,
        "start_cursor": REQUIRED,
        "end_cursor": REQUIRED,
        "batch_size": REQUIRED,
    },
    "BatchMetadata": {"cursor_field": REQUIRED, "failure_strategy": REQUIRED},
    "RustBatchWorkerInputs": {
        "cursor": REQUIRED,
        "batch_metadata": REQUIRED,
        "is_no_op": REQUIRED,
    },
    "NoBatchesOutcome": {"type": "no_batches"},
    "CreateBatchesOutcome": {
        "type": "create_batches",
        "worker_template_name": REQUIRED,
        "worker_count": REQUIRED,
        "cursor_configs": REQUIRED,
        "total_items": REQUIRED,
    },
    "BatchAggregationResult": {
        "total_processed": REQUIRED,
        "total_succeeded": REQUIRED,
        "total_failed": REQUIRED,
        "total_skipped": REQUIRED,
        "batch_count": REQUIRED,
        "success_rate": REQUIRED,
        "error_count": REQUIRED,
        "errors": [],
    },
    "ClientStepReadiness": {
        "workflow_step_uuid": REQUIRED,
        "task_uuid": REQUIRED,
        "named_step_uuid": REQUIRED,
        "name": REQUIRED,
        "current_state": REQUIRED,
        "dependencies_satisfied": REQUIRED,
        "retry_eligible": REQUIRED,
        "ready_for_execution": REQUIRED,
        "last_failure_at": None,
        "next_retry_at": None,
        "total_parents": REQUIRED,
        "completed_parents": REQUIRED,
        "attempts": REQUIRED,
        "max_attempts": REQUIRED,
        "backoff_request_seconds": None,
        "last_attempted_at": None,
    },
    "ClientTaskResponse": {
        "task_uuid": REQUIRED,
        "name": REQUIRED,
        "namespace": REQUIRED,
        "version": REQUIRED,
        "status": REQUIRED,
        "created_at": REQUIRED,
        "updated_at": REQUIRED,
        "completed_at": None,
        "context": {},
        "initiator": REQUIRED,
        "source_system": REQUIRED,
        "reason": REQUIRED,
        "priority": None,
        "tags": None,
        "correlation_id": REQUIRED,
        "parent_correlation_id": None,
        "total_steps": REQUIRED,
        "pending_steps": REQUIRED,
        "in_progress_steps": REQUIRED,
        "completed_steps": REQUIRED,
        "failed_steps": REQUIRED,
        "ready_steps": REQUIRED,
        "execution_status": REQUIRED,
        "recommended_action": REQUIRED,
        "completion_percentage": REQUIRED,
        "health_status": REQUIRED,
        "steps": [],
    },
    "ClientPaginationInfo": {
        "page": REQUIRED,
        "per_page": REQUIRED,
        "total_count": REQUIRED,
        "total_pages": REQUIRED,
        "has_next": REQUIRED,
        "has_previous": REQUIRED,
    },
    "ClientTaskListResponse": {"tasks": REQUIRED, "pagination": REQUIRED},
    "ClientStepResponse": {
        "step_uuid": REQUIRED,
        "task_uuid": REQUIRED,
        "name": REQUIRED,
        "created_at": REQUIRED,
        "updated_at": REQUIRED,
        "completed_at": None,
        "results": None,
        "current_state": REQUIRED,
        "dependencies_satisfied": REQUIRED,
        "retry_eligible": REQUIRED,
        "ready_for_execution": REQUIRED,
        "total_parents": REQUIRED,
        "completed_parents": REQUIRED,
        "attempts": REQUIRED,
        "max_attempts": REQUIRED,
        "last_failure_at": None,
        "next_retry_at": None,
        "last_attempted_at": None,
    },
    "ClientStepAuditResponse": {
        "audit_uuid": REQUIRED,
        "workflow_step_uuid": REQUIRED,
        "transition_uuid": REQUIRED,
        "task_uuid": REQUIRED,
        "recorded_at": REQUIRED,
        "worker_uuid": None,
        "correlation_id": None,
        "success": REQUIRED,
        "execution_time_ms": None,
        "result": None,
        "step_name": REQUIRED,
        "from_state": None,
        "to_state": REQUIRED,
    },
    # The native health function answers without them (§15.2).
    "ClientHealthResponse": {"status": "", "timestamp": ""},
}
FUNCTIONS = {"aggregate_batch_results", "create_batches", "no_batches"}
OTHERS = {"ResultStatus", "BatchProcessingOutcome"}


def test_exactly_46_names_are_exported() -> None:
    assert set(types.__all__) == {*ENUMS, *MODELS, *FUNCTIONS, *OTHERS}
    assert len(types.__all__) == 46


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_exactly_these_fields_and_defaults(name: str) -> None:
    model: type[BaseModel] = getattr(types, name)
    fields = {
        field: REQUIRED if info.is_required() else info.get_default(call_default_factory=True)
        for field, info in model.model_fields.items()
    }
    assert fields == MODELS[name]


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"BootstrapConfig"}))
def test_other_models_let_unknown_keys_pass(name: str) -> None:
    assert getattr(types, name).model_config.get("extra") in (None, "ignore")


@pytest.mark.parametrize("name", ENUMS)
def test_members_of_an_enumeration(name: str) -> None:
    enum: type[Enum] = getattr(types, name)
    assert [member.value for member in enum] == ENUMS[name].split()
    assert [member.name for member in enum] == ENUMS[name].upper().split()


def test_a_successful_result_has_the_status_completed() -> None:
    assert [(m.name, m.value) for m in types.ResultStatus] == [
        ("SUCCESS", "completed"),
        ("FAILURE", "error"),
        ("RETRYABLE_ERROR", "retryable_error"),
        ("PERMANENT_ERROR", "permanent_error"),
    ]


def test_members_equal_their_values_but_print_their_names() -> None:
    text: str = "timeout"
    assert text == ErrorType.TIMEOUT
    assert str(ErrorType.TIMEOUT) == "ErrorType.TIMEOUT"


@pytest.mark.parametrize(
    ("text", "standard", "retryable"),
    [
        ("permanent_error", True, False),
        ("retryable_error", True, True),
        ("validation_error", True, False),
        ("timeout", True, True),
        ("handler_error", True, False),
        ("own_word", False, False),
    ],
)
def test_what_error_types_usually_mean(text: str, standard: bool, retryable: bool) -> None:
    assert ErrorType.is_standard(text) is standard
    assert ErrorType.is_typically_retryable(text) is retryable


@pytest.mark.parametrize("level", ["trace", "debug", "info", "warn", "error"])
def test_log_levels_of_a_configuration(level: str) -> None:
    assert BootstrapConfig(log_level=level).log_level == level


@pytest.mark.parametrize("level", ["INFO", "invalid", "", "warning", "info\n"])
def test_other_log_levels_are_refused(level: str) -> None:
    with pytest.raises(ValidationError):
        BootstrapConfig(log_level=level)


def test_a_configuration_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        BootstrapConfig(unknown_field=1)  # type: ignore[call-arg]


def test_models_may_be_changed_and_coerce() -> None:
    metrics = types.FfiDispatchMetrics(pending_count="3")  # type: ignore[arg-type]
    metrics.pending_count = 5
    assert metrics.pending_count == 5


def event(**more: Any) -> FfiStepEvent:
    ids = dict.fromkeys(("event_id", "task_uuid", "step_uuid", "correlation_id"), "x")
    return FfiStepEvent(**ids, task_sequence_step={}, **more)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        event().event_id = "y"


def test_an_event_is_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(event())


def test_the_ids_of_an_event_are_text_and_not_parsed() -> None:
    assert event(trace_id="t").task_uuid == "x"
    with pytest.raises(ValidationError):
        FfiStepEvent(
            event_id=ID,  # type: ignore[arg-type]
            task_uuid="x",
            step_uuid="x",
            correlation_id="x",
            task_sequence_step={},
        )


def test_the_result_of_a_success() -> None:
    result = StepExecutionResult.success_result(ID, ID, {"a": 1}, 5, "w-1", ID, {"m": 1})
    assert (result.success, result.status, result.error) == (True, "completed", None)
    assert (result.result, result.metadata) == ({"a": 1}, {"m": 1})
    assert (result.execution_time_ms, result.worker_id, result.correlation_id) == (5, "w-1", ID)


def test_a_result_without_metadata_has_none() -> None:
    assert StepExecutionResult.success_result(ID, ID, {}, 5, "w-1").metadata == {}
    error = StepError(error_type="x", message="y")
    assert StepExecutionResult.failure_result(ID, ID, error, 5, "w-1").metadata == {}


@pytest.mark.parametrize(
    ("retryable", "status"), [(True, "retryable_error"), (False, "permanent_error")]
)
def test_the_result_of_a_failure_says_whether_to_try_again(retryable: bool, status: str) -> None:
    error = StepError(error_type="x", message="y", retryable=retryable)
    result = StepExecutionResult.failure_result(ID, ID, error, 5, "w-1", ID, {"m": 1})
    assert (result.success, result.status, result.result) == (False, status, None)
    assert (result.error, result.metadata) == (error, {"m": 1})


def test_an_error_is_retryable_by_default() -> None:
    assert StepError(error_type="x", message="y").retryable is True


def test_a_log_context_may_be_empty() -> None:
    assert LogContext().model_dump(exclude_none=True) == {}


def test_models_are_pickled_and_copied_like_any_other() -> None:
    import copy
    import pickle

    result = types.StepHandlerResult.success({"a": [1]}, {"m": 1})
    for twin in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), result.model_copy()):
        assert twin == result
        assert twin.model_fields_set == result.model_fields_set


def test_models_may_be_first_used_by_many_threads_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tasker_core.types._model import Model

    for _ in range(20):

        class Fresh(Model):
            value: int

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: Fresh(value=n).value, range(8)))
        assert made == list(range(8))
