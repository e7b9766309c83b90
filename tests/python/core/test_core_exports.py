"""The root of the package: what it exports, and what it costs (python-api-core §1)."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import tasker_core

NATIVE = """
    __version__ get_version get_rust_version health_check poll_step_events complete_step_event
    get_ffi_dispatch_metrics check_starvation_warnings cleanup_timeouts poll_in_process_events
""".split()
EXPORTS = {
    "tasker_core.bootstrap": """
        bootstrap_worker stop_worker get_worker_status transition_to_graceful_shutdown
        is_worker_running
    """,
    "tasker_core.logging": "log_error log_warn log_info log_debug log_trace",
    "tasker_core.exceptions": """
        TaskerError WorkerNotInitializedError WorkerBootstrapError WorkerAlreadyRunningError
        FFIError ConversionError
    """,
    "tasker_core.types": """
        BootstrapConfig BootstrapResult WorkerStatus WorkerState StepHandlerCallResult LogContext
        FfiStepEvent StepExecutionResult StepError ResultStatus ErrorType FfiDispatchMetrics
        StarvationWarning StepContext StepHandlerResult DomainEventMetadata ExecutionResult
        InProcessDomainEvent ComponentHealth HealthCheck WorkerMetrics WorkerConfig DecisionType
        DecisionPointOutcome CursorConfig BatchAnalyzerOutcome BatchWorkerContext
        BatchWorkerOutcome
    """,
    "tasker_core.event_poller": "EventPoller",
    "tasker_core.event_bridge": "EventBridge EventNames",
    "tasker_core.handler": "HandlerRegistry StepHandler",
    "tasker_core.registry": """
        BaseResolver ResolverChain ResolverNotFoundError ResolutionError HandlerDefinition
        MethodDispatchWrapper RegistryResolver ExplicitMappingResolver ClassLookupResolver
    """,
    "tasker_core.step_execution_subscriber": "StepExecutionSubscriber StepExecutionError",
    "tasker_core.errors": """
        RetryableError PermanentError NetworkError RateLimitError ServiceUnavailableError
        ResourceContentionError NotFoundError AuthenticationError AuthorizationError
        ConfigurationError BusinessLogicError
    """,
    "tasker_core.errors.error_classifier": """
        ErrorClassifier get_classifier is_retryable is_permanent
    """,
    "tasker_core.step_handler": "ApiHandler ApiResponse DecisionHandler",
    "tasker_core.template_discovery": "TemplatePath TemplateParser HandlerDiscovery",
    "tasker_core.domain_events": """
        InProcessDomainEventPoller StepEventContext BasePublisher BaseSubscriber EventDeclaration
        StepResult PublishContext
    """,
    "tasker_core.observability": "get_health_check get_metrics get_worker_config",
    "tasker_core.models": """
        TaskSequenceStepWrapper TaskWrapper WorkflowStepWrapper DependencyResultsWrapper
        StepDefinitionWrapper HandlerWrapper
    """,
    "tasker_core.batch_processing": "Batchable BatchAggregationScenario BatchWorkerConfig",
    "tasker_core.client": "TaskerClient",
    "tasker_core.worker": "Worker",
}
RENAMED = {
    "StepTimeoutError": ("tasker_core.errors", "TimeoutError"),
    "StepValidationError": ("tasker_core.errors", "ValidationError"),
    "ClientTaskResponse": ("tasker_core.client", "TaskResponse"),
    "ClientTaskListResponse": ("tasker_core.client", "TaskListResponse"),
    "ClientStepResponse": ("tasker_core.client", "StepResponse"),
    "ClientStepAuditResponse": ("tasker_core.client", "StepAuditResponse"),
    "ClientHealthResponse": ("tasker_core.client", "HealthResponse"),
    "ClientPaginationInfo": ("tasker_core.client", "PaginationInfo"),
}


def names(text: str) -> list[str]:
    return text.split()


def test_the_root_exports_exactly_121_names() -> None:
    expected = {*NATIVE, *RENAMED, "version"}.union(*map(names, EXPORTS.values()))
    assert len(expected) == 121
    assert set(tasker_core.__all__) == expected
    assert len(tasker_core.__all__) == 121


def test_every_exported_name_is_an_attribute() -> None:
    assert [name for name in tasker_core.__all__ if not hasattr(tasker_core, name)] == []


def test_every_exported_name_is_listed() -> None:
    assert set(tasker_core.__all__) <= set(dir(tasker_core))
    assert set(tasker_core.types.__all__) <= set(dir(tasker_core.types))


def test_an_unknown_name_is_an_attribute_error() -> None:
    for module in (tasker_core, tasker_core.types):
        with pytest.raises(AttributeError, match="has no attribute 'NoSuchName'"):
            _ = module.NoSuchName


def test_what_is_imported_later_is_there_when_asked_for(tmp_path: Path) -> None:
    code = """
import sys, tasker_core, pickle
from unittest import mock
for module in ("client", "worker", "types", "handler", "step_handler", "errors", "registry"):
    assert f"tasker_core.{module}" not in sys.modules, module
with mock.patch("tasker_core.TaskerClient", "patched"):
    assert tasker_core.TaskerClient == "patched"
