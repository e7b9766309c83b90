"""What the client asks of the native module, and what it makes of the answers."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, call, patch

import pytest
from tasker_core import TaskerClient
from tasker_core.client import (
    HealthResponse,
    PaginationInfo,
    StepAuditResponse,
    StepResponse,
    TaskListResponse,
    TaskResponse,
)

NATIVE = "tasker_core._tasker_core.client_"


def asked(native: str, answer: Any, ask: Callable[[TaskerClient], Any]) -> tuple[Mock, Any]:
    """Let a native function give ``answer``; return its mock and what the client made of it."""
    with patch(f"{NATIVE}{native}", return_value=answer) as mock:
        return mock, ask(TaskerClient())


def test_the_client_has_a_name_and_a_source_system() -> None:
    client = TaskerClient()
    assert (client.initiator, client.source_system) == ("tasker-core-python", "tasker-core")


def test_a_request_is_made_of_the_defaults() -> None:
    native, _ = asked("create_task", {}, lambda client: client.create_task("order_intake"))
    assert native.call_args == call(
        {
            "name": "order_intake",
            "namespace": "default",
            "version": "1.0.0",
            "context": {},
            "initiator": "tasker-core-python",
            "source_system": "tasker-core",
            "reason": "Task requested",
        }
    )


def test_a_request_carries_what_is_given() -> None:
    native, _ = asked(
        "create_task",
        {},
        lambda client: client.create_task(
            "order_intake", namespace="shop", context={"n": 1}, version="2.0.0", reason="demo"
        ),
    )
    request = native.call_args.args[0]
    assert (request["namespace"], request["context"]) == ("shop", {"n": 1})
    assert (request["version"], request["reason"]) == ("2.0.0", "demo")


def test_further_keywords_are_merged_on_top() -> None:
    native, _ = asked(
        "create_task",
        {},
        lambda client: client.create_task("order_intake", priority=5, initiator="somebody else"),
    )
    request = native.call_args.args[0]
    assert (request["priority"], request["initiator"]) == (5, "somebody else")


def test_the_clients_own_names_go_into_the_request() -> None:
    with patch(f"{NATIVE}create_task", return_value={}) as native:
        TaskerClient("checkout", "web").create_task("order_intake")
    request = native.call_args.args[0]
    assert (request["initiator"], request["source_system"]) == ("checkout", "web")


def test_a_created_task_is_returned() -> None:
    _, task = asked("create_task", {"name": "a"}, lambda client: client.create_task("a"))
    assert task == TaskResponse(name="a")


def test_a_task_is_asked_for_by_its_id_as_it_is() -> None:
    native, task = asked("get_task", {"name": "a"}, lambda client: client.get_task("not checked"))
    assert (native.call_args, task) == (call("not checked"), TaskResponse(name="a"))


def test_a_list_is_asked_for_with_four_positional_arguments() -> None:
    native, _ = asked("list_tasks", {}, lambda client: client.list_tasks())
    assert native.call_args == call(50, 0, None, None)


def test_a_list_is_asked_for_with_what_is_given() -> None:
    native, _ = asked(
        "list_tasks",
        {},
        lambda client: client.list_tasks(limit=5, offset=10, namespace="shop", status="pending"),
    )
    assert native.call_args == call(5, 10, "shop", "pending")


def test_a_list_is_returned_with_its_pagination() -> None:
    answer = {"tasks": [{"name": "a"}], "pagination": {"page": 1}}
    _, page = asked("list_tasks", answer, lambda client: client.list_tasks())
    assert page == TaskListResponse([TaskResponse(name="a")], PaginationInfo(page=1))


def test_what_cancelling_answers_is_returned_unchanged() -> None:
    answer = {"cancelled": True}
    native, got = asked("cancel_task", answer, lambda client: client.cancel_task("t"))
    assert got is answer
    assert native.call_args == call("t")


def test_steps_are_returned() -> None:
    native, steps = asked(
        "list_task_steps", [{"name": "a"}, "b"], lambda client: client.list_task_steps("t")
    )
    assert steps == [StepResponse(name="a"), "b"]
    assert native.call_args == call("t")


def test_no_steps_give_an_empty_list() -> None:
    _, steps = asked("list_task_steps", [], lambda client: client.list_task_steps("t"))
    assert steps == []


def test_a_step_is_asked_for_by_two_ids() -> None:
    native, step = asked("get_step", {"name": "a"}, lambda client: client.get_step("t", "s"))
    assert (native.call_args, step) == (call("t", "s"), StepResponse(name="a"))


def test_audit_records_are_returned() -> None:
    native, records = asked(
        "get_step_audit_history",
        [{"step_name": "a"}],
        lambda client: client.get_step_audit_history("t", "s"),
    )
    assert (native.call_args, records) == (call("t", "s"), [StepAuditResponse(step_name="a")])


def test_health_is_returned() -> None:
    native, health = asked("health_check", {"healthy": True}, lambda client: client.health_check())
    assert (native.call_args, health) == (call(), HealthResponse(healthy=True))


ASKING: list[tuple[str, Callable[[TaskerClient], Any]]] = [
    ("create_task", lambda client: client.create_task("a")),
    ("get_task", lambda client: client.get_task("t")),
    ("list_tasks", lambda client: client.list_tasks()),
    ("cancel_task", lambda client: client.cancel_task("t")),
    ("list_task_steps", lambda client: client.list_task_steps("t")),
    ("get_step", lambda client: client.get_step("t", "s")),
    ("get_step_audit_history", lambda client: client.get_step_audit_history("t", "s")),
    ("health_check", lambda client: client.health_check()),
]


@pytest.mark.parametrize(("native", "ask"), ASKING)
def test_an_answer_of_another_kind_is_returned_as_it_is(
    native: str, ask: Callable[[TaskerClient], Any]
) -> None:
    answer = object()
    assert asked(native, answer, ask)[1] is answer


@pytest.mark.parametrize(("native", "ask"), ASKING)
def test_what_the_native_function_raises_is_not_changed(
    native: str, ask: Callable[[TaskerClient], Any]
) -> None:
    error = RuntimeError("get_task failed")
    with patch(f"{NATIVE}{native}", side_effect=error), pytest.raises(RuntimeError) as caught:
        ask(TaskerClient())
    assert caught.value is error
