"""What a handler is called with (§7.4), and the batch in it (§7.7)."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from tasker_core import BatchWorkerContext, FfiStepEvent, StepContext, TaskSequenceStepWrapper

IDS = {
    "task_uuid": "018f0000-0000-7000-8000-000000000001",
    "step_uuid": "018f0000-0000-7000-8000-000000000002",
    "correlation_id": "018f0000-0000-7000-8000-000000000003",
}
MISSING = object()
FULL: dict[str, Any] = {
    "task": {"task": {"context": {"amount": 3, "nothing": None, "zero": 0, "text": ""}}},
    "workflow_step": {
        "inputs": {"cursor": {}},
        "attempts": 1,
        "max_attempts": 5,
        "checkpoint": None,
    },
    "dependency_results": {
        "wrapped": {"result": {"price": {"net": 5}}, "success": True},
        "null": {"result": None},
        "plain": {"price": 7},
        "scalar": 9,
        "none": None,
    },
    "step_definition": {"handler": {"initialization": {"limit": 10}}},
}


def event(payload: dict[str, Any], **ids: str) -> FfiStepEvent:
    return FfiStepEvent(event_id="e-1", task_sequence_step=payload, **{**IDS, **ids})


def context(payload: dict[str, Any] | None = None) -> StepContext:
    return StepContext.from_ffi_event(event(FULL if payload is None else payload), "test_handler")


def trusted(payload: dict[str, Any]) -> StepContext:
    """The context as the host's lanes make it."""
    return StepContext._from_trusted_payload(
        {"event_id": "e-1", "task_sequence_step": payload, **IDS}, payload, "test_handler"
    )


def test_every_part_is_found_in_its_place() -> None:
    made = context()
    assert made.handler_name == "test_handler"
    assert made.input_data["amount"] == 3
    assert list(made.dependency_results) == ["wrapped", "null", "plain", "scalar", "none"]
    assert (made.step_config, made.step_inputs) == ({"limit": 10}, {"cursor": {}})
    assert (made.retry_count, made.max_retries) == (1, 5)
    assert [made.task_uuid, made.step_uuid, made.correlation_id] == [*map(UUID, IDS.values())]
    assert made.event.task_sequence_step == FULL


EMPTY: list[dict[str, Any]] = [
    {},
    {"task": {}, "workflow_step": {}, "step_definition": {}, "dependency_results": {}},
    {"task": {"task": {}}, "step_definition": {"handler": {}}},
]


@pytest.mark.parametrize("payload", EMPTY)
def test_an_empty_payload_gives_the_defaults(payload: dict[str, Any]) -> None:
    made = context(payload)
    assert (made.input_data, made.dependency_results) == ({}, {})
    assert (made.step_config, made.step_inputs) == ({}, {})
    assert (made.retry_count, made.max_retries) == (0, 3)


NULLS: list[dict[str, Any]] = [
    {"task": None, "workflow_step": None, "step_definition": None, "dependency_results": None},
    {
        "task": {"task": None, "context": None},
        "workflow_step": {"inputs": None, "attempts": None, "max_attempts": None},
        "step_definition": {"handler": None},
    },
    {"task": {"task": {"context": None}}, "step_definition": {"handler": {"initialization": None}}},
]


@pytest.mark.parametrize("payload", NULLS)
def test_null_is_read_as_absent(payload: dict[str, Any]) -> None:
    made = context(payload)
    assert (made.input_data, made.dependency_results, made.step_config) == ({}, {}, {})
    assert (made.step_inputs, made.retry_count, made.max_retries) == ({}, 0, 3)


def test_a_maximum_of_zero_is_read_as_three() -> None:
    assert context({"workflow_step": {"max_attempts": 0}}).max_retries == 3


def test_a_task_without_an_inner_one_has_the_context_itself() -> None:
    assert context({"task": {"context": {"a": 1}}}).input_data == {"a": 1}


