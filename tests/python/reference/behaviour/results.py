"""Results: how they are made, dumped and refused."""

from __future__ import annotations

from uuid import UUID

from tasker_core import ErrorType, StepError, StepExecutionResult, StepHandlerResult
from tasker_core import types as t

from tests.python.reference.recording import Recording

seen = Recording()
ids = [UUID(int=n) for n in (1, 2, 3)]

ways = {
    "success": StepHandlerResult.success({"a": 1}, {"m": True}),
    "success of nothing": StepHandlerResult.success(None),
    "failure": StepHandlerResult.failure("no", "kind", False, {"m": 1}, "E1"),
    "failure by default": StepHandlerResult.failure("no"),
    "failure of a member": StepHandlerResult.failure("no", ErrorType.TIMEOUT),
    "by alias": StepHandlerResult.model_validate({"success": True}),
    "by name": StepHandlerResult.model_validate({"is_success": True, "unknown": 1}),
}
for name, result in ways.items():
    seen.note(f"{name}: dump", result.model_dump())
    seen.note(f"{name}: dump by alias", result.model_dump(by_alias=True))
    seen.note(f"{name}: json", result.model_dump_json(by_alias=True))
    seen.note(f"{name}: set fields", result.model_dump(exclude_unset=True))
    seen.note(f"{name}: repr", repr(result))
    seen.note(f"{name}: questions", [result.is_success_result(), result.is_failure_result()])
    seen.note(f"{name}: equal to its copy", result == result.model_copy(deep=True))
    seen.note(
        f"{name}: round trip", StepHandlerResult.model_validate(result.model_dump()) == result
    )
for name, arguments in {
    "a list": ([1],),
    "a text": ("text",),
    "keys that are no texts": ({1: 2},),
    "metadata that is a list": ({}, [1]),
}.items():
    seen.call(f"success of {name}", StepHandlerResult.success, *arguments)
for name, values in {
    "a number for the message": (1,),
    "a number for the type": ("no", 1),
    "a word for retryable": ("no", "kind", "yes"),
    "no bool for retryable": ("no", "kind", "perhaps"),
}.items():
    seen.call(f"failure of {name}", StepHandlerResult.failure, *values)
seen.call("nothing at all", StepHandlerResult.model_validate, {})
seen.call("no argument", StepHandlerResult.success)

error = StepError(error_type="kind", message="no")
for retryable in (True, False):
    error = StepError(error_type="kind", message="no", retryable=retryable, metadata={"a": 1})
    failed = StepExecutionResult.failure_result(ids[0], ids[1], error, 12, "w", ids[2], {"b": 2})
    seen.note(f"execution failure {retryable}", failed)
    seen.note(f"execution failure {retryable}: dump", failed.model_dump())
done = StepExecutionResult.success_result(ids[0], ids[1], {"a": 1}, 12, "w")
seen.note("execution success", done)
seen.note("execution success: python dump", done.model_dump())

for member in ErrorType:
    seen.note(
        f"error type {member.name}",
        [
            str(member),
            member == member.value,
            ErrorType.is_standard(member.value),
            ErrorType.is_typically_retryable(member.value),
        ],
    )
seen.note("error type of none", [ErrorType.is_standard("x"), ErrorType.is_typically_retryable("x")])

seen.note("bootstrap defaults", t.BootstrapConfig())
for name, config in {
    "level": {"log_level": "INFO"},
    "unknown": {"nothing": 1},
    "good": {"log_level": "warn", "worker_id": "w", "namespace": "n", "config_path": "/c"},
    "null": {"namespace": None},
}.items():
    seen.call(f"bootstrap config of {name}", t.BootstrapConfig.model_validate, config)
for model in (
    t.BootstrapResult,
    t.WorkerStatus,
    t.StepHandlerCallResult,
    t.LogContext,
    t.FfiDispatchMetrics,
    t.StarvationWarning,
    t.ComponentHealth,
    t.HealthCheck,
    t.WorkerMetrics,
    t.WorkerConfig,
    t.DomainEventMetadata,
    t.ExecutionResult,
    t.InProcessDomainEvent,
    t.ClientStepReadiness,
    t.ClientTaskResponse,
    t.ClientPaginationInfo,
    t.ClientTaskListResponse,
    t.ClientStepResponse,
    t.ClientStepAuditResponse,
):
    seen.call(f"{model.__name__} of nothing", model.model_validate, {})

seen.write()
