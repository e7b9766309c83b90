"""Call the handlers of decorated functions."""

import asyncio
import inspect
from typing import Any

from tasker_core import StepHandlerResult
from tasker_core.testing import step_context

FIRST: dict[str, Any] = {"dependency_results": {"first": {"price": 3}}, "input_data": {"amount": 2}}


def call(fn: Any, **given: Any) -> StepHandlerResult:
    """Call the handler of a decorated function."""
    result = fn._handler_class().call(step_context(**given))
    if inspect.isawaitable(result):
        result = asyncio.run(_wait(result))
    assert isinstance(result, StepHandlerResult)
    return result


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def result(fn: Any, **given: Any) -> Any:
    made = call(fn, **given)
    assert made.is_success, made
    return made.result
