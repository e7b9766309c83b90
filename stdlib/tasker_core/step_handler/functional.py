"""Decorators that make step handlers of functions.

>>> from tasker_core.step_handler import depends_on, inputs, step_handler
>>> @step_handler("total")
... @depends_on(prices="load_prices")
... @inputs("discount")
... def total(prices, discount):
...     return {"total": sum(prices) - (discount or 0)}
>>> total([10, 5], 3)
{'total': 12}
>>> total._handler_class.handler_name
'total'

The function stays what it was; the handler class hangs on it as
``_handler_class``. The metadata decorators may stand below or above the
handler decorator.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel

from tasker_core._failures import message_of, metadata_of, told, traceback_of
from tasker_core._inputs import build_inputs
from tasker_core._patchable import patchable
from tasker_core.errors import PermanentError, RetryableError, TaskerError
from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.api import APIMixin
from tasker_core.step_handler.mixins.decision import DecisionMixin
from tasker_core.types import (
    DecisionPointOutcome,
    DecisionType,
    ErrorType,
    StepContext,
    StepHandlerResult,
)

__all__ = [
    "BatchConfig",
    "Decision",
    "FunctionalHandler",
    "HandlerDecorator",
    "api_handler",
    "batch_analyzer",
    "batch_worker",
    "decision_handler",
    "depends_on",
    "inputs",
    "step_handler",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
# Adds arguments that only one kind of handler passes.
_Extras = Callable[[Any, StepContext], dict[str, Any]]
# Turns what the function returned into the handler's result.
_Wrap = Callable[[Any, Any], StepHandlerResult]


@runtime_checkable
class FunctionalHandler(Protocol):
    """A function that a handler decorator has been applied to.

    >>> @step_handler("charge_card")
    ... def charge_card():
    ...     return {}
    >>> isinstance(charge_card, FunctionalHandler)
    True
    """

    _handler_class: type[StepHandler]
    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""


HandlerDecorator = Callable[[Callable[..., Any]], FunctionalHandler]
"""A decorator that makes a handler of a function."""


@dataclass(frozen=True)
class Decision:
    """What a decision handler returns.

    >>> Decision.route(["approve"], path="auto").outcome.routing_context
    {'path': 'auto'}
    >>> Decision.skip("nothing to approve").outcome.reason
    'nothing to approve'
    """

    outcome: DecisionPointOutcome

    @staticmethod
    def route(steps: list[str], **routing_context: Any) -> "Decision":
        """Return the decision to go on with ``steps``."""
        return Decision(
            DecisionPointOutcome.create_steps(steps, routing_context=routing_context or None)
        )

    @staticmethod
    def skip(reason: str, **routing_context: Any) -> "Decision":
        """Return the decision to create nothing, and why."""
        return Decision(
            DecisionPointOutcome.no_branches(reason, routing_context=routing_context or None)
        )


@dataclass
class BatchConfig:
    """What a batch analyzer returns: how much there is, and how to cut it.

    >>> BatchConfig(total_items=250, batch_size=100).metadata
    {}
    """

    total_items: int
    batch_size: int
    metadata: dict[str, Any] = field(default_factory=dict)


def depends_on(**dependencies: str | tuple[str, Any]) -> Callable[[_Function], _Function]:
    """Pass results of earlier steps: ``parameter="step"`` or ``("step", Model)``.

    With a model, a result that is an object is validated into it. A step
    without a result gives ``None``.

    >>> @step_handler("ship")
    ... @depends_on(order="create_order")
    ... def ship(order):
    ...     return {"shipped": order["id"]}
    >>> from tasker_core.testing import run_step
    >>> run_step(ship, dependency_results={"create_order": {"id": 7}}).result
    {'shipped': 7}
    """

    def decorate(fn: _Function) -> _Function:
        steps = dict(getattr(fn, "_depends_on", {}))
        models = dict(getattr(fn, "_dep_models", {}))
        for parameter, dependency in dependencies.items():
            if isinstance(dependency, tuple) and len(dependency) != 2:
                raise ValueError(
                    f"depends_on: {parameter} must be a step's name or (name, model), "
                    f"not {dependency!r}"
                )
            step, model = dependency if isinstance(dependency, tuple) else (dependency, None)
            steps[parameter] = step
            models.pop(parameter, None)
            if model is not None:
                models[parameter] = model
        _annotate(fn, _depends_on=steps, _dep_models=models)
        return fn

    return decorate


def inputs(*keys: str | type[BaseModel]) -> Callable[[_Function], _Function]:
    """Pass values of the task's input: each by its key, or all in one model.

    ``inputs("a", "b")`` passes ``a`` and ``b`` (``None`` if missing);
    ``inputs(Model)`` passes a ``Model`` as ``inputs``.

    >>> @step_handler("greet")
    ... @inputs("name")
    ... def greet(name):
    ...     return {"greeting": f"Hello {name}"}
    >>> from tasker_core.testing import run_step
    >>> run_step(greet, input_data={"name": "Ada"}).result
    {'greeting': 'Hello Ada'}
    """

    def decorate(fn: _Function) -> _Function:
        if len(keys) == 1 and isinstance(keys[0], type):
            _annotate(fn, _input_model=keys[0])
        else:
            _annotate(fn, _inputs=[*getattr(fn, "_inputs", []), *keys])
        return fn

    return decorate


def step_handler(name: str, version: str = "1.0.0") -> HandlerDecorator:
    """Make a step handler of a function that returns the step's data.

    >>> @step_handler("charge_card")
    ... @depends_on(cart="price_cart")
    ... def charge_card(cart):
    ...     return {"charged": cart["total"]}
    >>> charge_card({"total": 3})
    {'charged': 3}
    >>> charge_card._handler_class.handler_name
    'charge_card'
    """
    _require_name(name, "step_handler")

    def decorate(fn: Callable[..., Any]) -> FunctionalHandler:
        return _attach(fn, _make_handler_class(fn, name, version))

    return decorate


def decision_handler(name: str, version: str = "1.0.0") -> HandlerDecorator:
    """Make a decision handler of a function that returns a :class:`Decision`.

    >>> @decision_handler("route")
    ... @inputs("amount")
    ... def route(amount):
    ...     return Decision.route(["ask_manager"] if amount > 1000 else ["approve"])
    >>> from tasker_core.testing import run_step
    >>> run_step(route, input_data={"amount": 5}).result["decision_point_outcome"]["step_names"]
    ['approve']
    """
    _require_name(name, "decision_handler")

    def wrap(handler: DecisionMixin, value: Any) -> StepHandlerResult:
        if not isinstance(value, Decision):
            return _wrap_result(value)
        outcome = value.outcome
        # Fields are not validated when they are set: this may be its text alone.
        if outcome.decision_type == DecisionType.CREATE_STEPS:
            return handler.decision_success_with_outcome(
                DecisionPointOutcome.create_steps(
                    outcome.next_step_names, outcome.dynamic_steps, outcome.routing_context
                )
            )
        return handler.skip_branches(
            outcome.reason or "No branches", routing_context=outcome.routing_context
        )

    def decorate(fn: Callable[..., Any]) -> FunctionalHandler:
        handler_class = _make_handler_class(
            fn,
            name,
            version,
            bases=(DecisionMixin, StepHandler),
            kind="decision_handler",
            wrap=wrap,
        )
        return _attach(fn, handler_class)

    return decorate


def batch_analyzer(name: str, worker_template: str, version: str = "1.0.0") -> HandlerDecorator:
    """Make an analyzer of a function that returns a :class:`BatchConfig`.

    ``worker_template`` names the template's step that processes one batch.

    >>> @batch_analyzer("analyze", worker_template="process_rows")
    ... def analyze():
    ...     return BatchConfig(total_items=250, batch_size=100)
    >>> from tasker_core.testing import run_step
    >>> run_step(analyze).result["worker_count"]
    3
    """
    from tasker_core.batch_processing import Batchable

    def wrap(handler: Batchable, value: Any) -> StepHandlerResult:
        if not isinstance(value, BatchConfig):
            return _wrap_result(value)
        outcome = handler.create_batch_outcome(
            value.total_items, value.batch_size, batch_metadata=value.metadata or {}
        )
        return handler.batch_analyzer_success(outcome, worker_template_name=worker_template)

    def decorate(fn: Callable[..., Any]) -> FunctionalHandler:
        handler_class = _make_handler_class(
            fn,
            name,
            version,
            bases=(Batchable, StepHandler),
            kind="batch_analyzer",
            attributes={"_worker_template": worker_template},
            wrap=wrap,
        )
        return _attach(fn, handler_class)

    return decorate


def batch_worker(name: str, version: str = "1.0.0") -> HandlerDecorator:
    """Make a batch worker of a function that takes ``batch_context``.

    >>> @batch_worker("process_rows")
    ... def process_rows(batch_context):
    ...     return {"rows": batch_context.end_cursor - batch_context.start_cursor}
    >>> from tasker_core.testing import run_step
    >>> cursor = {"batch_id": "001", "start_cursor": 0, "end_cursor": 100}
    >>> run_step(process_rows, step_inputs={"cursor": cursor}).result
    {'rows': 100}
    """
    _require_name(name, "batch_worker")
    from tasker_core.batch_processing import Batchable

    def extras(handler: Batchable, context: StepContext) -> dict[str, Any]:
        return {"batch_context": handler.get_batch_context(context)}

    def decorate(fn: Callable[..., Any]) -> FunctionalHandler:
        handler_class = _make_handler_class(
            fn,
            name,
            version,
            bases=(Batchable, StepHandler),
            kind="batch_worker",
            extras=extras,
        )
        return _attach(fn, handler_class)

    return decorate


def api_handler(
    name: str,
    base_url: str,
    version: str = "1.0.0",
    timeout: float = 30.0,
    default_headers: dict[str, str] | None = None,
) -> HandlerDecorator:
    """Make an API handler of a function that takes ``api``, the handler itself.

    ``timeout`` is in seconds.

    >>> @api_handler("rates", base_url="https://rates.example", timeout=5.0)
    ... def rates(api):
    ...     return api.api_success(api.get("/rates/EUR"))
    >>> rates._handler_class.base_url
    'https://rates.example'
    """
    attributes = {
        "base_url": base_url,
        "default_timeout": timeout,
        "default_headers": default_headers or {},
    }

    def extras(handler: APIMixin, context: StepContext) -> dict[str, Any]:
        return {"api": handler}

    def decorate(fn: Callable[..., Any]) -> FunctionalHandler:
        handler_class = _make_handler_class(
            fn,
            name,
            version,
            bases=(APIMixin, StepHandler),
            kind="api_handler",
            attributes=attributes,
            extras=extras,
        )
        return _attach(fn, handler_class)

    return decorate


def _require_name(name: Any, decorator: str) -> None:
    """Refuse a decorator without parentheses, which would make no handler, silently.

    Those with more required arguments need no such check.
    """
    if callable(name):
        raise TypeError(f'write @{decorator}("NAME"): the decorator needs the handler\'s name')


def _annotate(fn: Callable[..., Any], **attributes: Any) -> None:
    for name, value in attributes.items():
        setattr(fn, name, value)


def _attach(fn: Callable[..., Any], handler_class: type[StepHandler]) -> FunctionalHandler:
    _annotate(fn, _handler_class=handler_class)
    return cast(FunctionalHandler, fn)


def _make_handler_class(
    fn: Callable[..., Any],
    name: str,
    version: str,
    dep_map: dict[str, str] | None = None,
    input_keys: list[str] | None = None,
    result_transformer: Callable[[Any], StepHandlerResult] | None = None,
    *,
    bases: tuple[type, ...] = (StepHandler,),
    kind: str = "step_handler",
    attributes: dict[str, Any] | None = None,
    extras: _Extras | None = None,
    wrap: _Wrap | None = None,
) -> type[StepHandler]:
    """Return a handler class whose ``call`` calls ``fn``.

    ``dep_map`` and ``input_keys`` stand in for what the metadata decorators
    said. ``result_transformer`` sees whatever ``fn`` returns, ``wrap`` only
    what is no result yet, and the handler too. ``kind`` is the decorator's
    name: the host infers templates from it.
    """

    said = _Said(fn)

    def arguments(handler: Any, context: StepContext) -> dict[str, Any]:
        injected = _inject_args(
            fn,
            context,
            said.dependencies if dep_map is None else dep_map,
            said.input_keys if input_keys is None else input_keys,
        )
        if extras is not None:
            parameters = _parameters(fn)
            for key, value in extras(handler, context).items():
                injected[_spelling(key, parameters)] = value
        return injected

    def finish(handler: Any, value: Any) -> StepHandlerResult:
        if result_transformer is not None:
            return result_transformer(value)
        if wrap is None or isinstance(value, StepHandlerResult):
            return _wrap_result(value)
        return wrap(handler, value)

    async def finish_later(handler: Any, value: Awaitable[Any]) -> StepHandlerResult:
        try:
            return finish(handler, await value)
        except Exception as exc:
            return _wrap_exception(exc)

    def call(self: Any, context: StepContext) -> Any:
        try:
            value = fn(**arguments(self, context))
            if _is_awaitable(value):
                return finish_later(self, value)
            return finish(self, value)
        except Exception as exc:
            return _wrap_exception(exc)

    async def call_async(self: Any, context: StepContext) -> StepHandlerResult:
        try:
            return finish(self, await fn(**arguments(self, context)))
        except Exception as exc:
            return _wrap_exception(exc)

    fn_name = getattr(fn, "__name__", name)
    handler_class = type(
        fn_name,
        bases,
        {
            **(attributes or {}),
            "_handler_kind": kind,
            "_said": said,
            "__doc__": fn.__doc__,
            "__module__": fn.__module__,
            "__qualname__": getattr(fn, "__qualname__", fn_name),
            "handler_name": name,
            "handler_version": version,
            "call": call_async if inspect.iscoroutinefunction(fn) else call,
        },
    )
    return cast(type[StepHandler], handler_class)


class _Said:
    """What metadata decorators said of a function, for one handler made of it.

    They may stand above the handler decorator too, so the attributes are read
    at each call. They are those of the handler that was made last: an earlier
    one keeps what was said when it was made.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._dependencies: dict[str, str] = getattr(fn, "_depends_on", {})
        self._input_keys: list[str] = getattr(fn, "_inputs", [])

    @property
    def dependencies(self) -> dict[str, str]:
        """The steps that results are taken of, by parameter."""
        if self._dependencies and not self._is_latest():
            return self._dependencies
        return getattr(self._fn, "_depends_on", {})

    @property
    def input_keys(self) -> list[str]:
        """The keys of the task's input."""
        if self._input_keys and not self._is_latest():
            return self._input_keys
        return getattr(self._fn, "_inputs", [])

    def _is_latest(self) -> bool:
        latest = getattr(self._fn, "_handler_class", None)
        return latest is None or getattr(latest, "_said", self) is self


