"""The models that the package works with."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tasker_core.types._batch import (
    BatchAggregationResult,
    BatchAnalyzerOutcome,
    BatchMetadata,
    BatchProcessingOutcome,
    BatchWorkerContext,
    BatchWorkerOutcome,
    CreateBatchesOutcome,
    CursorConfig,
    DecisionPointOutcome,
    NoBatchesOutcome,
    RustBatchWorkerInputs,
    RustCursorConfig,
    aggregate_batch_results,
    create_batches,
    no_batches,
)
from tasker_core.types._context import StepContext
from tasker_core.types._dispatch import (
    FfiDispatchMetrics,
    FfiStepEvent,
    StarvationWarning,
    StepError,
    StepExecutionResult,
)
from tasker_core.types._enums import (
    DecisionType,
    ErrorType,
    FailureStrategy,
    ResultStatus,
    WorkerState,
)
from tasker_core.types._lifecycle import (
    BootstrapConfig,
    BootstrapResult,
    LogContext,
    StepHandlerCallResult,
    WorkerStatus,
)
from tasker_core.types._result import StepHandlerResult

if TYPE_CHECKING:
    from tasker_core.types._client import (
        ClientHealthResponse,
        ClientPaginationInfo,
        ClientStepAuditResponse,
        ClientStepReadiness,
        ClientStepResponse,
        ClientTaskListResponse,
        ClientTaskResponse,
    )
    from tasker_core.types._observability import (
        ComponentHealth,
        DomainEventMetadata,
        ExecutionResult,
        HealthCheck,
        InProcessDomainEvent,
        WorkerConfig,
        WorkerMetrics,
    )

__all__ = [
    "BatchAggregationResult",
    "BatchAnalyzerOutcome",
    "BatchMetadata",
    "BatchProcessingOutcome",
    "BatchWorkerContext",
    "BatchWorkerOutcome",
    "BootstrapConfig",
    "BootstrapResult",
    "ClientHealthResponse",
    "ClientPaginationInfo",
    "ClientStepAuditResponse",
    "ClientStepReadiness",
    "ClientStepResponse",
    "ClientTaskListResponse",
    "ClientTaskResponse",
    "ComponentHealth",
    "CreateBatchesOutcome",
    "CursorConfig",
    "DecisionPointOutcome",
    "DecisionType",
    "DomainEventMetadata",
    "ErrorType",
    "ExecutionResult",
    "FailureStrategy",
    "FfiDispatchMetrics",
    "FfiStepEvent",
    "HealthCheck",
    "InProcessDomainEvent",
    "LogContext",
    "NoBatchesOutcome",
    "ResultStatus",
    "RustBatchWorkerInputs",
    "RustCursorConfig",
    "StarvationWarning",
    "StepContext",
    "StepError",
    "StepExecutionResult",
    "StepHandlerCallResult",
    "StepHandlerResult",
    "WorkerConfig",
    "WorkerMetrics",
    "WorkerState",
    "WorkerStatus",
    "aggregate_batch_results",
    "create_batches",
    "no_batches",
]

# What few programs use is imported when it is asked for.
_LATER = {
    "_client": """
        ClientHealthResponse ClientPaginationInfo ClientStepAuditResponse ClientStepReadiness
        ClientStepResponse ClientTaskListResponse ClientTaskResponse
    """.split(),
    "_observability": """
        ComponentHealth DomainEventMetadata ExecutionResult HealthCheck InProcessDomainEvent
        WorkerConfig WorkerMetrics
    """.split(),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        for module, names in _LATER.items():
            if name in names:
                value = getattr(import_module(f"tasker_core.types.{module}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
