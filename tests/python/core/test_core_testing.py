"""The tools with which users test their handlers (tasker_core.testing)."""

import types
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tasker_core.testing
from tasker_core import HandlerRegistry, PermanentError, RetryableError, StepContext, StepHandler
from tasker_core.step_handler import (
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)
from tasker_core.testing import run_step, run_task, step_context, step_event

from tests.python.core.conftest import Calls


@step_handler("load")
@inputs("numbers")
def load(numbers: Any) -> Any:
    return {"numbers": numbers}


@step_handler("double")
@depends_on(loaded="load")
def double(loaded: Any) -> Any:
    return {"numbers": [2 * number for number in loaded["numbers"]]}


@step_handler("total")
@depends_on(doubled="double", loaded="load")
def total(doubled: Any, loaded: Any) -> Any:
    return {"total": sum(doubled["numbers"]), "from": sum(loaded["numbers"])}


class Orders(StepHandler):
    handler_name = "orders"

    def call(self, context: StepContext) -> Any:
        return self.success({"config": context.step_config, "inputs": context.step_inputs})

    def refund(self, context: StepContext) -> Any:
        return self.success({"called": "refund"})


def test_the_exports_of_the_package() -> None:
    assert set(tasker_core.testing.__all__) == {
        "StepRun",
        "TaskRun",
        "TaskStep",
        "run_step",
        "run_task",
        "step_context",
        "step_event",
    }


# Events and contexts


def test_an_event_of_nothing() -> None:
    event = step_event()
    payload = event.task_sequence_step
    assert payload["workflow_step"]["name"] == "test_step"
    assert payload["step_definition"]["handler"]["callable"] == "test_step"
    assert payload["task"]["task"]["task_uuid"] == event.task_uuid
    assert len({event.event_id, event.task_uuid, event.step_uuid, event.correlation_id}) == 4


def test_an_event_with_everything() -> None:
    event = step_event(
        "charge",
        handler="orders",
        method="refund",
        resolver="own",
        input_data={"a": 1},
        dependency_results={"first": {"b": (1, 2)}},
        step_config={"limit": 5},
        step_inputs={"cursor": {}},
        retry_count=1,
        max_retries=5,
        checkpoint={"cursor": 3},
        ids={"task_uuid": "018f0000-0000-7000-8000-000000000001"},
    )
    payload = event.task_sequence_step
    assert event.task_uuid == "018f0000-0000-7000-8000-000000000001"
    assert payload["step_definition"]["handler"] == {
        "callable": "orders",
        "method": "refund",
        "resolver": "own",
        "initialization": {"limit": 5},
    }
    assert payload["dependency_results"]["first"]["result"] == {"b": [1, 2]}
    step = payload["workflow_step"]
    assert (step["attempts"], step["max_attempts"], step["inputs"]) == (1, 5, {"cursor": {}})
    assert step["checkpoint"] == {"step_uuid": event.step_uuid, "cursor": 3}


def test_values_that_no_task_can_carry_are_refused() -> None:
    with pytest.raises(ValueError, match=r"context.day: a value of type date has no form in JSON"):
        step_event(input_data={"day": date(2026, 2, 3)})


def test_a_context_of_plain_values() -> None:
    context = step_context(
        handler_name="orders",
        input_data={"a": 1},
        dependency_results={"first": {"result": 5}},
        step_config={"limit": 5},
        step_inputs={"i": 1},
        retry_count=2,
        max_retries=3,
        checkpoint={"cursor": 3, "items_processed": 9},
    )
    assert (context.handler_name, context.get_input("a")) == ("orders", 1)
    assert context.get_dependency_result("first") == {"result": 5}
    assert (context.get_config("limit"), context.step_inputs) == (5, {"i": 1})
    assert context.is_last_retry()
    assert (context.checkpoint_cursor, context.checkpoint_items_processed) == (3, 9)


# One step


@pytest.mark.parametrize("handler", [Orders, Orders(), load], ids=["class", "handler", "function"])
def test_every_kind_of_handler_can_be_run(handler: Any) -> None:
    assert run_step(handler, input_data={"numbers": [1]}).is_success


def test_a_handler_can_be_named(handler_registry: HandlerRegistry) -> None:
    handler_registry.register("orders", Orders)
    assert run_step("orders", step_config={"a": 1}).result["config"] == {"a": 1}


