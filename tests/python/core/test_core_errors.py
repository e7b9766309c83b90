"""Errors that steps raise, and what tells retryable ones from others (§5, §6)."""

from collections.abc import Iterator
from typing import Any

import pytest
from tasker_core import errors, exceptions
from tasker_core.errors import error_classifier
from tasker_core.errors.error_classifier import (
    ErrorClassifier,
    get_classifier,
    is_permanent,
    is_retryable,
)

RETRYABLE = [
    errors.RetryableError,
    errors.TimeoutError,
    errors.NetworkError,
    errors.RateLimitError,
    errors.ServiceUnavailableError,
    errors.ResourceContentionError,
]
PERMANENT = [
    errors.PermanentError,
    errors.ValidationError,
    errors.NotFoundError,
    errors.AuthenticationError,
    errors.AuthorizationError,
    errors.ConfigurationError,
    errors.BusinessLogicError,
]
ALL = [errors.TaskerError, errors.FFIError, *RETRYABLE, *PERMANENT]


@pytest.fixture(autouse=True)
def _own_classifier() -> Iterator[None]:
    error_classifier._default_classifier = None
    yield
    error_classifier._default_classifier = None


@pytest.mark.parametrize("name", exceptions.__all__)
def test_exceptions_of_the_package_are_plain_tasker_errors(name: str) -> None:
    cls = getattr(exceptions, name)
    assert issubclass(cls, exceptions.TaskerError)
    assert cls("text", 5).args == ("text", 5)


def test_there_are_six_exceptions_and_fifteen_errors() -> None:
    assert len(exceptions.__all__) == 6
    assert set(errors.__all__) == {cls.__name__ for cls in ALL}
    assert len(errors.__all__) == 15


@pytest.mark.parametrize("cls", RETRYABLE)
def test_trouble_that_may_pass_is_retryable(cls: type[errors.TaskerError]) -> None:
    assert issubclass(cls, errors.RetryableError)
    assert cls("x").retryable is True


@pytest.mark.parametrize("cls", PERMANENT)
def test_trouble_that_stays_is_not_retryable(cls: type[errors.TaskerError]) -> None:
    assert issubclass(cls, errors.PermanentError)
    assert cls("x").retryable is False


@pytest.mark.parametrize("cls", [errors.TaskerError, errors.FFIError])
def test_other_errors_are_retryable(cls: type[errors.TaskerError]) -> None:
    assert cls.__mro__[1] in (Exception, errors.TaskerError)
    assert cls("x").retryable is True


def test_the_timeout_error_is_not_the_built_in() -> None:
    assert not issubclass(errors.TimeoutError, TimeoutError)


@pytest.mark.parametrize("cls", ALL)
def test_an_error_has_its_message_and_nothing_else(cls: type[errors.TaskerError]) -> None:
    error = cls("it broke")
    assert (str(error), error.args, error.message) == ("it broke", ("it broke",), "it broke")
    assert (error.metadata, error.error_code, error.retry_after) == ({}, None, None)
    assert "retryable" not in vars(error)


def test_only_the_message_is_positional() -> None:
    with pytest.raises(TypeError):
        errors.RetryableError("x", True)  # type: ignore[call-arg]


@pytest.mark.parametrize("retryable", [True, False])
def test_one_error_may_answer_for_itself(retryable: bool) -> None:
    error = errors.PermanentError("x", retryable=retryable)
    assert error.retryable is retryable
    assert vars(error)["retryable"] is retryable


def test_details_are_gathered_in_the_metadata() -> None:
    error = errors.RateLimitError(
        "x",
        metadata={"a": 1, "error_code": "old"},
        error_code="E1",
        retry_after=1.5,
        context={"b": 2, "retry_after": 9},
    )
    assert error.metadata == {"a": 1, "error_code": "E1", "retry_after": 9, "b": 2}
    assert (error.error_code, error.retry_after) == ("E1", 1.5)


