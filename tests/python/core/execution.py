"""A subscriber and handlers to execute events with."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

from tasker_core import (
    EventBridge,
    FfiStepEvent,
    HandlerRegistry,
    StepExecutionSubscriber,
    StepHandler,
)
from tasker_core.testing import step_event


class Parts(NamedTuple):
    """A subscriber with what it works with."""

    subscriber: StepExecutionSubscriber
    bridge: EventBridge
    registry: HandlerRegistry
    complete: mock.Mock
    checkpoint: mock.Mock


def handler(body: Callable[[Any], Any], name: str = "orders") -> type[StepHandler]:
    """Return a handler class whose call() is ``body``."""

    class Made(StepHandler):
        handler_name = name

        def call(self, context: Any) -> Any:
            return body(context)

        def refund(self, context: Any) -> Any:
            return self.success({"called": "refund"})

    return Made


def handle(parts: Parts, body: Callable[[Any], Any], event: FfiStepEvent | None = None) -> Any:
    """Execute an event with a handler and return the one completion it gave."""
    parts.registry.register("orders", handler(body))
    parts.subscriber._handle_execution_event(event or step_event(handler="orders"))
    assert parts.complete.call_count == 1
    assert parts.complete.call_args.kwargs == {}
    return parts.complete.call_args.args[1]


def submit(parts: Parts, result: Any, event: FfiStepEvent | None = None) -> Any:
    parts.subscriber._submit_result(event or step_event(), result, 5)
    return parts.complete.call_args.args[1]


def raising(error: BaseException) -> Callable[[Any], Any]:
    def body(context: Any) -> Any:
        raise error

    return body


class Async(StepHandler):
    handler_name = "async"

    async def call(self, context: Any) -> Any:
        await asyncio.sleep(0)
        if context.get_input("fail"):
            raise RuntimeError("failed later")
        return self.success({"done": True})
