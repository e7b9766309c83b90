"""A step as a worker hands it to Python, for the scripts that both packages run."""

from __future__ import annotations

import copy
from typing import Any

from tasker_core import FfiStepEvent, StepContext

TASK, STEP, CORRELATION = (f"018f0000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))

PAYLOAD: dict[str, Any] = {
    "task": {
        "task": {
            "task_uuid": TASK,
            "named_task_uuid": TASK,
            "complete": False,
            "requested_at": "2026-02-03T10:00:00.000000",
            "initiator": "sample",
            "source_system": "sample",
            "reason": "compare",
            "tags": ["a"],
            "context": {
                "order_id": 7,
                "items": [{"sku": "x", "count": 2}],
                "note": None,
                "zero": 0,
            },
            "identity_hash": "0" * 32,
            "priority": 1,
            "correlation_id": CORRELATION,
            "parent_correlation_id": None,
            "created_at": "2026-02-03T10:00:00.000000",
            "updated_at": "2026-02-03T10:00:00.000000",
        },
        "task_name": "order",
        "task_version": "1.2.0",
        "namespace_name": "shop",
    },
    "workflow_step": {
        "workflow_step_uuid": STEP,
        "task_uuid": TASK,
        "named_step_uuid": STEP,
        "name": "charge",
        "template_step_name": "charge_template",
        "retryable": True,
        "max_attempts": 3,
        "in_process": True,
        "processed": False,
        "processed_at": None,
        "attempts": 1,
        "last_attempted_at": "2026-02-03T10:00:00.000000",
        "backoff_request_seconds": None,
        "inputs": None,
        "results": None,
        "checkpoint": None,
        "created_at": "2026-02-03T10:00:00.000000",
        "updated_at": "2026-02-03T10:00:00.000000",
    },
    "dependency_results": {
        "load": {
            "success": True,
            "status": "completed",
            "result": {"total": 12.5, "deep": {"n": 1}},
        },
        "load_bare": {"total": 1},
        "load_list": [1, 2],
        "load_none": None,
        "load_empty": {"result": None},
    },
    "step_definition": {
        "name": "charge",
        "description": "Charges the card",
        "handler": {
            "callable": "charge_handler",
            "method": None,
            "resolver": None,
            "initialization": {"currency": "EUR", "limit": 100},
        },
        "dependencies": ["load"],
        "retry": {"retryable": True, "max_attempts": 3, "backoff": "exponential"},
        "timeout_seconds": 20,
        "publishes_events": [],
    },
}


def payload(**sections: Any) -> dict[str, Any]:
    """Returns the step's payload, with sections of it changed."""
    changed = copy.deepcopy(PAYLOAD)
    for name, values in sections.items():
        if isinstance(values, dict) and isinstance(changed.get(name), dict):
            changed[name].update(values)
        else:
            changed[name] = values
    return changed


def event(of: dict[str, Any] | None = None, **fields: Any) -> FfiStepEvent:
    """Returns the event of a step."""
    given: dict[str, Any] = {
        "event_id": "018f0000-0000-7000-8000-000000000009",
        "task_uuid": TASK,
        "step_uuid": STEP,
        "correlation_id": CORRELATION,
        "task_sequence_step": PAYLOAD if of is None else of,
        **fields,
    }
    return FfiStepEvent.model_validate(given)


def context(of: dict[str, Any] | None = None, handler: str = "charge_handler") -> StepContext:
    """Returns the context of a step."""
    return StepContext.from_ffi_event(event(of), handler)
