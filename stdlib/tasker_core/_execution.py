"""One execution of a step, as lanes and :class:`StepExecutionSubscriber` share it."""

import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Protocol

from tasker_core.handler import HandlerRegistry
from tasker_core.logging import log_warn
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.step_handler.functional import _wrap_result
from tasker_core.types import FfiStepEvent, StepContext, StepHandlerResult


class Registry(Protocol):
    """What gives handlers: a :class:`HandlerRegistry`, or something like one."""

    def resolve(self, spec: Any, /) -> Any:
        """Return a handler, or ``None`` if there is none."""


def find_handler(registry: Registry, spec: dict[str, Any], name: str) -> Any:
    """Return the handler of a step, or ``None``.

    ``spec`` is the ``handler`` section of the step's definition, ``name`` what
    its handler is looked up by. A plain name is resolved as such; a method, a
    resolver or settings need the whole definition. A method or resolver that
    does not exist is passed over: templates made for functions name methods
    that only classes have. Registries of programs, whose ``resolve`` is their
    own, are asked for names alone, as the published package does.
    """
    initialization = spec.get("initialization")
    method = spec.get("method")
    hint = spec.get("resolver")
    special = hint or (method and method != "call")
    if not special and not initialization:
        return registry.resolve(name)
    if getattr(registry.resolve, "__func__", None) is not HandlerRegistry.resolve:
        return registry.resolve(name)
    plain = HandlerDefinition(name, initialization=initialization or {})
    if not special:
        return registry.resolve(plain)
    try:
        handler = registry.resolve(HandlerDefinition(name, method, hint, plain.initialization))
    except ResolverNotFoundError:
        handler = None
    if handler is not None:
        return handler
    handler = registry.resolve(plain if initialization else name)
    if handler is not None:
        missing = f"resolver {hint!r}" if hint else f"method {method!r}"
        log_warn(f"Handler {name!r} is called plainly: its template's {missing} cannot be used")
    return handler


def name_of(handler: Any) -> Any:
    """Return what a handler calls itself; anything with ``call`` may be one."""
    try:
        return handler.name
    except AttributeError:
        return type(handler).__name__


def not_found(name: str) -> StepHandlerResult:
    """Return the failure of a step whose handler nobody knows."""
    return StepHandlerResult.failure(
        f"Handler not found: {name}", error_type="handler_not_found", retryable=False
    )


def as_result(value: Any) -> StepHandlerResult:
    """Return the result that a handler's value is, or stands for.

    A value that has what is read of a result, such as a mock, counts as one.
    """
    if hasattr(value, "is_success") and isinstance(getattr(value, "metadata", None), dict):
        result: StepHandlerResult = value
        return result
    return _wrap_result(value)


def complete_models() -> bool:
    """Build what models of a step still lack, and return whether they lacked any.

    They are made without a validator, and releases of pydantic before 2.13
    cannot write such a model where it stands in plain data.
    """
    lacking = [
        model
        for model in (FfiStepEvent, StepContext, StepHandlerResult)
        if not model.__pydantic_complete__
    ]
    for model in lacking:
        model.model_rebuild()
    return bool(lacking)


def in_other_thread(run: Callable[[], Any]) -> Any:
    """Return what ``run`` returns on a thread of its own, or raise what it raises."""
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(run())
        except BaseException as exc:
            failure.append(exc)

    thread = threading.Thread(
        target=copy_context().run, args=(target,), name="tasker-async-handler"
    )
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def has_running_loop() -> bool:
    """Return whether this thread runs an event loop at the moment."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def awaited(awaitable: Awaitable[Any]) -> Any:
    """Await anything that can be awaited, as a coroutine."""
    return await awaitable
