"""A step on its way to Python, and its result on the way back."""

from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field

from tasker_core.types._enums import ResultStatus
from tasker_core.types._model import Model
from tasker_core.types._trusted import construct


class FfiStepEvent(Model):
    """A step that was handed to Python. Cannot be changed.

    >>> from tasker_core.testing import step_event
    >>> event = step_event("charge", handler="charge_card")
    >>> event.task_sequence_step["step_definition"]["handler"]["callable"]
    'charge_card'
    """

    model_config = ConfigDict(frozen=True)

    event_id: str
    task_uuid: str
    step_uuid: str
    correlation_id: str
    task_correlation_id: str | None = None
    parent_correlation_id: str | None = None
    task_sequence_step: dict[str, Any]
    trace_id: str | None = None
    span_id: str | None = None

    @classmethod
    def _from_trusted_payload(
        cls, payload: dict[str, Any], task_sequence_step: dict[str, Any]
    ) -> "FfiStepEvent":
        """Return the event of a payload that the host itself has made.

        ``payload`` has the keys of spec §2.6; whether it holds
        ``task_sequence_step`` too does not matter. Nothing is validated.
        """
        get = payload.get
        fields_set = set(payload)
        fields_set.add("task_sequence_step")
        if not fields_set <= _EVENT_FIELDS:
            fields_set &= _EVENT_FIELDS
        return construct(
            cls,
            {
                "event_id": payload["event_id"],
                "task_uuid": payload["task_uuid"],
                "step_uuid": payload["step_uuid"],
                "correlation_id": payload["correlation_id"],
                "task_correlation_id": get("task_correlation_id"),
                "parent_correlation_id": get("parent_correlation_id"),
                "task_sequence_step": task_sequence_step,
                "trace_id": get("trace_id"),
                "span_id": get("span_id"),
            },
            fields_set,
        )


_EVENT_FIELDS = frozenset(FfiStepEvent.model_fields)


class StepError(Model):
    """Why a step failed.

    >>> StepError(error_type="gateway_error", message="gateway is down").retryable
    True
    """

    error_type: str
    message: str
    stack_trace: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)


class StepExecutionResult(Model):
    """What is sent back when a step has been executed.

    >>> from uuid import uuid4
    >>> error = StepError(error_type="declined", message="no funds", retryable=False)
    >>> StepExecutionResult.failure_result(uuid4(), uuid4(), error, 12, "worker-1").status
    'permanent_error'
    """

    step_uuid: UUID
    task_uuid: UUID
    success: bool
    status: str
    execution_time_ms: int
    result: dict[str, Any] | None = None
    error: StepError | None = None
    worker_id: str | None = None
    correlation_id: UUID | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def success_result(
        cls,
        step_uuid: UUID,
        task_uuid: UUID,
        result: dict[str, Any],
        execution_time_ms: int,
        worker_id: str,
        correlation_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> "StepExecutionResult":
        """Return the result of a step that did its work."""
        return cls(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            success=True,
            status=ResultStatus.SUCCESS.value,
            execution_time_ms=execution_time_ms,
            result=result,
            worker_id=worker_id,
            correlation_id=correlation_id,
            metadata=metadata or {},
        )

    @classmethod
    def failure_result(
        cls,
        step_uuid: UUID,
        task_uuid: UUID,
        error: StepError,
        execution_time_ms: int,
        worker_id: str,
        correlation_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> "StepExecutionResult":
        """Return the result of a step that failed; ``error`` says if for good."""
        status = ResultStatus.RETRYABLE_ERROR if error.retryable else ResultStatus.PERMANENT_ERROR
        return cls(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            success=False,
            status=status.value,
            execution_time_ms=execution_time_ms,
            error=error,
            worker_id=worker_id,
            correlation_id=correlation_id,
            metadata=metadata or {},
        )


class FfiDispatchMetrics(Model):
    """Steps that Python has taken and not yet answered; ages in milliseconds.

    >>> FfiDispatchMetrics(pending_count=0).starvation_detected
    False
    """

    pending_count: int
    oldest_pending_age_ms: int | None = None
    newest_pending_age_ms: int | None = None
    oldest_event_id: str | None = None
    starvation_detected: bool = False
    starving_event_count: int = 0


class StarvationWarning(Model):
    """A step that Python has kept for longer than it should.

    >>> from uuid import uuid4
    >>> StarvationWarning(
    ...     event_id=uuid4(), step_uuid=uuid4(), pending_duration_ms=12_000, threshold_ms=10_000
    ... ).pending_duration_ms
    12000
    """

    event_id: UUID
    step_uuid: UUID
    pending_duration_ms: int
    threshold_ms: int