def test_an_inner_task_without_a_context_has_none_though_the_outer_has() -> None:
    assert context({"task": {"task": {}, "context": {"a": 1}}}).input_data == {}


def test_keys_that_look_like_fields_are_ignored_in_the_payload() -> None:
    made = context(
        {"input_data": {"a": 1}, "step_config": {"a": 1}, "retry_count": 5, "handler_name": "other"}
    )
    assert (made.input_data, made.step_config, made.retry_count) == ({}, {}, 0)
    assert made.handler_name == "test_handler"


@pytest.mark.parametrize("value", [[1], "text", 5])
def test_a_task_context_that_is_no_object_is_a_validation_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        context({"task": {"task": {"context": value}}})


@pytest.mark.parametrize("section", ["task", "workflow_step", "step_definition"])
def test_a_section_that_is_no_object_is_named(section: str) -> None:
    with pytest.raises(ValueError, match=f"'{section}' is list, it must be an object"):
        context({section: []})


@pytest.mark.parametrize("name", IDS)
def test_an_id_that_is_no_uuid_is_an_error(name: str) -> None:
    with pytest.raises(ValueError):
        StepContext.from_ffi_event(event({}, **{name: "x"}), "test_handler")


def test_a_context_may_be_made_by_hand() -> None:
    made = StepContext(
        event=event({}),
        task_uuid=UUID(IDS["task_uuid"]),
        step_uuid=UUID(IDS["step_uuid"]),
        correlation_id=UUID(IDS["correlation_id"]),
        handler_name="own",
        input_data={"a": 1},
        max_retries=9,
    )
    assert (made.input_data, made.step_config, made.max_retries) == ({"a": 1}, {}, 9)


@pytest.mark.parametrize(
    ("step", "result"),
    [
        ("wrapped", {"price": {"net": 5}}),
        ("null", None),
        ("plain", {"price": 7}),
        ("scalar", 9),
        ("none", None),
        ("missing", None),
    ],
)
def test_a_dependencys_result_is_unwrapped_once(step: str, result: Any) -> None:
    assert context().get_dependency_result(step) == result


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("wrapped", "price", "net"), 5),
        (("wrapped",), {"price": {"net": 5}}),
        (("wrapped", "missing"), None),
        (("wrapped", "price", "net", "deeper"), None),
        (("scalar", "deeper"), None),
        (("missing", "price"), None),
    ],
)
def test_a_field_of_a_dependencys_result(path: tuple[str, ...], value: Any) -> None:
    assert context().get_dependency_field(*path) == value


def test_results_of_several_dependencies_by_prefix() -> None:
    made = context(
        {"dependency_results": {"b_1": {"result": 1}, "a": 0, "b_2": None, "b_3": {"result": 3}}}
    )
    assert made.get_all_dependency_results("b_") == [1, 3]
    assert made.get_all_dependency_results("") == [1, 0, 3]
    assert made.get_all_dependency_results("c") == []
    assert made.get_dependency_result_keys() == ["b_1", "a", "b_2", "b_3"]


class Halved(StepContext):
    def get_dependency_result(self, step_name: str) -> Any:
        return super().get_dependency_result(step_name) / 2


def test_results_by_prefix_are_those_that_a_program_reads_by_name() -> None:
    made = Halved(**dict(context({"dependency_results": {"b_1": {"result": 2}, "b_2": 6}})))
    assert made.get_all_dependency_results("b_") == [1, 3]


def test_inputs_and_settings() -> None:
    made = context()
    assert (made.get_input("amount"), made.get_input("missing")) == (3, None)
    assert (made.get_config("limit"), made.get_config("missing")) == (10, None)


@pytest.mark.parametrize(
    ("key", "value"), [("amount", 3), ("missing", 8), ("nothing", 8), ("zero", 0), ("text", "")]
)
def test_an_input_or_a_default(key: str, value: Any) -> None:
    assert context().get_input_or(key, 8) == value


def test_the_default_of_an_input_is_none() -> None:
    assert context().get_input_or("missing") is None