def test_a_class_need_not_be_a_step_handler() -> None:
    class Bare:
        def call(self, context: Any) -> Any:
            return {"name": context.handler_name}

    assert run_step(Bare).result == {"name": "Bare"}


@pytest.mark.parametrize("bad", [5, len, object()])
def test_what_is_no_handler_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="is no handler: give a class derived from StepHandler"):
        run_step(bad)


def test_a_method_can_be_run() -> None:
    assert run_step(Orders, method="refund").result == {"called": "refund"}


def test_what_is_given_reaches_the_handler() -> None:
    made = run_step(Orders, step_config={"a": 1}, step_inputs={"b": 2})
    assert made.result == {"config": {"a": 1}, "inputs": {"b": 2}}


def test_a_success() -> None:
    made = run_step(load, input_data={"numbers": (1, 2)})
    assert (made.step_name, made.outcome) == ("load", "success")
    assert (made.is_success, made.is_failure, made.retryable) == (True, False, False)
    assert made.assert_success() == {"numbers": [1, 2]}
    assert (made.error_type, made.error_message, made.traceback) == (None, None, None)
    assert (made.checkpoint, made.metadata["retryable"]) == (None, False)
    assert made.describe() == "success, result {'numbers': [1, 2]}"


@step_handler("failing")
@inputs("permanent")
def failing(permanent: bool) -> None:
    if permanent:
        raise PermanentError("never")
    raise ValueError("not now")


def test_a_permanent_failure() -> None:
    made = run_step(failing, input_data={"permanent": True})
    assert (made.outcome, made.retryable, made.is_failure) == ("permanent_failure", False, True)
    assert (made.error_type, made.error_message) == ("permanent_error", "never")
    assert made.result is None
    made.assert_failure()
    made.assert_failure("permanent_error", retryable=False)


def test_a_retryable_failure_with_its_traceback() -> None:
    made = run_step(failing)
    assert (made.outcome, made.retryable) == ("retryable_failure", True)
    assert made.traceback is not None
    assert "ValueError: not now" in made.traceback
    made.assert_failure("handler_error", retryable=True)


def test_a_success_that_was_none_fails_the_test_with_the_traceback() -> None:
    with pytest.raises(AssertionError) as caught:
        run_step(failing).assert_success()
    text = str(caught.value)
    assert "step 'failing' should have succeeded: retryable failure, handler_error: not now" in text
    assert "ValueError: not now" in text


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (("other", None), "should have failed with 'other'"),
        ((None, False), "should have failed for good"),
        (("other", True), "should have failed retryably with 'other'"),
    ],
)
def test_a_failure_of_another_kind_fails_the_test(expected: Any, text: str) -> None:
    error_type, retryable = expected
    with pytest.raises(AssertionError, match=text):
        run_step(failing).assert_failure(error_type, retryable=retryable)


def test_a_success_is_no_failure() -> None:
    with pytest.raises(AssertionError, match="should have failed: success, result"):
        run_step(Orders).assert_failure()


class Counting(StepHandler):
    """Works through ten items, four at a time."""

    handler_name = "counting"

    def call(self, context: StepContext) -> Any:
        done = context.checkpoint_cursor or 0
        if done + 4 >= 10:
            return self.success({"done": 10, "sum": context.accumulated_results["sum"]})
        result = {
            "cursor": done + 4,
            "items_processed": done + 4,
            "accumulated_results": {"sum": (context.accumulated_results or {"sum": 0})["sum"] + 4},
        }
        return self.success(result, {"checkpoint_yield": True})


def test_a_checkpoint() -> None:
    made = run_step(Counting)
    assert (made.outcome, made.is_success, made.is_failure) == ("checkpoint", False, False)
    assert made.checkpoint is not None
    assert made.checkpoint["cursor"] == 4
    assert (made.result, made.metadata, made.error_type) == (None, {}, None)
    assert made.describe() == "checkpoint at cursor 4"
    again = run_step(Counting, checkpoint=made.checkpoint)
    assert again.checkpoint is not None
    assert again.checkpoint["cursor"] == 8


# Whole tasks


def test_a_task_of_decorated_functions() -> None:
    task = run_task(handlers=[total, double, load], input_data={"numbers": [1, 2]})
    assert (task.status, task.is_complete) == ("complete", True)
    assert task.assert_complete()["total"] == {"total": 6, "from": 3}
    assert task.results["double"] == {"numbers": [2, 4]}
    assert {step.attempts for step in task.steps.values()} == {1}


