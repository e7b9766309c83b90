"""What a handler returns."""

from typing import Any

from pydantic import AliasChoices, Field

from tasker_core.types._enums import ErrorType
from tasker_core.types._model import Model
from tasker_core.types._trusted import construct, has_text_keys


class StepHandlerResult(Model):
    """The outcome of one call of a handler.

    >>> StepHandlerResult.success({"total": 3}).result
    {'total': 3}
    >>> failed = StepHandlerResult.failure("gateway is down", error_type="gateway_error")
    >>> failed.is_success, failed.retryable
    (False, True)

    ``success`` is a way to make a result; ask ``is_success`` of one.
    """

    is_success: bool = Field(
        validation_alias=AliasChoices("success", "is_success"),
        serialization_alias="success",
    )
    result: dict[str, Any] | None = None
    error_message: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def success(
        cls, result: dict[str, Any] | None, metadata: dict[str, Any] | None = None
    ) -> "StepHandlerResult":
        """Return a success with the step's data.

        Raises:
            pydantic.ValidationError: ``result`` or ``metadata`` is neither
                ``None`` nor a dict with ``str`` keys.
        """
        # Every step comes through here, so plain dicts skip the validator;
        # whatever is not plain goes to it, to be coerced or refused.
        if (
            cls is StepHandlerResult
            and (result is None or (type(result) is dict and has_text_keys(result)))
            and (not metadata or (type(metadata) is dict and has_text_keys(metadata)))
        ):
            return construct(
                cls,
                {
                    "is_success": True,
                    "result": None if result is None else dict(result),
                    "error_message": None,
                    "error_type": None,
                    "error_code": None,
                    "retryable": True,
                    "metadata": dict(metadata) if metadata else {},
                },
                {"is_success", "result", "metadata"},
            )
        return cls.model_validate(
            {"success": True, "result": result, "metadata": metadata or {}},
        )

    @classmethod
    def failure(
        cls,
        message: str,
        error_type: str | ErrorType = ErrorType.HANDLER_ERROR,
        retryable: bool = True,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
    ) -> "StepHandlerResult":
        """Return a failure; ``retryable`` says whether to try again.

        Raises:
            pydantic.ValidationError: an argument is of a wrong type.
        """
        if isinstance(error_type, ErrorType):
            error_type = error_type.value
        if (
            cls is StepHandlerResult
            and type(message) is str
            and type(error_type) is str
            and type(retryable) is bool
            and (error_code is None or type(error_code) is str)
            and (not metadata or (type(metadata) is dict and has_text_keys(metadata)))
        ):
            return construct(
                cls,
                {
                    "is_success": False,
                    "result": None,
                    "error_message": message,
                    "error_type": error_type,
                    "error_code": error_code,
                    "retryable": retryable,
                    "metadata": dict(metadata) if metadata else {},
                },
                {
                    "is_success",
                    "error_message",
                    "error_type",
                    "error_code",
                    "retryable",
                    "metadata",
                },
            )
        return cls.model_validate(
            {
                "success": False,
                "error_message": message,
                "error_type": error_type,
                "error_code": error_code,
                "retryable": retryable,
                "metadata": metadata or {},
            },
        )

    def is_success_result(self) -> bool:
        """Return whether the handler did its work."""
        return self.is_success

    def is_failure_result(self) -> bool:
        """Return whether the handler failed."""
        return not self.is_success