@pytest.mark.parametrize(
    ("attempts", "most", "retry", "last"),
    [(0, 3, False, False), (1, 3, True, False), (2, 3, True, True), (0, 1, False, True)],
)
def test_whether_a_step_is_tried_again(attempts: int, most: int, retry: bool, last: bool) -> None:
    made = context({"workflow_step": {"attempts": attempts, "max_attempts": most}})
    assert (made.is_retry(), made.is_last_retry()) == (retry, last)


@pytest.mark.parametrize("stored", [MISSING, None, [], "text"])
def test_without_a_checkpoint(stored: Any) -> None:
    step = {} if stored is MISSING else {"checkpoint": stored}
    made = context({"workflow_step": step})
    assert made.checkpoint is None
    assert made.has_checkpoint() is False
    assert (made.checkpoint_cursor, made.accumulated_results) == (None, None)
    assert made.checkpoint_items_processed == 0


def test_an_empty_checkpoint_is_there_but_has_no_cursor() -> None:
    made = context({"workflow_step": {"checkpoint": {}}})
    assert made.checkpoint == {}
    assert made.has_checkpoint() is False


def test_a_checkpoint_at_zero_counts() -> None:
    stored = {"cursor": 0, "items_processed": 7, "accumulated_results": {"sum": 1}}
    made = context({"workflow_step": {"checkpoint": stored}})
    assert made.has_checkpoint() is True
    assert (made.checkpoint_cursor, made.checkpoint_items_processed) == (0, 7)
    assert made.accumulated_results == {"sum": 1}


def test_a_payload_without_a_step_has_no_checkpoint() -> None:
    assert context({}).checkpoint is None
    assert context({"workflow_step": None}).checkpoint is None


def test_the_payload_is_there_behind_typed_names() -> None:
    made = context()
    assert isinstance(made.task_sequence_step, TaskSequenceStepWrapper)
    assert made.task_sequence_step is not made.task_sequence_step
    assert made.task_sequence_step.task.context == made.input_data


WHOLE: dict[str, Any] = {
    "task": {"task": {"context": {"amount": 3}}},
    "workflow_step": {"name": "s", "inputs": {"a": 1}, "attempts": 1, "max_attempts": 5},
    "dependency_results": {"first": {"result": 1}},
    "step_definition": {"handler": {"initialization": {"limit": 10}}},
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"task": {"task": {"context": None}}},
        {"workflow_step": {"inputs": None, "attempts": None, "max_attempts": None}},
        {"step_definition": {"handler": {"initialization": None}}},
        {"step_definition": {"handler": {}}},
        {"dependency_results": {}},
        {"task": {"context": {"flat": 1}}},
        {"workflow_step": {}},
    ],
)
def test_a_context_of_the_host_cannot_be_told_from_a_validated_one(change: dict[str, Any]) -> None:
    payload = {**WHOLE, **change}
    assert trusted(payload) == context(payload)
    assert trusted(payload).model_dump() == context(payload).model_dump()
    assert trusted(payload).model_fields_set == context(payload).model_fields_set