assert tasker_core.TaskerClient is tasker_core.client.TaskerClient
assert tasker_core.worker.Worker is tasker_core.Worker
from tasker_core import *
assert Batchable is tasker_core.batch_processing.Batchable
assert BasePublisher is tasker_core.domain_events.BasePublisher
assert get_metrics is tasker_core.observability.get_metrics
assert HealthCheck is tasker_core.types.HealthCheck
assert tasker_core.get_config is get_worker_config
from tasker_core.types import ClientTaskResponse
"""
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", EXPORTS)
def test_the_root_exports_the_very_objects_of_its_modules(module: str) -> None:
    defined = importlib.import_module(module)
    for name in names(EXPORTS[module]):
        assert getattr(tasker_core, name) is getattr(defined, name), name


@pytest.mark.parametrize("name", RENAMED)
def test_renamed_exports_are_what_they_stand_for(name: str) -> None:
    module, original = RENAMED[name]
    assert getattr(tasker_core, name) is getattr(importlib.import_module(module), original)


def test_native_functions_are_exported_unchanged() -> None:
    for name in NATIVE:
        assert getattr(tasker_core, name) is getattr(tasker_core._tasker_core, name), name


def test_renamed_errors_keep_their_own_class_names() -> None:
    assert tasker_core.StepTimeoutError.__name__ == "TimeoutError"
    assert tasker_core.StepValidationError.__name__ == "ValidationError"


def test_the_two_families_of_errors_are_unrelated() -> None:
    from tasker_core import errors

    assert not issubclass(tasker_core.RetryableError, tasker_core.TaskerError)
    assert errors.TaskerError is not tasker_core.TaskerError  # type: ignore[comparison-overlap]
    assert errors.FFIError is not tasker_core.FFIError  # type: ignore[comparison-overlap]


def test_client_responses_of_the_root_are_not_the_models_of_types() -> None:
    from tasker_core import types

    assert tasker_core.ClientTaskResponse is not types.ClientTaskResponse  # type: ignore[comparison-overlap]


def test_step_handler_is_the_package_and_not_the_decorator() -> None:
    import tasker_core.step_handler

    assert hasattr(tasker_core.step_handler, "StepHandler")


@pytest.mark.parametrize(
    "name",
    ["checkpoint_yield_step_event", "client_create_task", "depends_on", "RustCursorConfig"],
)
def test_what_the_root_leaves_out_is_not_there(name: str) -> None:
    assert not hasattr(tasker_core, name)


def test_versions_agree() -> None:
    assert tasker_core.version() == tasker_core.get_version() == tasker_core.__version__
    assert "." in tasker_core.__version__


def test_the_native_version_names_the_words_that_programs_look_for() -> None:
    assert "tasker-py" in tasker_core.get_rust_version()
    assert "rustc" in tasker_core.get_rust_version()


def test_health_check_is_true() -> None:
    assert tasker_core.health_check() is True


def test_no_worker_runs_after_the_import() -> None:
    assert tasker_core.is_worker_running() is False


def run_python(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that knows nothing but where the package is."""
    source = Path(tasker_core.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_import_prints_nothing_and_starts_no_thread(tmp_path: Path) -> None:
    code = "import threading, tasker_core; assert threading.active_count() == 1"
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


HEAVY = ["httpx", "pyee", "yaml", "asyncio", "ssl", "urllib.request", "http.client", "email"]


def test_the_import_leaves_heavy_packages_alone(tmp_path: Path) -> None:
    heavy = [*HEAVY, "pydantic", "pydantic_core"]
    code = f"import sys, tasker_core; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code, tmp_path).stdout.strip() == "[]"


def test_writing_handlers_needs_pydantic_and_no_other_heavy_package(tmp_path: Path) -> None:
    code = f"""
import sys
from tasker_core import StepContext, StepHandler, StepHandlerResult, PermanentError
from tasker_core.step_handler import ApiHandler, DecisionHandler, step_handler
print([m for m in {HEAVY} if m in sys.modules])
"""
    assert run_python(code, tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    """
    batch_processing bootstrap client domain_events errors event_bridge event_poller exceptions
    handler logging models observability registry step_execution_subscriber step_handler
    template_discovery types worker errors.error_classifier
    """.split(),
)
def test_modules_are_attributes_of_the_package_without_an_import(
    module: str, tmp_path: Path
) -> None:
    code = f"import tasker_core; print(tasker_core.{module}.__name__)"
    assert run_python(code, tmp_path).stdout.strip() == f"tasker_core.{module}"


def test_other_names_that_programs_look_for_work_too() -> None:
    assert tasker_core.worker_status is tasker_core.get_worker_status
    assert tasker_core.get_config is tasker_core.get_worker_config
    assert tasker_core.publish_domain_event is tasker_core.domain_events.publish_domain_event
    assert not {"worker_status", "get_config", "publish_domain_event"} & set(tasker_core.__all__)


def test_every_exported_name_is_documented_with_an_example() -> None:
    """The examples are run as doctests."""
    described = {name: getattr(tasker_core, name) for name in tasker_core.__all__}
    del described["__version__"]
    assert [
        name
        for name, value in described.items()
        if ">>>" not in (value.__doc__ or "") and "::" not in (value.__doc__ or "")
    ] == []