def test_a_zero_is_given_too() -> None:
    assert errors.RateLimitError("x", retry_after=0).metadata == {"retry_after": 0}


def test_errors_as_dicts() -> None:
    error = errors.NotFoundError("gone", metadata={"id": 5})
    assert error.to_dict() == {
        "error_type": "NotFoundError",
        "message": "gone",
        "retryable": False,
        "metadata": {"id": 5},
    }


def test_the_callers_metadata_stays_as_it_is() -> None:
    given = {"a": 1}
    errors.RetryableError("x", metadata=given, error_code="E1")
    assert given == {"a": 1}


class Explicit(Exception):
    def __init__(self, retryable: Any) -> None:
        super().__init__()
        self.retryable = retryable


PERMANENT_BUILT_INS = [
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    AssertionError,
    SyntaxError,
    NameError,
    ImportError,
    NotImplementedError,
    ModuleNotFoundError,
    UnicodeError,
]
RETRYABLE_BUILT_INS = [
    ConnectionError,
    ConnectionRefusedError,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    BlockingIOError,
    InterruptedError,
    OSError,
    IOError,
    TimeoutError,
    FileNotFoundError,
    PermissionError,
]


@pytest.mark.parametrize("cls", PERMANENT_BUILT_INS)
def test_built_ins_that_tell_of_mistakes_are_permanent(cls: type[Exception]) -> None:
    assert ErrorClassifier().classify(cls()) == {
        "error_type": cls.__name__,
        "retryable": False,
        "classification": "permanent_class",
    }


@pytest.mark.parametrize("cls", RETRYABLE_BUILT_INS)
def test_built_ins_that_tell_of_the_world_are_retryable(cls: type[Exception]) -> None:
    assert ErrorClassifier().classify(cls())["retryable"] is True
    assert ErrorClassifier().classify(cls())["classification"] == "retryable_class"


@pytest.mark.parametrize("cls", ALL)
def test_errors_of_the_package_answer_for_themselves(cls: type[errors.TaskerError]) -> None:
    told = ErrorClassifier().classify(cls("x"))
    assert told["classification"] == "explicit_attribute"
    assert told["retryable"] is cls.retryable


@pytest.mark.parametrize(("attribute", "retryable"), [(1, True), ("", False), (None, False)])
def test_an_attribute_of_any_class_decides(attribute: Any, retryable: bool) -> None:
    assert ErrorClassifier().retryable(Explicit(attribute)) is retryable


def test_an_attribute_decides_before_the_class() -> None:
    error = ValueError("x")
    error.retryable = True  # type: ignore[attr-defined]
    assert ErrorClassifier().classify(error)["classification"] == "explicit_attribute"


@pytest.mark.parametrize("default", [True, False])
def test_other_errors_get_the_default(default: bool) -> None:
    classifier = ErrorClassifier(default_retryable=default)
    assert classifier._default_retryable is default
    assert classifier.classify(RuntimeError()) == {
        "error_type": "RuntimeError",
        "retryable": default,
        "classification": "default",
    }


def test_permanent_is_the_opposite_of_retryable() -> None:
    assert ErrorClassifier().permanent(ValueError()) is True
    assert ErrorClassifier().permanent(OSError()) is False


def test_the_lists_of_classes_hold_the_packages_own_too() -> None:
    assert set(PERMANENT) <= set(ErrorClassifier.PERMANENT_ERROR_CLASSES)
    assert set(RETRYABLE) <= set(ErrorClassifier.RETRYABLE_ERROR_CLASSES)


def test_there_is_one_classifier_until_it_is_dropped() -> None:
    first = get_classifier()
    assert get_classifier() is first
    error_classifier._default_classifier = None
    assert get_classifier() is not first


def test_the_functions_ask_that_classifier() -> None:
    error_classifier._default_classifier = ErrorClassifier(default_retryable=False)
    assert is_retryable(RuntimeError()) is False
    assert is_permanent(RuntimeError()) is True
