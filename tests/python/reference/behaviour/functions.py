"""Functions as handlers: what is passed to them, and what is made of their answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Optional

import pydantic
from tasker_core import DecisionPointOutcome, StepHandlerResult
from tasker_core.errors import FFIError, PermanentError, RateLimitError, RetryableError, TaskerError
from tasker_core.step_handler import (
    BatchConfig,
    Decision,
    FunctionalHandler,
    api_handler,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)

from tests.python.reference import sample
from tests.python.reference.recording import Recording, plain

seen = Recording()
whole = sample.context()


def run(function: Any, context: Any = whole) -> Any:
    """Returns what the handler of a function makes of a step."""
    answer = function._handler_class().call(context)
    if inspect.isawaitable(answer):

        async def wait() -> Any:
            return await answer

        return asyncio.run(wait())
    return answer


class Totals(pydantic.BaseModel):
    total: float
    deep: dict[str, int] = {}


class Order(pydantic.BaseModel):
    order_id: int
    note: Optional[str] = None  # noqa: UP045


class Strict(pydantic.BaseModel):
    nothing: int


class Refusing(pydantic.BaseModel):
    order_id: int

    @pydantic.field_validator("order_id")
    @classmethod
    def refuse(cls, value: int) -> int:
        raise PermanentError("order is closed", error_code="CLOSED")


@step_handler("all", version="2.1.0")
@depends_on(load="load", bare="load_bare", items="load_list", none="load_none", missing="nowhere")
@inputs("order_id", "note", "nothing")
def everything(
    load: Any,
    bare: Any,
    items: Any,
    none: Any,
    missing: Any,
    order_id: Any,
    note: Any,
    nothing: Any,
) -> dict[str, Any]:
    """Takes everything."""
    return {"given": [load, bare, items, none, missing, order_id, note, nothing]}


@step_handler("models")
@depends_on(load=("load", Totals), items=("load_list", Totals), missing=("nowhere", Totals))
@inputs(Order)
def models(load: Any, items: Any, missing: Any, inputs: Any, context: Any) -> dict[str, Any]:
    return {"given": [plain(load), items, missing, plain(inputs), context.handler_name]}


@step_handler("context")
def with_context(context: Any) -> dict[str, Any]:
    return {"handler": context.handler_name}


@step_handler("unused context")
@inputs("order_id")
def with_unused(order_id: Any, _context: Any) -> dict[str, Any]:
    return {"order": order_id, "handler": _context.handler_name}


@step_handler("keywords")
@inputs("order_id")
def with_keywords(**given: Any) -> dict[str, Any]:
    return {"keys": sorted(given)}


@step_handler("stacked")
@depends_on(a="load", b="load")
@depends_on(b="load_bare", c="load_list")
@inputs("order_id")
@inputs("zero", "note")
def stacked(a: Any, b: Any, c: Any, order_id: Any, zero: Any, note: Any) -> dict[str, Any]:
    return {"given": [a, b, c, order_id, zero, note]}


@step_handler("strict")
@inputs(Strict)
def strict(inputs: Any) -> dict[str, Any]:
    return {"given": plain(inputs)}


@step_handler("refusing")
@inputs(Refusing)
def refusing(inputs: Any) -> dict[str, Any]:
    return {}


@step_handler("wrong dependency model")
@depends_on(bare=("load_bare", Strict))
def wrong_dependency(bare: Any) -> dict[str, Any]:
    return {}


@step_handler("mismatch")
@inputs("order_id")
def mismatch() -> dict[str, Any]:
    return {}


@step_handler("later")
@inputs("order_id")
async def later(order_id: Any) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"order": order_id}


for function in (
    everything,
    models,
    with_context,
    with_unused,
    with_keywords,
    stacked,
    strict,
    refusing,
    wrong_dependency,
    mismatch,
    later,
):
    handler_class = function._handler_class
    name = handler_class.handler_name
    seen.call(f"{name}", run, function)
    seen.call(f"{name}: of an empty step", run, function, sample.context({}))
    seen.note(
        f"{name}: class",
        [
            handler_class.__name__,
            handler_class.__qualname__,
            handler_class.__doc__ or "",
            handler_class.handler_version,
            handler_class().name,
            handler_class().capabilities,
            repr(handler_class()),
            inspect.iscoroutinefunction(handler_class.call),
            isinstance(function, FunctionalHandler),
        ],
    )
    for attribute in ("_depends_on", "_dep_models", "_inputs", "_input_model"):
        seen.note(f"{name}: {attribute}", getattr(function, attribute, "nothing"))
seen.note("still callable", everything(1, 2, 3, 4, 5, 6, 7, 8))


class Dumpable(pydantic.BaseModel):
    when: str = "now"


answers: dict[str, Any] = {
    "dict": {"a": 1},
    "empty dict": {},
    "none": None,
    "list": [1, 2],
    "tuple": (1, 2),
    "number": 5,
    "text": "done",
    "false": False,
    "model": Dumpable(),
    "success": StepHandlerResult.success({"a": 1}, {"m": 1}),
    "failure": StepHandlerResult.failure("no", "kind", False),
    "outcome": DecisionPointOutcome.create_steps(["a"]),
    "route": Decision.route(["a"], amount=5),
    "skip": Decision.skip("small", amount=5),
    "batches": BatchConfig(25, 10),
    "batches with metadata": BatchConfig(25, 10, {"source": "s"}),
    "batches of nothing": BatchConfig(0, 10),
    "batches of no size": BatchConfig(10, 0),
    "keys that are no texts": {1: 2},
}
errors: dict[str, Exception] = {
    "permanent": PermanentError("no", error_code="E1", metadata={"a": 1}),
    "permanent that says retryable": PermanentError("no", retryable=True),
    "retryable": RetryableError("no", retry_after=5),
    "rate limit": RateLimitError("no", context={"limit": 1}),
    "tasker": TaskerError("no", retryable=False, metadata={"a": 1}),
    "ffi": FFIError("no"),
    "value": ValueError("no"),
    "key": KeyError("no"),
    "without text": RuntimeError(),
}
decorators: dict[str, Callable[[str], Any]] = {
    "step": step_handler,
    "decision": decision_handler,
    "analyzer": lambda name: batch_analyzer(name, "process_batch"),
    "worker": batch_worker,
    "api": lambda name: api_handler(name, "http://localhost"),
}
for kind, decorator in decorators.items():
    for name, answer in answers.items():

        def returning(_answer: Any = answer, **given: Any) -> Any:
            return _answer

        async def returning_later(_answer: Any = answer, **given: Any) -> Any:
            return _answer

        seen.call(f"{kind} that returns {name}", run, decorator("h")(returning))
        seen.call(f"async {kind} that returns {name}", run, decorator("h")(returning_later))
    for name, error in errors.items():

        def raising(_error: Exception = error, **given: Any) -> Any:
            raise _error

        async def raising_later(_error: Exception = error, **given: Any) -> Any:
            raise _error

        seen.call(f"{kind} that raises {name}", run, decorator("h")(raising))
        seen.call(f"async {kind} that raises {name}", run, decorator("h")(raising_later))


@batch_worker("worker with context")
def batch_worker_with_context(batch_context: Any, context: Any) -> dict[str, Any]:
    return {"batch": plain(batch_context), "handler": context.handler_name}


@api_handler("api", "http://localhost", "3.0.0", 5.0, {"x-key": "1"})
def api_function(api: Any) -> dict[str, Any]:
    return {"kind": type(api).__name__, "url": api.base_url, "timeout": api.default_timeout}


cursor = {"cursor": {"batch_id": "1", "start_cursor": 0, "end_cursor": 5, "batch_size": 5}}
seen.call("batch worker without batch", run, batch_worker_with_context)
seen.call(
    "batch worker with batch",
    run,
    batch_worker_with_context,
    sample.context(sample.payload(workflow_step={"inputs": cursor})),
)
seen.call("api", run, api_function)
seen.note("api: headers", api_function._handler_class.default_headers)  # type: ignore[attr-defined]
seen.call("analyzer without worker", lambda: batch_analyzer("x"))  # type: ignore[call-arg]
seen.note("batch config", [plain(BatchConfig(1, 2)), BatchConfig(1, 2) == BatchConfig(1, 2)])

seen.write()
