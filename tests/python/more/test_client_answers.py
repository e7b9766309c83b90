"""The dataclasses that the client answers with."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest
import tasker_core
from tasker_core import client
from tasker_core.client import (
    HealthResponse,
    PaginationInfo,
    StepAuditResponse,
    StepResponse,
    TaskListResponse,
    TaskResponse,
)

ANSWERS: list[Any] = [
    PaginationInfo,
    TaskResponse,
    TaskListResponse,
    StepResponse,
    StepAuditResponse,
    HealthResponse,
]

DEFAULTS: dict[Any, dict[str, Any]] = {
    PaginationInfo: {
        "page": 0,
        "per_page": 50,
        "total_count": 0,
        "total_pages": 0,
        "has_next": False,
        "has_previous": False,
    },
    TaskResponse: {
        "task_uuid": "",
        "name": "",
        "namespace": "",
        "version": "",
        "status": "",
        "created_at": "",
        "updated_at": "",
        "completed_at": None,
        "context": {},
        "initiator": "",
        "source_system": "",
        "reason": "",
        "priority": None,
        "tags": None,
        "correlation_id": "",
        "parent_correlation_id": None,
        "total_steps": 0,
        "pending_steps": 0,
        "in_progress_steps": 0,
        "completed_steps": 0,
        "failed_steps": 0,
        "ready_steps": 0,
        "execution_status": "",
        "recommended_action": "",
        "completion_percentage": 0.0,
        "health_status": "",
        "steps": [],
    },
    TaskListResponse: {"tasks": [], "pagination": PaginationInfo()},
    StepResponse: {
        "step_uuid": "",
        "task_uuid": "",
        "name": "",
        "created_at": "",
        "updated_at": "",
        "completed_at": None,
        "results": None,
        "current_state": "",
        "dependencies_satisfied": False,
        "retry_eligible": False,
        "ready_for_execution": False,
        "total_parents": 0,
        "completed_parents": 0,
        "attempts": 0,
        "max_attempts": 0,
        "last_failure_at": None,
        "next_retry_at": None,
        "last_attempted_at": None,
    },
    StepAuditResponse: {
        "audit_uuid": "",
        "workflow_step_uuid": "",
        "transition_uuid": "",
        "task_uuid": "",
        "recorded_at": "",
        "worker_uuid": None,
        "correlation_id": None,
        "success": False,
        "execution_time_ms": None,
        "result": None,
        "step_name": "",
        "from_state": None,
        "to_state": "",
    },
    HealthResponse: {"healthy": False, "status": "", "timestamp": ""},
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_fields_stand_in_the_order_and_with_the_defaults_of_the_contract(answer: Any) -> None:
    built = answer()
    assert is_dataclass(answer)
    assert [(f.name, getattr(built, f.name)) for f in fields(answer)] == list(
        DEFAULTS[answer].items()
    )


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_empty_dict_gives_the_defaults(answer: Any) -> None:
    assert answer.from_dict({}) == answer()


@pytest.mark.parametrize("answer", ANSWERS)
def test_unknown_keys_are_ignored(answer: Any) -> None:
    assert answer.from_dict({"an_unknown_key": 1}) == answer()


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_field_can_be_assigned(answer: Any) -> None:
    built = answer()
    with pytest.raises(FrozenInstanceError):
        setattr(built, fields(answer)[0].name, "x")


def test_a_key_with_none_gives_none_and_not_the_default() -> None:
    task = TaskResponse.from_dict({"name": None, "context": None, "steps": None})
    assert [task.name, task.context, task.steps] == [None, None, None]


def test_values_are_taken_over() -> None:
    step = StepResponse.from_dict({"name": "pay", "attempts": 2, "results": {"result": 1}})
    assert (step.name, step.attempts, step.results) == ("pay", 2, {"result": 1})


def test_two_tasks_do_not_share_their_default_context() -> None:
    TaskResponse().context["n"] = 1
    assert TaskResponse().context == {}


def test_dicts_in_a_list_become_tasks_and_other_items_stay() -> None:
    page = TaskListResponse.from_dict({"tasks": [{"name": "a"}, "b"]})
    assert page.tasks == [TaskResponse(name="a"), "b"]


def test_a_pagination_dict_becomes_a_pagination() -> None:
    page = TaskListResponse.from_dict({"pagination": {"page": 3}})
    assert page.pagination == PaginationInfo(page=3)


@pytest.mark.parametrize("pagination", [None, "2", [1]])
def test_a_pagination_that_is_no_dict_gives_the_default(pagination: Any) -> None:
    assert TaskListResponse.from_dict({"pagination": pagination}).pagination == PaginationInfo()


@pytest.mark.parametrize(
    ("root_name", "name"),
    [
        ("ClientTaskResponse", "TaskResponse"),
        ("ClientTaskListResponse", "TaskListResponse"),
        ("ClientStepResponse", "StepResponse"),
        ("ClientStepAuditResponse", "StepAuditResponse"),
        ("ClientHealthResponse", "HealthResponse"),
        ("ClientPaginationInfo", "PaginationInfo"),
    ],
)
def test_the_root_exports_the_dataclasses(root_name: str, name: str) -> None:
    assert getattr(tasker_core, root_name) is getattr(client, name)
