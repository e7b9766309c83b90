"""Write Tasker step handlers in Python.

The package gives handler authors one flat set of names::

    from tasker_core import StepContext, StepHandler, StepHandlerResult


    class Greet(StepHandler):
        handler_name = "greet"

        def call(self, context: StepContext) -> StepHandlerResult:
            return self.success({"greeting": f"Hello {context.get_input('name')}"})

Functions become handlers with the decorators of
:mod:`tasker_core.step_handler.functional`. Importing the package needs no
worker, database or environment variable and starts nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tasker_core._tasker_core import (
    __version__,
    check_starvation_warnings,
    cleanup_timeouts,
    complete_step_event,
    get_ffi_dispatch_metrics,
    get_rust_version,
    get_version,
    health_check,
    poll_in_process_events,
    poll_step_events,
)

if TYPE_CHECKING:
    from tasker_core.batch_processing import (
        Batchable,
        BatchAggregationScenario,
        BatchWorkerConfig,
    )
    from tasker_core.bootstrap import (
        bootstrap_worker,
        get_worker_status,
        is_worker_running,
        stop_worker,
        transition_to_graceful_shutdown,
    )
    from tasker_core.client import HealthResponse as ClientHealthResponse
    from tasker_core.client import PaginationInfo as ClientPaginationInfo
    from tasker_core.client import StepAuditResponse as ClientStepAuditResponse
    from tasker_core.client import StepResponse as ClientStepResponse
    from tasker_core.client import TaskerClient
    from tasker_core.client import TaskListResponse as ClientTaskListResponse
    from tasker_core.client import TaskResponse as ClientTaskResponse
    from tasker_core.domain_events import (
        BasePublisher,
        BaseSubscriber,
        EventDeclaration,
        InProcessDomainEventPoller,
        PublishContext,
        StepEventContext,
        StepResult,
    )
    from tasker_core.domain_events import publish_domain_event as publish_domain_event
    from tasker_core.errors import (
        AuthenticationError,
        AuthorizationError,
        BusinessLogicError,
        ConfigurationError,
        NetworkError,
        NotFoundError,
        PermanentError,
        RateLimitError,
        ResourceContentionError,
        RetryableError,
        ServiceUnavailableError,
    )
    from tasker_core.errors import TimeoutError as StepTimeoutError
    from tasker_core.errors import ValidationError as StepValidationError
    from tasker_core.errors.error_classifier import (
        ErrorClassifier,
        get_classifier,
        is_permanent,
        is_retryable,
    )
    from tasker_core.event_bridge import EventBridge, EventNames
    from tasker_core.event_poller import EventPoller
    from tasker_core.exceptions import (
        ConversionError,
        FFIError,
        TaskerError,
        WorkerAlreadyRunningError,
        WorkerBootstrapError,
        WorkerNotInitializedError,
    )
    from tasker_core.handler import HandlerRegistry, StepHandler
    from tasker_core.logging import log_debug, log_error, log_info, log_trace, log_warn
    from tasker_core.models import (
        DependencyResultsWrapper,
        HandlerWrapper,
        StepDefinitionWrapper,
        TaskSequenceStepWrapper,
        TaskWrapper,
        WorkflowStepWrapper,
    )
    from tasker_core.observability import get_health_check, get_metrics, get_worker_config
    from tasker_core.registry import (
        BaseResolver,
        ClassLookupResolver,
        ExplicitMappingResolver,
        HandlerDefinition,
        MethodDispatchWrapper,
        RegistryResolver,
        ResolutionError,
        ResolverChain,
        ResolverNotFoundError,
    )
    from tasker_core.step_execution_subscriber import StepExecutionError, StepExecutionSubscriber
    from tasker_core.step_handler import ApiHandler, ApiResponse, DecisionHandler
    from tasker_core.template_discovery import HandlerDiscovery, TemplateParser, TemplatePath
    from tasker_core.types import (
        BatchAnalyzerOutcome,
        BatchWorkerContext,
        BatchWorkerOutcome,
        BootstrapConfig,
        BootstrapResult,
        ComponentHealth,
        CursorConfig,
        DecisionPointOutcome,
        DecisionType,
        DomainEventMetadata,
        ErrorType,
        ExecutionResult,
        FfiDispatchMetrics,
        FfiStepEvent,
        HealthCheck,
        InProcessDomainEvent,
        LogContext,
        ResultStatus,
        StarvationWarning,
        StepContext,
        StepError,
        StepExecutionResult,
        StepHandlerCallResult,
        StepHandlerResult,
        WorkerConfig,
        WorkerMetrics,
        WorkerState,
        WorkerStatus,
    )
    from tasker_core.worker import Worker

    get_config = get_worker_config
    worker_status = get_worker_status

__all__ = [
    "ApiHandler",
    "ApiResponse",
    "AuthenticationError",
    "AuthorizationError",
    "BasePublisher",
    "BaseResolver",
    "BaseSubscriber",
    "BatchAggregationScenario",
    "BatchAnalyzerOutcome",
    "BatchWorkerConfig",
    "BatchWorkerContext",
    "BatchWorkerOutcome",
    "Batchable",
    "BootstrapConfig",
    "BootstrapResult",
    "BusinessLogicError",
    "ClassLookupResolver",
    "ClientHealthResponse",
    "ClientPaginationInfo",
    "ClientStepAuditResponse",
    "ClientStepResponse",
    "ClientTaskListResponse",
    "ClientTaskResponse",
    "ComponentHealth",
    "ConfigurationError",
    "ConversionError",
    "CursorConfig",
    "DecisionHandler",
    "DecisionPointOutcome",
    "DecisionType",
    "DependencyResultsWrapper",
    "DomainEventMetadata",
    "ErrorClassifier",
    "ErrorType",
    "EventBridge",
    "EventDeclaration",
    "EventNames",
    "EventPoller",
    "ExecutionResult",
    "ExplicitMappingResolver",
    "FFIError",
    "FfiDispatchMetrics",
    "FfiStepEvent",
    "HandlerDefinition",
    "HandlerDiscovery",
    "HandlerRegistry",
    "HandlerWrapper",
    "HealthCheck",
    "InProcessDomainEvent",
    "InProcessDomainEventPoller",
    "LogContext",
    "MethodDispatchWrapper",
    "NetworkError",
    "NotFoundError",
    "PermanentError",
    "PublishContext",
    "RateLimitError",
    "RegistryResolver",
    "ResolutionError",
    "ResolverChain",
    "ResolverNotFoundError",
    "ResourceContentionError",
    "ResultStatus",
    "RetryableError",
    "ServiceUnavailableError",
    "StarvationWarning",
    "StepContext",
    "StepDefinitionWrapper",
    "StepError",
    "StepEventContext",
    "StepExecutionError",
    "StepExecutionResult",
    "StepExecutionSubscriber",
    "StepHandler",
    "StepHandlerCallResult",
    "StepHandlerResult",
    "StepResult",
    "StepTimeoutError",
    "StepValidationError",
    "TaskSequenceStepWrapper",
    "TaskWrapper",
    "TaskerClient",
    "TaskerError",
    "TemplateParser",
    "TemplatePath",
    "Worker",
    "WorkerAlreadyRunningError",
    "WorkerBootstrapError",
    "WorkerConfig",
    "WorkerMetrics",
    "WorkerNotInitializedError",
    "WorkerState",
    "WorkerStatus",
    "WorkflowStepWrapper",
    "__version__",
    "bootstrap_worker",
    "check_starvation_warnings",
    "cleanup_timeouts",
    "complete_step_event",
    "get_classifier",
    "get_ffi_dispatch_metrics",
    "get_health_check",
    "get_metrics",
    "get_rust_version",
    "get_version",
    "get_worker_config",
    "get_worker_status",
    "health_check",
    "is_permanent",
    "is_retryable",
    "is_worker_running",
    "log_debug",
    "log_error",
    "log_info",
    "log_trace",
    "log_warn",
    "poll_in_process_events",
    "poll_step_events",
    "stop_worker",
    "transition_to_graceful_shutdown",
    "version",
]


def version() -> str:
    """Return the version of the package, equal to ``__version__``.

    >>> version() == __version__
    True
    """
    return get_version()


# Nearly everything is imported when it is asked for: pydantic, which the
# models need, takes longer than all the rest. By module, what it has.
_NAMES = {
    "batch_processing": "Batchable BatchAggregationScenario BatchWorkerConfig",
    "bootstrap": """
        bootstrap_worker get_worker_status is_worker_running stop_worker
        transition_to_graceful_shutdown
    """,
    "client": "TaskerClient",
    "domain_events": """
        BasePublisher BaseSubscriber EventDeclaration InProcessDomainEventPoller PublishContext
        StepEventContext StepResult publish_domain_event
    """,
    "errors": """
        AuthenticationError AuthorizationError BusinessLogicError ConfigurationError NetworkError
        NotFoundError PermanentError RateLimitError ResourceContentionError RetryableError
        ServiceUnavailableError
    """,
    "errors.error_classifier": "ErrorClassifier get_classifier is_permanent is_retryable",
    "event_bridge": "EventBridge EventNames",
    "event_poller": "EventPoller",
    "exceptions": """
        ConversionError FFIError TaskerError WorkerAlreadyRunningError WorkerBootstrapError
        WorkerNotInitializedError
    """,
    "handler": "HandlerRegistry",
    "logging": "log_debug log_error log_info log_trace log_warn",
    "models": """
        DependencyResultsWrapper HandlerWrapper StepDefinitionWrapper TaskSequenceStepWrapper
        TaskWrapper WorkflowStepWrapper
    """,
    "observability": "get_health_check get_metrics get_worker_config",
    "registry": """
        BaseResolver ClassLookupResolver ExplicitMappingResolver HandlerDefinition
        MethodDispatchWrapper RegistryResolver ResolutionError ResolverChain ResolverNotFoundError
    """,
    "step_execution_subscriber": "StepExecutionError StepExecutionSubscriber",
    "step_handler": "ApiHandler ApiResponse DecisionHandler StepHandler",
    "template_discovery": "HandlerDiscovery TemplateParser TemplatePath",
    "types": """
        BatchAnalyzerOutcome BatchWorkerContext BatchWorkerOutcome BootstrapConfig BootstrapResult
        ComponentHealth CursorConfig DecisionPointOutcome DecisionType DomainEventMetadata
        ErrorType ExecutionResult FfiDispatchMetrics FfiStepEvent HealthCheck InProcessDomainEvent
        LogContext ResultStatus StarvationWarning StepContext StepError StepExecutionResult
        StepHandlerCallResult StepHandlerResult WorkerConfig WorkerMetrics WorkerState WorkerStatus
    """,
    "worker": "Worker",
}
# The module and the name there of every name that can be asked for.
_LATER = {name: (module, name) for module, names in _NAMES.items() for name in names.split()} | {
    "StepTimeoutError": ("errors", "TimeoutError"),
    "StepValidationError": ("errors", "ValidationError"),
    "ClientHealthResponse": ("client", "HealthResponse"),
    "ClientPaginationInfo": ("client", "PaginationInfo"),
    "ClientStepAuditResponse": ("client", "StepAuditResponse"),
    "ClientStepResponse": ("client", "StepResponse"),
    "ClientTaskListResponse": ("client", "TaskListResponse"),
    "ClientTaskResponse": ("client", "TaskResponse"),
    # Other names that programs look for; they are no part of the export list.
    "get_config": ("observability", "get_worker_config"),
    "worker_status": ("bootstrap", "get_worker_status"),
}
_LATER_MODULES = frozenset(module for module in _NAMES if "." not in module)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _LATER_MODULES:
            return import_module(f"tasker_core.{name}")
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _LATER[name]
        value = getattr(import_module(f"tasker_core.{module}"), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_LATER_MODULES})
