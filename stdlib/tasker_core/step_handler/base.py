"""The class that step handlers are derived from."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any

from tasker_core.types import ErrorType, StepContext, StepHandlerResult

__all__ = ["StepHandler", "StepHandlerCallResult"]

StepHandlerCallResult = StepHandlerResult | Awaitable[StepHandlerResult]
"""What ``call`` may return: a result, or something to await for one."""


class StepHandler(ABC):
    """One step of a workflow: a class with a ``call`` method.

    ``call`` may be ``async def``. A class that needs settings may have a
    constructor that takes them as ``config``.

    >>> class AddTax(StepHandler):
    ...     handler_name = "add_tax"
    ...
    ...     def call(self, context):
    ...         return self.success({"gross": context.get_input("net") * 1.19})
    >>> AddTax()
    AddTax(name='add_tax', version='1.0.0')
    """

    handler_name: str = ""
    """The name that templates call the handler by; the class name if empty."""

    handler_version: str = "1.0.0"

    @abstractmethod
    def call(self, context: StepContext) -> StepHandlerCallResult:
        """Do the step's work and return :meth:`success` or :meth:`failure`."""

    @property
    def name(self) -> str:
        """The handler's name."""
        return self.handler_name or type(self).__name__

    @property
    def version(self) -> str:
        """The handler's version."""
        return self.handler_version

    @property
    def capabilities(self) -> list[str]:
        """What the handler can do."""
        return ["process"]

    def config_schema(self) -> dict[str, Any] | None:
        """Return a JSON schema for the handler's settings, if it has one."""
        return None

    def success(
        self,
        result: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return a success with the step's data."""
        return StepHandlerResult.success(result or {}, metadata)

    def failure(
        self,
        message: str,
        error_type: str | ErrorType = "handler_error",
        retryable: bool = True,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
    ) -> StepHandlerResult:
        """Return a failure; ``retryable`` says whether to try again."""
        return StepHandlerResult.failure(message, error_type, retryable, metadata, error_code)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, version={self.version!r})"