def _inject_args(
    fn: Callable[..., Any],
    context: StepContext,
    dep_map: dict[str, str],
    input_keys: list[str],
) -> dict[str, Any]:
    """Return the keyword arguments that ``fn`` is called with."""
    parameters = _parameters(fn)
    arguments: dict[str, Any] = {}
    models = getattr(fn, "_dep_models", {})
    for parameter, step_name in dep_map.items():
        value = context.get_dependency_result(step_name)
        if parameter in models and isinstance(value, dict):
            value = models[parameter].model_validate(value)
        arguments[_spelling(parameter, parameters)] = value
    input_model = getattr(fn, "_input_model", None)
    if input_model is not None:
        arguments[_spelling("inputs", parameters)] = build_inputs(input_model, context)
    else:
        for key in input_keys:
            arguments[_spelling(key, parameters)] = context.get_input(key)
    if "context" in parameters:
        arguments["context"] = context
    elif "_context" in parameters:
        arguments["_context"] = context
    return arguments


def _parameters(fn: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the parameters of a function.

    They do not change, and asking costs more than a step: they are kept with
    the function, as what the decorators say is.
    """
    known: frozenset[str] | None = getattr(fn, "_parameter_names", None)
    if known is None:
        try:
            known = frozenset(inspect.signature(fn).parameters)
        except (TypeError, ValueError):
            known = frozenset()
        with suppress(AttributeError, TypeError):
            _annotate(fn, _parameter_names=known)
    return known


def _spelling(name: str, parameters: frozenset[str]) -> str:
    """Return how the function spells a parameter: as it is, or as unused."""
    if name not in parameters and f"_{name}" in parameters:
        return f"_{name}"
    return name


def _is_awaitable(value: Any) -> bool:
    # Nearly every handler returns one of these, and asking is not free.
    if type(value) is dict or isinstance(value, StepHandlerResult):
        return False
    return inspect.isawaitable(value)


def _wrap_result(result: Any) -> StepHandlerResult:
    """Return the handler result of what a function has returned."""
    if isinstance(result, StepHandlerResult):
        return result
    if isinstance(result, dict):
        return StepHandlerResult.success(result)
    if result is None:
        return StepHandlerResult.success({})
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json")
        if isinstance(result, dict):
            return StepHandlerResult.success(result)
    return StepHandlerResult.success({"result": result})


def _wrap_exception(exc: Exception) -> StepHandlerResult:
    """Return the failure that an exception of a function stands for."""
    message = message_of(exc)
    if isinstance(exc, PermanentError):
        return StepHandlerResult.failure(
            message, ErrorType.PERMANENT_ERROR, retryable=False, metadata=metadata_of(exc)
        )
    if isinstance(exc, RetryableError):
        return StepHandlerResult.failure(
            message, ErrorType.RETRYABLE_ERROR, retryable=True, metadata=metadata_of(exc)
        )
    if isinstance(exc, TaskerError):
        return StepHandlerResult.failure(
            message, retryable=told(lambda: bool(exc.retryable), True), metadata=metadata_of(exc)
        )
    return StepHandlerResult.failure(
        message,
        metadata={
            "exception_type": type(exc).__name__,
            "traceback": traceback_of(exc),
        },
    )


if not TYPE_CHECKING:
    __getattr__ = patchable(__name__, {"asyncio": "asyncio"})
