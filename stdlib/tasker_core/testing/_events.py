"""Step events and contexts made of plain values."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from tasker_core._conversion import InconvertibleError, decode, encode
from tasker_core.types import FfiStepEvent, StepContext

_WORKER_ID = "test"
_TIMEOUT_SECONDS = 30


def step_event(
    step_name: str = "test_step",
    *,
    handler: str | None = None,
    method: str | None = None,
    resolver: str | None = None,
    input_data: Any = None,
    dependency_results: Mapping[str, Any] | None = None,
    step_config: Mapping[str, Any] | None = None,
    step_inputs: Any = None,
    retry_count: int = 0,
    max_retries: int = 3,
    checkpoint: Mapping[str, Any] | None = None,
    ids: Mapping[str, str] | None = None,
) -> FfiStepEvent:
    """Return the event of a step, as a worker would be handed it.

    Args:
        step_name: The step's name in its task.
        handler: What the template calls the handler (``handler.callable``);
            the step's name if not given.
        method: The method of the handler to call instead of ``call``.
        resolver: The resolver that alone is asked for the handler.
        input_data: The task's input.
        dependency_results: What the handlers of earlier steps returned.
        step_config: The template's ``handler.initialization``.
        step_inputs: The step's own inputs, such as the cursor of a batch.
        retry_count: How often the step has been tried before.
        max_retries: How often it is tried at most.
        checkpoint: What an earlier run of the step has stored with a
            checkpoint: ``cursor``, ``items_processed``, ``accumulated_results``.
        ids: ``event_id``, ``task_uuid``, ``step_uuid`` or ``correlation_id``
            to use instead of new ones.

    Raises:
        ValueError: a value has no form in JSON, so no worker could get it.

    >>> event = step_event("charge", input_data={"amount": 3})
    >>> event.task_sequence_step["task"]["task"]["context"]
    {'amount': 3}
    """
    task, step, correlation, event_id = (
        (ids or {}).get(key) or str(uuid4())
        for key in ("task_uuid", "step_uuid", "correlation_id", "event_id")
    )
    dependencies = dependency_results or {}
    payload = {
        "task": {
            "task": {
                "task_uuid": task,
                "context": input_data,
                "correlation_id": correlation,
                "parent_correlation_id": None,
            },
            "task_name": "test_task",
            "task_version": "1.0.0",
            "namespace_name": "default",
        },
        "workflow_step": {
            "workflow_step_uuid": step,
            "task_uuid": task,
            "name": step_name,
            "template_step_name": step_name,
            "retryable": True,
            "max_attempts": max_retries,
            "in_process": False,
            "processed": False,
            "attempts": retry_count,
            "inputs": step_inputs,
            "results": None,
            "checkpoint": None if checkpoint is None else {"step_uuid": step, **checkpoint},
        },
        "dependency_results": {name: _stored(dependencies[name]) for name in dependencies},
        "step_definition": {
            "name": step_name,
            "description": None,
            "handler": {
                "callable": handler or step_name,
                "method": method,
                "resolver": resolver,
                "initialization": dict(step_config or {}),
            },
            "type": "standard",
            "dependencies": list(dependencies),
            "timeout_seconds": _TIMEOUT_SECONDS,
            "publishes_events": [],
        },
    }
    return FfiStepEvent(
        event_id=event_id,
        task_uuid=task,
        step_uuid=step,
        correlation_id=correlation,
        task_correlation_id=correlation,
        task_sequence_step=_as_json(payload),
    )


def step_context(
    *,
    handler_name: str = "test_handler",
    input_data: Any = None,
    dependency_results: Mapping[str, Any] | None = None,
    step_config: Mapping[str, Any] | None = None,
    step_inputs: Any = None,
    retry_count: int = 0,
    max_retries: int = 3,
    checkpoint: Mapping[str, Any] | None = None,
) -> StepContext:
    """Return what a handler is called with; arguments as of :func:`step_event`.

    >>> context = step_context(
    ...     input_data={"amount": 3}, dependency_results={"charge": {"id": "c1"}}, retry_count=1
    ... )
    >>> context.get_input("amount"), context.get_dependency_field("charge", "id")
    (3, 'c1')
    >>> context.is_retry()
    True
    """
    event = step_event(
        handler=handler_name,
        input_data=input_data,
        dependency_results=dependency_results,
        step_config=step_config,
        step_inputs=step_inputs,
        retry_count=retry_count,
        max_retries=max_retries,
        checkpoint=checkpoint,
    )
    return StepContext.from_ffi_event(event, handler_name)


def _stored(result: Any) -> dict[str, Any]:
    """Return a stored step result around what the step's handler returned."""
    return {
        "step_uuid": str(uuid4()),
        "success": True,
        "status": "completed",
        "result": result,
        "metadata": {
            "execution_time_ms": 0,
            "retryable": False,
            "completed_at": datetime.now(timezone.utc).isoformat(),
            "worker_id": _WORKER_ID,
            "custom": {},
            "context": {},
        },
        "error": None,
        "orchestration_metadata": None,
    }


def _as_json(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload as it comes out of JSON."""
    try:
        decoded: dict[str, Any] = decode(encode(payload))
    except InconvertibleError as exc:
        raise ValueError(
            f"step_event: {exc}; tasks carry JSON, so give what a client would send"
        ) from None
    return decoded