@pytest.mark.parametrize(
    "change",
    [
        {"task": {"task": {"context": [1]}}},
        {"step_definition": {"handler": {"initialization": "text"}}},
        {"workflow_step": {"inputs": [1]}},
    ],
)
def test_what_a_user_got_wrong_is_still_refused_by_the_host(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trusted({**WHOLE, **change})


def test_a_derived_context_is_made_by_the_host_too() -> None:
    class Own(StepContext):
        more: int = 5

    made = Own._from_trusted_payload(dict(IDS, event_id="e"), WHOLE, "test_handler")
    assert isinstance(made, Own)
    assert (made.more, made.input_data) == (5, {"amount": 3})


def test_a_derived_context_validates() -> None:
    class Own(StepContext):
        more: int = 5

    made = Own.from_ffi_event(event(WHOLE), "x")
    assert isinstance(made, Own)
    assert (made.more, made.input_data) == (5, {"amount": 3})


def test_changing_the_context_leaves_the_event_alone() -> None:
    payload = {**WHOLE, "task": {"task": {"context": {"amount": 3}}}}
    for made in (trusted(payload), context(payload)):
        made.input_data["more"] = 1
        assert payload["task"]["task"]["context"] == {"amount": 3}


def test_unknown_keys_of_the_hosts_event_are_not_fields() -> None:
    made = FfiStepEvent._from_trusted_payload({**IDS, "event_id": "e", "new_key": 1}, {})
    assert made == FfiStepEvent(event_id="e", task_sequence_step={}, **IDS)
    assert "new_key" not in made.model_fields_set


def batch(payload: dict[str, Any]) -> BatchWorkerContext | None:
    return BatchWorkerContext.from_step_context(context(payload))


def test_the_batch_of_a_workers_inputs() -> None:
    made = batch(
        {
            "workflow_step": {
                "inputs": {
                    "cursor": {
                        "batch_id": "001",
                        "start_cursor": 5,
                        "end_cursor": 9,
                        "batch_size": 4,
                        "metadata": {"m": 1},
                    },
                    "batch_metadata": {"cursor_field": "id"},
                },
                "checkpoint": {"cursor": 6},
            }
        }
    )
    assert made is not None
    assert (made.batch_id, made.start_cursor, made.end_cursor, made.step_size) == ("001", 5, 9, 4)
    assert (made.batch_index, made.total_batches) == (0, 1)
    assert made.cursor_config.metadata == {"m": 1}
    assert (made.batch_metadata, made.checkpoint) == ({"cursor_field": "id"}, {"cursor": 6})


def test_a_workers_inputs_may_be_almost_empty() -> None:
    made = batch({"workflow_step": {"inputs": {"cursor": {"batch_id": None}}}})
    assert made is not None
    assert (made.batch_id, made.start_cursor, made.end_cursor, made.step_size) == ("", 0, 0, 1)
    assert (made.batch_metadata, made.checkpoint) == ({}, {})


def test_a_step_size_goes_before_a_batch_size() -> None:
    made = batch({"workflow_step": {"inputs": {"cursor": {"step_size": 2, "batch_size": 4}}}})
    assert made is not None
    assert made.step_size == 2


BATCH = {
    "batch_id": "007",
    "cursor_config": {"start_cursor": 1, "end_cursor": 2, "step_size": 3, "metadata": {"m": 1}},
    "batch_index": 6,
    "total_batches": 9,
    "batch_metadata": {"k": 1},
}


@pytest.mark.parametrize(
    "payload",
    [
        {"step_definition": {"handler": {"initialization": {"batch_context": BATCH}}}},
        {"task": {"task": {"context": {"batch_context": BATCH}}}},
    ],
)
def test_a_batch_of_the_settings_or_the_input(payload: dict[str, Any]) -> None:
    made = batch(payload)
    assert made is not None
    assert (made.batch_id, made.batch_index, made.total_batches) == ("007", 6, 9)
    assert (made.start_cursor, made.end_cursor, made.step_size) == (1, 2, 3)
    assert (made.cursor_config.metadata, made.batch_metadata) == ({"m": 1}, {"k": 1})


def test_a_batch_of_the_settings_may_be_almost_empty() -> None:
    made = batch({"step_definition": {"handler": {"initialization": {"batch_context": {"a": 1}}}}})
    assert made is not None
    assert (made.batch_id, made.start_cursor, made.step_size) == ("", 0, 1)
    assert (made.batch_index, made.total_batches, made.batch_metadata) == (0, 1, {})


def test_a_step_without_a_batch_has_none() -> None:
    assert batch({}) is None


def test_cursors_that_are_no_integers_need_the_other_model() -> None:
    with pytest.raises(ValidationError):
        batch({"workflow_step": {"inputs": {"cursor": {"start_cursor": "2026-01-01"}}}})
