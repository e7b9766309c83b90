"""What a handler returns (§7.5)."""

from enum import Enum
from typing import Any

import pytest
from pydantic import ValidationError
from tasker_core import ErrorType, StepHandlerResult


def test_a_success_keeps_data_and_metadata() -> None:
    result = StepHandlerResult.success({"total": 3}, {"rows": 1})
    assert (result.is_success, result.result, result.metadata) == (True, {"total": 3}, {"rows": 1})
    assert (result.error_message, result.error_type, result.error_code) == (None, None, None)
    assert result.retryable is True


def test_a_success_needs_its_data() -> None:
    with pytest.raises(TypeError):
        StepHandlerResult.success()  # type: ignore[call-arg]


def test_the_data_of_a_success_may_be_none() -> None:
    assert StepHandlerResult.success(None).result is None
    assert StepHandlerResult.success(None).metadata == {}


@pytest.mark.parametrize("data", [[1], "text", 5, {1: 2}])
def test_other_data_is_refused(data: Any) -> None:
    with pytest.raises(ValidationError):
        StepHandlerResult.success(data)


@pytest.mark.parametrize("metadata", ["text", {1: 2}])
def test_other_metadata_is_refused(metadata: Any) -> None:
    with pytest.raises(ValidationError):
        StepHandlerResult.success({}, metadata)


def test_the_defaults_of_a_failure() -> None:
    result = StepHandlerResult.failure("Error")
    assert (result.is_success, result.error_message, result.result) == (False, "Error", None)
    assert (result.error_type, result.retryable) == ("handler_error", True)
    assert (result.metadata, result.error_code) == ({}, None)


def test_the_order_of_a_failures_arguments() -> None:
    result = StepHandlerResult.failure("no", "own_type", False, {"m": 1}, "E1")
    assert (result.error_message, result.error_type, result.retryable) == ("no", "own_type", False)
    assert (result.metadata, result.error_code) == ({"m": 1}, "E1")


@pytest.mark.parametrize("error_type", list(ErrorType))
def test_an_error_type_is_stored_as_plain_text(error_type: ErrorType) -> None:
    stored = StepHandlerResult.failure("no", error_type).error_type
    assert stored == error_type.value
    assert not isinstance(stored, Enum)


@pytest.mark.parametrize(
    "arguments",
    [(5,), ("no", 5), ("no", "t", "perhaps"), ("no", "t", True, [1]), ("no", "t", 1, {1: 1})],
)
def test_a_failure_refuses_arguments_of_wrong_types(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError):
        StepHandlerResult.failure(*arguments)


def test_a_failure_coerces_what_pydantic_coerces() -> None:
    assert StepHandlerResult.failure("no", retryable="yes").retryable is True  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["success", "is_success"])
def test_both_names_of_the_flag_are_read(key: str) -> None:
    assert StepHandlerResult.model_validate({key: True}).is_success is True
    assert StepHandlerResult(**{key: False}).is_success is False  # type: ignore[arg-type]


def test_the_flag_is_written_by_its_own_name_or_the_alias() -> None:
    result = StepHandlerResult.success({})
    assert result.model_dump()["is_success"] is True
    assert "success" not in result.model_dump()
    assert result.model_dump(by_alias=True)["success"] is True


def test_a_missing_flag_is_reported_as_success() -> None:
    with pytest.raises(ValidationError) as caught:
        StepHandlerResult.model_validate({})
    assert [error["loc"] for error in caught.value.errors()] == [("success",)]


def test_success_is_a_way_to_make_a_result_and_no_flag() -> None:
    assert callable(StepHandlerResult.failure("no").success)


def test_asking_a_result() -> None:
    done, failed = StepHandlerResult.success({}), StepHandlerResult.failure("no")
    assert (done.is_success_result(), done.is_failure_result()) == (True, False)
    assert (failed.is_success_result(), failed.is_failure_result()) == (False, True)


def test_results_made_in_short_cannot_be_told_from_validated_ones() -> None:
    short = StepHandlerResult.success({"a": 1}, {"m": 1})
    long = StepHandlerResult.model_validate(
        {"success": True, "result": {"a": 1}, "metadata": {"m": 1}}
    )
    assert short == long
    assert short.model_dump() == long.model_dump()
    assert list(vars(short)) == list(vars(long))
    failed = StepHandlerResult.failure("no", "t", False, {"m": 1}, "E1")
    assert failed == StepHandlerResult.model_validate(failed.model_dump())


def test_a_derived_class_makes_its_own_results() -> None:
    class Own(StepHandlerResult):
        more: int = 5

    done, failed = Own.success({"a": 1}), Own.failure("no")
    assert (type(done), type(failed)) == (Own, Own)
    assert isinstance(done, Own)
    assert done.more == 5


def test_the_callers_data_is_not_the_results() -> None:
    data: dict[str, Any] = {"a": 1}
    result = StepHandlerResult.success(data)
    data["b"] = 2
    assert result.result == {"a": 1}