def test_handlers_of_a_module() -> None:
    module = types.ModuleType("pipeline")
    vars(module).update(load=load, double=double, total=total, Orders=Orders)
    for handlers in (module, [module]):
        task = run_task(handlers=handlers, input_data={"numbers": [1]})
        assert set(task.steps) == {"load", "double", "total"}


def test_handlers_of_the_registry(handler_registry: HandlerRegistry) -> None:
    handler_registry.register("load", load._handler_class)
    assert run_task(input_data={"numbers": []}).results == {"load": {"numbers": []}}


TEMPLATE: dict[str, Any] = {
    "name": "pipeline",
    "steps": [
        {"name": "first", "handler": {"callable": "load"}},
        {
            "name": "orders",
            "depends_on": ["first"],
            "handler": {"callable": "orders", "initialization": {"limit": 5}},
        },
        {"name": "refund", "handler": {"callable": "orders", "method": "refund"}},
    ],
}


def test_a_task_of_a_template() -> None:
    task = run_task(TEMPLATE, handlers=[load, Orders], input_data={"numbers": [1]})
    assert task.results == {
        "first": {"numbers": [1]},
        "orders": {"config": {"limit": 5}, "inputs": {"limit": 5}},
        "refund": {"called": "refund"},
    }


def test_a_template_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("name: p\nsteps:\n  - {name: only, handler: {callable: load}}\n")
    for path in (file, str(file)):
        assert run_task(path, handlers=[load]).results == {"only": {"numbers": None}}


def test_results_of_all_earlier_steps_are_there() -> None:
    @step_handler("last")
    def last(context: StepContext) -> Any:
        return {"sees": sorted(context.get_dependency_result_keys())}

    steps = [
        {"name": "a", "handler": {"callable": "load"}},
        {"name": "b", "handler": {"callable": "load"}, "dependencies": ["a"]},
        {"name": "c", "handler": {"callable": "last"}, "dependencies": ["b", "b"]},
        {"name": "d", "handler": {"callable": "load"}},
    ]
    task = run_task({"steps": steps}, handlers=[load, last])
    assert task.results["c"] == {"sees": ["a", "b"]}


def flaky(times: int, error: type[Exception] = RetryableError) -> Any:
    @step_handler("flaky")
    def body(context: StepContext) -> Any:
        if context.retry_count < times:
            raise error(f"attempt {context.retry_count}")
        return {"tries": context.retry_count + 1, "of": context.max_retries}

    return body


def retried(retry: dict[str, Any] | None) -> dict[str, Any]:
    flaky_step: dict[str, Any] = {"name": "flaky", "handler": {"callable": "flaky"}}
    if retry is not None:
        flaky_step["retry"] = retry
    after = {"name": "after", "handler": {"callable": "load"}, "dependencies": ["flaky"]}
    return {"steps": [flaky_step, after]}


@pytest.mark.parametrize(
    ("retry", "most"), [(None, 3), ({}, 3), ({"max_attempts": 5, "retryable": None}, 5)]
)
def test_a_step_is_tried_as_often_as_its_template_allows(
    retry: dict[str, Any] | None, most: int
) -> None:
    task = run_task(retried(retry), handlers=[flaky(most - 1), load])
    assert task.results["flaky"] == {"tries": most, "of": most}
    assert task.steps["flaky"].attempts == len(task.steps["flaky"].runs) == most


@pytest.mark.parametrize(
    ("retry", "error", "attempts"),
    [
        (None, RetryableError, 3),
        (None, PermanentError, 1),
        ({"retryable": False}, RetryableError, 1),
        ({"max_attempts": 0}, RetryableError, 1),
    ],
)
def test_a_step_that_fails_for_good_blocks_its_task(
    retry: dict[str, Any] | None, error: type[Exception], attempts: int
) -> None:
    task = run_task(retried(retry), handlers=[flaky(9, error), load])
    assert (task.status, task.is_complete, task.results) == ("blocked_by_failures", False, {})
    failed, after = task.steps["flaky"], task.steps["after"]
    assert (failed.state, failed.attempts, failed.result) == ("error", attempts, None)
    assert failed.error_message == f"attempt {attempts - 1}"
    assert (after.state, after.attempts, after.result) == ("pending", 0, None)
    assert (after.error_type, after.error_message) == (None, None)


def test_after_a_failure_no_further_steps_are_started(calls: Calls) -> None:
    @step_handler("note")
    def note() -> None:
        calls()

    steps = [
        {"name": "fails", "handler": {"callable": "failing"}, "retry": {"max_attempts": 1}},
        {"name": "beside", "handler": {"callable": "note"}},
        {"name": "later", "handler": {"callable": "note"}, "dependencies": ["beside"]},
    ]
    task = run_task({"steps": steps}, handlers=[failing, note])
    assert [step.state for step in task.steps.values()] == ["error", "complete", "pending"]
    assert len(calls) == 1


def test_a_task_that_is_not_complete_fails_the_test_with_its_story() -> None:
    task = run_task(retried({"max_attempts": 1}), handlers=[flaky(9), load])
    with pytest.raises(AssertionError) as caught:
        task.assert_complete()
    assert str(caught.value).splitlines() == [
        "the task should be complete, it is blocked_by_failures",
        "flaky error after 1 attempts: retryable failure, retryable_error: attempt 0",
        "after pending after 0 attempts",
    ]


def test_a_step_that_yields_is_run_on_from_its_checkpoint() -> None:
    task = run_task(
        {"steps": [{"name": "c", "handler": {"callable": "counting"}}]}, handlers=[Counting]
    )
    step = task.steps["c"]
    assert step.result == {"done": 10, "sum": 8}
    assert (step.attempts, len(step.runs)) == (1, 3)


def test_a_checkpoint_survives_a_failed_attempt() -> None:
    @step_handler("shaky")
    def shaky(context: StepContext) -> Any:
        if not context.has_checkpoint():
            return tasker_core.StepHandlerResult.success({"cursor": 7}, {"checkpoint_yield": True})
        if context.retry_count == 0:
            raise RetryableError("lost power")
        return {"from": context.checkpoint_cursor}

    assert run_task(handlers=[shaky]).results == {"shaky": {"from": 7}}


def test_a_step_that_yields_for_ever_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasker_core.testing import _tasks

    @step_handler("endless")
    def endless() -> Any:
        return tasker_core.StepHandlerResult.success({"cursor": 0}, {"checkpoint_yield": True})

    monkeypatch.setattr(_tasks, "_MAX_CHECKPOINTS", 5)
    with pytest.raises(ValueError, match="step 'endless' yielded 5 checkpoints without end"):
        run_task(handlers=[endless])


def step(**more: Any) -> dict[str, Any]:
    return {"name": "s", "handler": {"callable": "load"}, **more}


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({}, "template: a template has at least one step"),
        ({"name": "t", "steps": []}, "t: a template has at least one step"),
        ({"steps": ["s"]}, "template: 's' is no step"),
        ({"steps": [{"handler": {}}]}, "is no step: it needs a 'name'"),
        ({"steps": [step(handler=None)]}, "step 's' names no handler"),
        ({"steps": [step(handler={"callable": ""})]}, "step 's' names no handler"),
        ({"steps": [step(), step()]}, "step 's' is there twice"),
        ({"steps": [step(dependencies=["x"])]}, "step 's' depends on 'x', which is no step"),
        ({"steps": [step(dependencies=["s"])]}, "step 's' depends on itself"),
        (
            {"steps": [step(dependencies=["b"]), step(name="b", dependencies=["s"])]},
            "step 's' depends on itself",
        ),
        ({"steps": [step(type="decision")]}, "step 's' is of type 'decision'; run_task runs stand"),
        ({"steps": [step(step_type="batchable")]}, "step 's' is of type 'batchable'"),
    ],
)
def test_a_template_that_cannot_be_run_is_refused(template: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        run_task(template, handlers=[load])


def test_a_file_that_is_no_template_is_refused(tmp_path: Path) -> None:
    for text, problem in [("- a", "is a mapping"), (": :", "cannot be read as a template")]:
        file = tmp_path / "t.yaml"
        file.write_text(text)
        with pytest.raises(ValueError, match=problem):
            run_task(file)
    with pytest.raises(ValueError, match=r"missing\.yaml: cannot be read as a template"):
        run_task(tmp_path / "missing.yaml")


def test_classes_alone_do_not_tell_a_template() -> None:
    with pytest.raises(ValueError, match="give a template, or handlers decorated with"):
        run_task(handlers=[Orders])


@pytest.mark.parametrize("decorate", [decision_handler("x"), batch_worker("x")])
def test_decisions_and_batches_need_an_engine(decorate: Any) -> None:
    with pytest.raises(ValueError, match="`taskerpy run` runs all of them"):
        run_task(handlers=[decorate(lambda: {})])
